//! This replica's view of all replicas, and of which one owns an object.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    time::Instant,
};

use super::{LeaseDuration, members::Members, rendezvous};
use crate::audit::SignedHead;

/// The other replicas, and this one as they see it in its Lease.
#[derive(Debug)]
pub(super) struct View {
    /// The name of this replica's Lease.
    name: String,
    duration: LeaseDuration,
    own: Option<Own>,
    pub(super) members: Members,
}

/// What this replica's own Lease says.
#[derive(Debug)]
struct Own {
    /// When this replica stops signing, by its own monotonic clock. Soon after, its Lease may have expired for others.
    holds_until: Instant,
    tokens: BTreeSet<String>,
}

impl View {
    pub(super) fn new(name: String, duration: LeaseDuration) -> Self {
        Self {
            name,
            duration,
            own: None,
            members: Members::new(duration),
        }
    }

    /// Notes that the renewal sent at `sent` was stored, and that all Leases have been read after it.
    pub(super) fn hold(&mut self, sent: Instant, tokens: BTreeSet<String>) {
        self.own = Some(Own {
            holds_until: sent + self.duration.holds_for(),
            tokens,
        });
    }

    /// Gives up all tokens that are not `usable` now, before the others can know. For a moment no replica then owns
    /// requests for such a token, which is better than two signatures.
    pub(super) fn lose_all_but(&mut self, usable: &BTreeSet<String>) {
        if let Some(own) = &mut self.own {
            own.tokens.retain(|token| usable.contains(token));
        }
    }

    /// Gives up this replica's own Lease.
    pub(super) fn release(&mut self) {
        self.own = None;
    }

    /// Returns whether this replica may act: its Lease is valid for every other replica.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.own.as_ref().is_some_and(|own| now < own.holds_until)
    }

    /// Returns whether this replica's own Lease is live for the others, according to the last reading.
    pub(super) fn own_is_live(&self) -> bool {
        self.members.live().any(|member| member.name == self.name)
    }

    /// Returns when the next Lease of another replica expires unless it changes.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.members.next_expiry(&self.name)
    }

    /// Returns whether this replica's own Lease has this name.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }

    /// Returns whether this replica owns the object with this UID, which needs this token.
    pub(super) fn owns(&self, token: Option<&str>, uid: &str, now: Instant) -> bool {
        let replicas = self.replicas();
        self.holds(now)
            && rendezvous::owner(candidates(&replicas, token), uid) == Some(self.name.as_str())
    }

    /// Returns how many replicas share the objects of a token.
    pub(super) fn share(&self, token: &str) -> NonZeroUsize {
        let replicas = self.replicas();
        let count = candidates(&replicas, Some(token)).count();
        NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
    }

    /// Returns the newest signed checkpoints of all other replicas, live or not.
    pub(super) fn heads(&self) -> impl Iterator<Item = &SignedHead> {
        self.members.heads(&self.name)
    }

    /// Returns all live replicas and the tokens that each lists. This replica is included while it has a Lease.
    pub(super) fn replicas(&self) -> BTreeMap<&str, &BTreeSet<String>> {
        let others = self.members.live();
        let others = others.filter(|member| member.name != self.name);
        let others = others.map(|member| (member.name.as_str(), &member.tokens));
        let own = self.own.as_ref();
        let own = own.map(|own| (self.name.as_str(), &own.tokens));
        others.chain(own).collect()
    }
}

