//! How often an issuer is looked at: a look reads the cluster and may ask the token, and whoever writes the issuer can
//! call for one by every change.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::api::IssuerName;

/// In the long run one look in this time, whatever calls for it; or in half of `--probe-interval`, where that is less.
const ONE_IN: Duration = Duration::from_secs(2);
/// Looks in a row before that counts.
const IN_A_ROW: u32 = 8;
/// An issuer that cannot sign is looked at again after this time: what it lacks may come without notice.
const FIRST: Duration = Duration::from_secs(5);
/// The longest time between two looks at it.
const LONGEST: Duration = Duration::from_secs(60);
/// Issuers after which those that are no more are looked for. One that is there is looked at once a minute.
const SWEEP_AT: usize = 4096;

/// When each issuer was looked at, and since when it fails. An issuer that was deleted is remembered for a while: a new one
/// of its name gets no new looks for it.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<IssuerName, Looks>>);

#[derive(Debug)]
struct Looks {
    /// When all looks in a row are there again.
    rested_at: Instant,
    failing: Option<Failing>,
}

/// One version of an issuer that cannot sign.
#[derive(Debug)]
struct Failing {
    uid: String,
    generation: i64,
    since: Instant,
}

impl Pace {
    /// Takes one look at an issuer that is probed this often.
    ///
    /// # Errors
    /// How long to wait for it.
    pub(super) fn look(
        &self,
        name: &IssuerName,
        probe_interval: Duration,
        now: Instant,
    ) -> Result<(), Duration> {
        let one_in = ONE_IN.min(probe_interval / 2);
        let mut all = self.lock();
        if all.len() >= SWEEP_AT {
            all.retain(|_, looks| looks.rested_at + 2 * LONGEST > now);
        }
        let looks = all.entry(name.clone()).or_insert(Looks {
            rested_at: now,
            failing: None,
        });
        let rested_at = looks.rested_at.max(now) + one_in;
        let wait = rested_at
            .duration_since(now)
            .saturating_sub(one_in * IN_A_ROW);
        if !wait.is_zero() {
            return Err(wait);
        }
        looks.rested_at = rested_at;
        Ok(())
    }

    /// The issuer can sign.
    pub(super) fn succeeded(&self, name: &IssuerName) {
        if let Some(looks) = self.lock().get_mut(name) {
            looks.failing = None;
        }
    }

    /// This version of the issuer cannot sign. Tells how long to wait before the next look: a quarter of the time for
    /// which it has failed, so that who mends it soon is seen soon, and who never does costs little.
    pub(super) fn failed(
        &self,
        name: &IssuerName,
        uid: &str,
        generation: i64,
        now: Instant,
    ) -> Duration {
        let mut all = self.lock();
        let Some(looks) = all.get_mut(name) else {
            return FIRST;
        };
        let known = looks.failing.as_ref();
        let known = known.filter(|known| known.uid == uid && known.generation == generation);
        let since = known.map_or(now, |known| known.since);
        if since == now {
            looks.failing = Some(Failing {
                uid: uid.to_owned(),
                generation,
                since,
            });
        }
        (now.duration_since(since) / 4).clamp(FIRST, LONGEST)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IssuerName, Looks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> IssuerName {
        IssuerName {
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn look(pace: &Pace, name: &IssuerName, now: Instant) -> Result<(), Duration> {
        pace.look(name, LONGEST, now)
    }

    #[test]
    fn an_issuer_that_changes_all_the_time_is_looked_at_every_two_seconds() {
        let (pace, start) = (Pace::default(), Instant::now());
        let looks = |name: &IssuerName, from: u64, to: u64| {
            let times = (from..to).map(|tenths| start + Duration::from_millis(100 * tenths));
            times.filter(|&now| look(&pace, name, now).is_ok()).count()
        };
        assert_eq!(looks(&name("busy"), 0, 1), 1);
        assert_eq!(looks(&name("busy"), 1, 600), 7 + 29);
        // Another issuer has looks of its own, and one that rests gets its looks back.
        assert_eq!(looks(&name("other"), 600, 610), 8);
        assert_eq!(looks(&name("busy"), 1200, 1210), 8);
        let wait = look(&pace, &name("busy"), start + Duration::from_secs(121));
        let wait = wait.unwrap_err();
        assert!(wait <= ONE_IN, "{wait:?}");
        let then = start + Duration::from_secs(121) + wait;
        assert_eq!(look(&pace, &name("busy"), then), Ok(()));
    }

    #[test]
    fn the_pauses_of_an_issuer_that_keeps_failing_grow_with_the_time_to_a_minute() {
        let (pace, start) = (Pace::default(), Instant::now());
        let name = name("broken");
        let failed = |generation, seconds| {
            let now = start + Duration::from_secs(seconds);
            look(&pace, &name, now).unwrap();
            pace.failed(&name, "uid", generation, now).as_secs()
        };
        assert_eq!(failed(1, 0), 5);
        assert_eq!(failed(1, 20), 5);
        assert_eq!(failed(1, 60), 15);
        assert_eq!(failed(1, 200), 50);
        assert_eq!(failed(1, 3600), 60);
        // Who edits it is told soon whether that was right.
        assert_eq!(failed(2, 3610), 5);
        assert_eq!(failed(2, 3690), 20);
        pace.succeeded(&name);
        assert_eq!(failed(2, 3700), 5);
    }

    #[test]
    fn issuers_that_are_no_more_are_forgotten() {
        let (pace, start) = (Pace::default(), Instant::now());
        for number in 0..SWEEP_AT {
            look(&pace, &name(&number.to_string()), start).unwrap();
        }
        look(&pace, &name("new"), start + Duration::from_secs(600)).unwrap();
        assert_eq!(pace.lock().len(), 1);
    }
}
