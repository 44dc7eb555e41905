//! The issuers that use each CA, and which of them decides about its CRLs. Pure.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::{
    api::IssuerName,
    issuance::crl::{CaId, CrlRules},
};

/// An issuer that has proved a key and certificate of a CA, as far as CRLs are concerned.
#[derive(Clone, Debug)]
pub struct Sponsor<R> {
    /// When the issuer was created.
    pub created: Timestamp,
    /// Its UID.
    pub uid: String,
    /// What it says about CRLs.
    pub rules: CrlRules,
    /// What signs with it; `None` while it is not ready.
    pub ready: Option<R>,
}

/// Two issuers of one CA say different things about its CRLs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{other} uses the same CA, was created earlier and has another {field}; give both the same spec.crl, or use another key"
)]
pub struct CrlConflict {
    /// The earlier issuer.
    pub other: String,
    /// The first field of `spec.crl` that differs.
    pub field: &'static str,
}

/// The sponsors of every CA.
#[derive(Debug)]
pub(super) struct Sponsors<R> {
    by_ca: HashMap<CaId, HashMap<IssuerName, Sponsor<R>>>,
}

impl<R> Default for Sponsors<R> {
    fn default() -> Self {
        Self {
            by_ca: HashMap::new(),
        }
    }
}

impl<R: Clone> Sponsors<R> {
    /// Notes that an issuer uses these CAs, and no others, and returns whether an earlier issuer contradicts it.
    pub(super) fn offer(
        &mut self,
        name: &IssuerName,
        cas: Vec<(CaId, Sponsor<R>)>,
    ) -> Result<(), CrlConflict> {
        self.withdraw_all_but(name, &cas);
        let mut verdict = Ok(());
        for (ca, sponsor) in cas {
            let all = self.by_ca.entry(ca).or_default();
            let conflict = conflict(&ca, &sponsor, all, name);
            if verdict.is_ok() {
                verdict = conflict.map_or(Ok(()), Err);
            }
            all.insert(name.clone(), sponsor);
        }
        verdict
    }

    /// Notes that an issuer cannot sign at present.
    pub(super) fn rest(&mut self, name: &IssuerName) {
        for sponsors in self.by_ca.values_mut() {
            if let Some(sponsor) = sponsors.get_mut(name) {
                sponsor.ready = None;
            }
        }
    }

    /// Forgets an issuer that is deleted or has no CRLs any more.
    pub(super) fn withdraw(&mut self, name: &IssuerName) {
        self.withdraw_all_but(name, &[]);
    }

    /// Returns the rules of a CA: those of its first issuer.
    pub(super) fn rules(&self, ca: &CaId) -> Option<CrlRules> {
        let first = self.by_ca.get(ca)?.values().min_by_key(|one| age(one))?;
        Some(first.rules.clone())
    }

    /// Returns every CA with its rules and what can sign for it, first issuers first.
    pub(super) fn all(&self) -> Vec<(CaId, CrlRules, Vec<R>)> {
        let mut all: Vec<_> = self
            .by_ca
            .iter()
            .filter_map(|(ca, sponsors)| {
                let mut sorted: Vec<_> = sponsors.values().collect();
                sorted.sort_by_key(|one| age(one));
                let rules = sorted.first()?.rules.clone();
                let ready = sorted.iter().filter(|one| one.rules == rules);
                let ready = ready.filter_map(|one| one.ready.clone()).collect();
                Some((*ca, rules, ready))
            })
            .collect();
        all.sort_by_key(|(ca, ..)| *ca);
        all
    }

    /// Returns what can sign for this issuer, of each CA that it uses.
    pub(super) fn of(&self, name: &IssuerName) -> Vec<R> {
        let sponsors = self.by_ca.values();
        sponsors
            .filter_map(|sponsors| sponsors.get(name)?.ready.clone())
            .collect()
    }

    fn withdraw_all_but(&mut self, name: &IssuerName, kept: &[(CaId, Sponsor<R>)]) {
        self.by_ca.retain(|ca, sponsors| {
            if !kept.iter().any(|(kept, _)| kept == ca) {
                sponsors.remove(name);
            }
            !sponsors.is_empty()
        });
    }
}