/// Returns the replicas that list the token. If there are none, or the token is not known, returns all: one of them
/// must report the problem.
fn candidates<'a>(
    replicas: &'a BTreeMap<&'a str, &BTreeSet<String>>,
    token: Option<&'a str>,
) -> impl Iterator<Item = &'a str> {
    let lists = move |tokens: &BTreeSet<String>| token.is_some_and(|token| tokens.contains(token));
    let nobody = !replicas.values().any(|tokens| lists(tokens));
    let able = replicas
        .iter()
        .filter(move |(_, tokens)| nobody || lists(tokens));
    able.map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{
            lease::{Member, Version},
            members::Reading,
        },
        *,
    };

    fn tokens(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn duration() -> LeaseDuration {
        "12s".parse().unwrap()
    }

    /// Returns the views of several replicas that have all read the same Leases at the same time.
    fn views(listed: &[(&str, &[&str])], now: Instant) -> Vec<View> {
        let members: Vec<Member> = listed
            .iter()
            .map(|(name, names)| Member {
                name: (*name).to_owned(),
                version: Version {
                    uid: (*name).to_owned(),
                    resource_version: "1".to_owned(),
                },
                duration: duration(),
                tokens: tokens(names),
                head: None,
            })
            .collect();
        let view = |(name, names): &(&str, &[&str])| {
            let mut view = View::new((*name).to_owned(), duration());
            view.members.read(Reading {
                members: members.clone(),
                asked: now,
                answered: now,
            });
            view.hold(now, tokens(names));
            view
        };
        listed.iter().map(view).collect()
    }

    /// Counts how many of a thousand objects each replica owns. Asserts that each object has exactly one owner.
    fn shares(views: &[View], token: Option<&str>, now: Instant) -> Vec<usize> {
        let mut shares = vec![0; views.len()];
        for number in 0..1000 {
            let uid = format!("uid {number}");
            let owners: Vec<usize> = (0..views.len())
                .filter(|index| views[*index].owns(token, &uid, now))
                .collect();
            assert_eq!(owners.len(), 1, "{uid}: {owners:?}");
            shares[owners[0]] += 1;
        }
        shares
    }

    #[test]
    fn replicas_with_the_same_view_give_every_object_one_owner_that_has_the_token() {
        let now = Instant::now();
        let views = views(&[("a", &["x"]), ("b", &["x", "y"]), ("c", &["y"])], now);
        let of_x = shares(&views, Some("x"), now);
        assert!(of_x[0] > 400 && of_x[1] > 400 && of_x[2] == 0, "{of_x:?}");
        assert_eq!(views[0].share("x").get(), 2);
        let of_y = shares(&views, Some("y"), now);
        assert_eq!(of_y[0], 0);
    }

    #[test]
    fn all_replicas_share_the_objects_of_a_token_that_is_unknown_or_that_none_lists() {
        let now = Instant::now();
        let views = views(&[("a", &["x"]), ("b", &[]), ("c", &[])], now);
        for token in [Some("z"), None] {
            let shares = shares(&views, token, now);
            assert!(shares.iter().all(|share| *share > 250), "{shares:?}");
        }
        assert_eq!(views[0].share("z").get(), 3);
    }

    #[test]
    fn a_single_replica_owns_everything_while_its_lease_holds() {
        let now = Instant::now();
        let view = views(&[("a", &["x"])], now).remove(0);
        assert!(view.owns(Some("x"), "u", now));
        assert!(view.owns(Some("x"), "u", now + Duration::from_millis(9_999)));
        assert!(!view.owns(Some("x"), "u", now + Duration::from_secs(10)));
        assert!(!view.holds(now + Duration::from_secs(10)));
    }

    #[test]
    fn a_replica_without_a_lease_owns_nothing_and_is_not_counted() {
        let now = Instant::now();
        let mut view = View::new("a".to_owned(), duration());
        assert!(!view.owns(None, "u", now));
        assert!(view.replicas().is_empty());
        assert_eq!(view.share("x").get(), 1);
        view.hold(now, tokens(&["x"]));
        assert!(view.owns(None, "u", now));
        view.release();
        assert!(!view.owns(None, "u", now));
    }

    #[test]
    fn a_token_that_is_lost_is_given_up_before_the_others_know() {
        let now = Instant::now();
        let mut views = views(&[("a", &["x", "y"]), ("b", &["x", "y"])], now);
        views[0].lose_all_but(&tokens(&["y", "new"]));
        assert!((0..100).all(|uid| !views[0].owns(Some("x"), &uid.to_string(), now)));
        assert!((0..100).any(|uid| views[0].owns(Some("y"), &uid.to_string(), now)));
        // A new token is not claimed before the others can know.
        assert!(views[0].replicas()["a"].eq(&tokens(&["y"])));
    }

    #[test]
    fn a_replica_stops_before_its_lease_expires_for_a_replica_that_saw_the_renewal_at_once() {
        let now = Instant::now();
        let mut views = views(&[("a", &["x"]), ("b", &["x"])], now);
        let expires = views[1].next_expiry().unwrap();
        assert!(!views[0].holds(expires));
        for seconds in (4..=12).step_by(4) {
            let at = now + Duration::from_secs(seconds);
            let unchanged: Vec<Member> = views[1].members.live().cloned().collect();
            views[1].members.read(Reading {
                members: unchanged,
                asked: at,
                answered: at,
            });
            views[1].hold(at, tokens(&["x"]));
        }
        let later = now + Duration::from_secs(12);
        assert_eq!(shares(&views, Some("x"), later), [0, 1000]);
    }
}
