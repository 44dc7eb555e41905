//! Limits how often an issuer is looked at. A look reads from the cluster and may ask the token, and anybody who may
//! write the issuer can cause a look with every change.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::api::IssuerName;

/// In the long run an issuer gets one look in this time, or in half of `--probe-interval` if that is shorter, whatever
/// causes the looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many looks may come in a row before that limit applies.
const BURST: u32 = 8;
/// The shortest time until an issuer that cannot sign is looked at again: what it lacks may appear without an event.
const FIRST: Duration = Duration::from_secs(5);
/// The longest time until it is looked at again.
const LONGEST: Duration = Duration::from_secs(60);
/// Number of entries at which the entries of deleted issuers are removed. An existing issuer is looked at once a minute,
/// so its entry is never old.
const SWEEP_AT: usize = 4096;

/// When each issuer was looked at, and since when it fails. A deleted issuer is remembered for a while, so that
/// creating it again gives it no additional looks.
#[derive(Debug, Default)]
pub(super) struct LookPace(Mutex<HashMap<IssuerName, Looks>>);

#[derive(Debug)]
struct Looks {
    /// When all [`BURST`] looks are available again.
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

impl LookPace {
    /// Uses up one look at an issuer that is probed every `probe_interval`.
    ///
    /// # Errors
    /// How long to wait for the look.
    pub(super) fn look(
        &self,
        name: &IssuerName,
        probe_interval: Duration,
        now: Instant,
    ) -> Result<(), Duration> {
        let look_every = LOOK_EVERY.min(probe_interval / 2);
        let mut all = self.0.lock();
        if all.len() >= SWEEP_AT {
            all.retain(|_, looks| looks.rested_at + 2 * LONGEST > now);
        }
        let looks = all.entry(name.clone()).or_insert(Looks {
            rested_at: now,
            failing: None,
        });
        let rested_at = looks.rested_at.max(now) + look_every;
        let wait = rested_at
            .duration_since(now)
            .saturating_sub(look_every * BURST);
        if !wait.is_zero() {
            return Err(wait);
        }
        looks.rested_at = rested_at;
        Ok(())
    }

    /// Notes that the issuer can sign.
    pub(super) fn succeeded(&self, name: &IssuerName) {
        if let Some(looks) = self.0.lock().get_mut(name) {
            looks.failing = None;
        }
    }

    /// Notes that this version of the issuer cannot sign. Returns how long to wait before the next look: a quarter of
    /// the time for which it has failed, so that a quick repair is seen soon, and an issuer that is never repaired
    /// costs little.
    pub(super) fn failed(
        &self,
        name: &IssuerName,
        uid: &str,
        generation: i64,
        now: Instant,
    ) -> Duration {
        let mut all = self.0.lock();
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

    fn look(pace: &LookPace, name: &IssuerName, now: Instant) -> Result<(), Duration> {
        pace.look(name, LONGEST, now)
    }

    #[test]
    fn an_issuer_that_changes_all_the_time_is_looked_at_every_two_seconds() {
        let (pace, start) = (LookPace::default(), Instant::now());
        let looks = |name: &IssuerName, from: u64, to: u64| {
            let times = (from..to).map(|tenths| start + Duration::from_millis(100 * tenths));
            times.filter(|&now| look(&pace, name, now).is_ok()).count()
        };
        assert_eq!(looks(&name("busy"), 0, 1), 1);
        assert_eq!(looks(&name("busy"), 1, 600), 7 + 29);
        // Another issuer has its own looks, and an issuer that rests gets its looks back.
        assert_eq!(looks(&name("other"), 600, 610), 8);
        assert_eq!(looks(&name("busy"), 1200, 1210), 8);
        let wait = look(&pace, &name("busy"), start + Duration::from_secs(121));
        let wait = wait.unwrap_err();
        assert!(wait <= LOOK_EVERY, "{wait:?}");
        let then = start + Duration::from_secs(121) + wait;
        assert_eq!(look(&pace, &name("busy"), then), Ok(()));
    }

    #[test]
    fn the_pauses_of_an_issuer_that_keeps_failing_grow_with_the_time_to_a_minute() {
        let (pace, start) = (LookPace::default(), Instant::now());
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
        // An edit is followed soon by another look.
        assert_eq!(failed(2, 3610), 5);
        assert_eq!(failed(2, 3690), 20);
        pace.succeeded(&name);
        assert_eq!(failed(2, 3700), 5);
    }

    #[test]
    fn deleted_issuers_are_forgotten() {
        let (pace, start) = (LookPace::default(), Instant::now());
        for number in 0..SWEEP_AT {
            look(&pace, &name(&number.to_string()), start).unwrap();
        }
        look(&pace, &name("new"), start + Duration::from_secs(600)).unwrap();
        assert_eq!(pace.0.lock().len(), 1);
    }
}
