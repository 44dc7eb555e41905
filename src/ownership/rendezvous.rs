//! Rendezvous hashing: replicas that know the same members find the same owner, and a member that joins or leaves moves
//! only its own share.

use aws_lc_rs::digest::{SHA256, digest};

/// Returns the member that owns `uid`, or `None` if there are no members. Their order does not matter.
///
/// The hash must be the same in every version of this program: replicas of two versions work side by side during an
/// upgrade. A replica's name is the name of an object, which contains no NUL.
pub(super) fn owner<'a>(members: impl Iterator<Item = &'a str>, uid: &str) -> Option<&'a str> {
    members.max_by_key(|member| (weight(member, uid), *member))
}

/// Returns all 256 bits of the hash, so that two members of equal weight have the same name.
fn weight(member: &str, uid: &str) -> Vec<u8> {
    let text = [member.as_bytes(), b"\0", uid.as_bytes()].concat();
    digest(&SHA256, &text).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn uids(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|number| format!("9a1b0c5e-{number:04x}-4a4e-8f00-0242ac120002"))
    }

    #[test]
    fn without_members_there_is_no_owner() {
        assert_eq!(owner([].into_iter(), "u"), None);
    }

    #[test]
    fn the_order_of_the_members_does_not_matter() {
        for uid in uids(100) {
            assert_eq!(
                owner(["a", "b", "c"].into_iter(), &uid),
                owner(["c", "a", "b"].into_iter(), &uid)
            );
        }
    }

    #[test]
    fn shares_are_even() {
        let mut shares = BTreeMap::new();
        for uid in uids(3000) {
            *shares
                .entry(owner(["a", "b", "c"].into_iter(), &uid).unwrap())
                .or_insert(0) += 1;
        }
        // Six standard deviations of a fair draw: 6 · √(3000 · 1/3 · 2/3) = 155. The draw is the same in every run.
        assert!(
            shares.values().all(|share| (845..=1155).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn a_member_that_leaves_moves_only_its_own_share() {
        for uid in uids(1000) {
            let before = owner(["a", "b", "c"].into_iter(), &uid).unwrap();
            let after = owner(["a", "c"].into_iter(), &uid).unwrap();
            assert!(before == after || before == "b", "{uid}");
        }
    }

    /// A different result means that replicas of two versions disagree during an upgrade.
    #[test]
    fn the_hash_stays_as_it_is() {
        let owners: String = uids(24)
            .filter_map(|uid| owner(["a", "b", "c"].into_iter(), &uid))
            .collect();
        assert_eq!(owners, "abacacacbbaabaaccaccaccb");
    }
}