fn age<R>(sponsor: &Sponsor<R>) -> (Timestamp, &str) {
    (sponsor.created, &sponsor.uid)
}

/// Returns the contradiction with the first issuer of the CA, if that is another one.
fn conflict<R>(
    ca: &CaId,
    sponsor: &Sponsor<R>,
    all: &HashMap<IssuerName, Sponsor<R>>,
    name: &IssuerName,
) -> Option<CrlConflict> {
    let others = all.iter().filter(|(other, _)| *other != name);
    let (other, first) = others.min_by_key(|(_, other)| age(other))?;
    if age(sponsor) < age(first) {
        return None;
    }
    let (ours, theirs) = (&sponsor.rules, &first.rules);
    let field = if ours.shards() != theirs.shards() {
        "shards"
    } else if ours.url_of_shard(ca, 0) != theirs.url_of_shard(ca, 0) {
        "url"
    } else if ours.validity() != theirs.validity() {
        "validity"
    } else if ours.refresh() != theirs.refresh() {
        "refresh"
    } else {
        return None;
    };
    Some(CrlConflict {
        other: other.to_string(),
        field,
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{issuance::crl::Shards, revocation::tests::at};

    fn name(name: &str) -> IssuerName {
        IssuerName {
            namespace: None,
            name: name.to_owned(),
        }
    }

    fn ca() -> CaId {
        "00112233445566778899aabbccddeeff".parse().unwrap()
    }

    fn sponsor(created: i64, hours: i64) -> Sponsor<&'static str> {
        Sponsor {
            created: at(created),
            uid: created.to_string(),
            rules: CrlRules::new(SignedDuration::from_hours(hours), None, None, Shards::ONE)
                .unwrap(),
            ready: Some("key"),
        }
    }

    #[test]
    fn of_two_issuers_that_contradict_each_other_the_later_one_is_in_conflict_in_any_order() {
        let (early, late) = (name("early"), name("late"));
        let conflict = Err(CrlConflict {
            other: early.to_string(),
            field: "validity",
        });
        for early_first in [true, false] {
            let mut sponsors = Sponsors::default();
            let mut offer = |first: bool| match first {
                true => sponsors.offer(&early, vec![(ca(), sponsor(1, 24))]),
                false => sponsors.offer(&late, vec![(ca(), sponsor(2, 48))]),
            };
            offer(early_first).unwrap();
            let second = offer(!early_first);
            assert_eq!(
                second,
                if early_first {
                    conflict.clone()
                } else {
                    Ok(())
                }
            );
            // The next look finds it.
            assert_eq!(offer(false), conflict);
            assert_eq!(offer(true), Ok(()));
            assert_eq!(sponsors.rules(&ca()), Some(sponsor(1, 24).rules));
            let all = sponsors.all();
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].2, ["key"], "the one in conflict signs nothing");
        }
    }

    #[test]
    fn an_issuer_that_is_not_ready_still_counts_until_it_is_deleted_or_uses_another_ca() {
        let (early, late) = (name("early"), name("late"));
        let mut sponsors = Sponsors::default();
        sponsors
            .offer(&early, vec![(ca(), sponsor(1, 24))])
            .unwrap();
        sponsors.rest(&early);
        assert!(sponsors.all()[0].2.is_empty());
        assert!(sponsors.offer(&late, vec![(ca(), sponsor(2, 48))]).is_err());
        sponsors.withdraw(&early);
        assert_eq!(sponsors.offer(&late, vec![(ca(), sponsor(2, 48))]), Ok(()));
        let other: CaId = "ffffffffffffffffffffffffffffffff".parse().unwrap();
        sponsors
            .offer(&late, vec![(other, sponsor(2, 48))])
            .unwrap();
        assert_eq!(sponsors.rules(&ca()), None);
        assert!(sponsors.rules(&other).is_some());
    }

    #[test]
    fn issuers_that_agree_share_a_ca() {
        let mut sponsors = Sponsors::default();
        for (issuer, created) in [("b", 2), ("a", 1), ("c", 3)] {
            let offered = sponsors.offer(&name(issuer), vec![(ca(), sponsor(created, 24))]);
            assert_eq!(offered, Ok(()));
        }
        assert_eq!(sponsors.all()[0].2.len(), 3);
    }
}
