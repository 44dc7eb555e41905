//! Detects another installation that answers the same issuers, and decides which of the two keeps them. Pure.
//!
//! An installation writes its namespace into the status of each issuer that it answers. The name alone does not tell whether
//! that installation still runs. So an installation that starts takes over the issuers that name another one. If the other
//! one still runs, it notices the take-over and reclaims the issuers, and the one that started yields.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::api::IssuerName;

/// A running installation reclaims an issuer within this time of a take-over: it looks at every issuer once a minute.
const ANSWERS_WITHIN: Duration = Duration::from_secs(300);
/// An installation that has yielded tries a take-over again after this time, because the other one may be gone.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// How often an installation reclaims an issuer in a row before the order of the names decides: two installations that start
/// at the same time both believe that they were first.
const MOST_RECLAIMS: u32 = 2;

/// This process's record of which installation answers each issuer.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<IssuerName, Claim>>);

#[derive(Debug)]
struct Claim {
    uid: String,
    held: Held,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// This installation was first, and has reclaimed the issuer this many times.
    Reclaimed(u32),
    /// This installation has taken the issuer over from another one.
    TakenOver,
    /// This installation has left the issuer to another one.
    Yielded,
}

/// Verdict on which installation answers an issuer from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhoAnswers {
    /// This installation; the status names no other.
    Ours,
    /// This installation, in place of another one that may be gone.
    TakeOver,
    /// This installation, which was first, although another one also answers the issuer.
    Reclaim,
    /// The other installation, which was first or whose name comes first.
    Yield {
        /// Whether this process learns it only now.
        is_news: bool,
    },
}

impl Claims {
    /// Decides who answers an issuer whose status names the installation `named`; `own` is the name of this installation.
    pub(super) fn judge(
        &self,
        issuer: &IssuerName,
        uid: &str,
        named: Option<&str>,
        own: &str,
        now: Instant,
    ) -> WhoAnswers {
        let mut all = self.0.lock();
        let known = all.get(issuer).filter(|claim| claim.uid == uid);
        let age = known.map_or(Duration::MAX, |claim| {
            now.saturating_duration_since(claim.since)
        });
        let quiet = age > ANSWERS_WITHIN;
        let held = known.map(|claim| claim.held);
        let (held, verdict) = match (named.filter(|named| *named != own), held) {
            (None, None | Some(Held::Yielded)) => (Held::Reclaimed(0), WhoAnswers::Ours),
            (None, Some(_)) if quiet => (Held::Reclaimed(0), WhoAnswers::Ours),
            (None, Some(_)) => return WhoAnswers::Ours,
            (Some(_), None) => (Held::TakenOver, WhoAnswers::TakeOver),
            (Some(_), Some(Held::Yielded)) if age > TRY_AGAIN_AFTER => {
                (Held::TakenOver, WhoAnswers::TakeOver)
            }
            (Some(_), Some(Held::Yielded)) => return WhoAnswers::Yield { is_news: false },
            (Some(_), Some(Held::TakenOver)) if !quiet => {
                (Held::Yielded, WhoAnswers::Yield { is_news: true })
            }
            (Some(other), Some(Held::Reclaimed(times)))
                if times >= MOST_RECLAIMS && !quiet && own > other =>
            {
                (Held::Yielded, WhoAnswers::Yield { is_news: true })
            }
            (Some(_), Some(Held::Reclaimed(times))) if !quiet => (
                Held::Reclaimed(times.saturating_add(1)),
                WhoAnswers::Reclaim,
            ),
            (Some(_), Some(Held::TakenOver | Held::Reclaimed(_))) => {
                (Held::Reclaimed(1), WhoAnswers::Reclaim)
            }
        };
        let claim = Claim {
            uid: uid.to_owned(),
            held,
            since: now,
        };
        all.insert(issuer.clone(), claim);
        verdict
    }

    /// Forgets a deleted issuer.
    pub(super) fn forget(&self, issuer: &IssuerName) {
        self.0.lock().remove(issuer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> IssuerName {
        IssuerName {
            namespace: None,
            name: "issuing".to_owned(),
        }
    }

    /// Two installations that take turns looking at one status, which names the last writer.
    struct Pair {
        start: Instant,
        claims: [(&'static str, Claims); 2],
        named: Option<String>,
        writes: usize,
    }

    impl Pair {
        fn new(named: Option<&str>) -> Self {
            Self {
                start: Instant::now(),
                claims: [("a", Claims::default()), ("b", Claims::default())],
                named: named.map(str::to_owned),
                writes: 0,
            }
        }

        /// Lets one of them look at a status that names `seen`, and write its name if it answers the issuer.
        fn sees(&mut self, who: usize, seen: Option<String>, seconds: u64) -> WhoAnswers {
            let (own, claims) = &self.claims[who];
            let now = self.start + Duration::from_secs(seconds);
            let verdict = claims.judge(&issuer(), "uid", seen.as_deref(), own, now);
            let yields = matches!(verdict, WhoAnswers::Yield { .. });
            if !yields && self.named.as_deref() != Some(own) {
                self.named = Some((*own).to_owned());
                self.writes += 1;
            }
            verdict
        }

        fn looks(&mut self, who: usize, seconds: u64) -> WhoAnswers {
            self.sees(who, self.named.clone(), seconds)
        }
    }

    #[test]
    fn the_installation_that_began_later_gives_way_whatever_its_name() {
        for (first, second) in [(0, 1), (1, 0)] {
            let mut pair = Pair::new(None);
            assert_eq!(pair.looks(first, 0), WhoAnswers::Ours);
            assert_eq!(pair.looks(first, 900), WhoAnswers::Ours);
            assert_eq!(pair.looks(second, 1000), WhoAnswers::TakeOver);
            assert_eq!(pair.looks(first, 1060), WhoAnswers::Reclaim);
            let news = WhoAnswers::Yield { is_news: true };
            assert_eq!(pair.looks(second, 1061), news);
            for minute in 1..59 {
                assert_eq!(pair.looks(first, 1061 + 60 * minute), WhoAnswers::Ours);
                let same = WhoAnswers::Yield { is_news: false };
                assert_eq!(pair.looks(second, 1062 + 60 * minute), same);
            }
            assert_eq!(pair.writes, 3);
            assert_eq!(pair.looks(second, 5000), WhoAnswers::TakeOver);
        }
    }

    #[test]
    fn an_installation_takes_the_place_of_one_that_is_gone() {
        let mut pair = Pair::new(Some("gone"));
        assert_eq!(pair.looks(0, 0), WhoAnswers::TakeOver);
        assert_eq!(pair.looks(0, 400), WhoAnswers::Ours);
        // From now on, `a` counts as first.
        assert_eq!(pair.looks(1, 500), WhoAnswers::TakeOver);
        assert_eq!(pair.looks(0, 560), WhoAnswers::Reclaim);
        assert_eq!(pair.looks(1, 620), WhoAnswers::Yield { is_news: true });
    }

    #[test]
    fn two_installations_that_begin_at_the_same_time_do_not_contend_for_ever() {
        let mut pair = Pair::new(None);
        assert_eq!(pair.sees(0, None, 0), WhoAnswers::Ours);
        assert_eq!(pair.sees(1, None, 0), WhoAnswers::Ours);
        for minute in 1..20 {
            pair.looks(0, 60 * minute);
            pair.looks(1, 60 * minute + 1);
        }
        assert_eq!(pair.named.as_deref(), Some("a"));
        assert!(pair.writes < 10, "{}", pair.writes);
    }

    #[test]
    fn an_issuer_that_replaces_another_of_its_name_is_claimed_anew() {
        let (claims, now) = (Claims::default(), Instant::now());
        let judge = |uid: &str, named| claims.judge(&issuer(), uid, named, "a", now);
        assert_eq!(judge("1", Some("b")), WhoAnswers::TakeOver);
        assert_eq!(judge("1", Some("b")), WhoAnswers::Yield { is_news: true });
        assert_eq!(judge("2", None), WhoAnswers::Ours);
        claims.forget(&issuer());
        assert_eq!(judge("1", Some("b")), WhoAnswers::TakeOver);
    }
}
