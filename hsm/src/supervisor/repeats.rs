//! Decides which ends of workers are logged. A token that is away is looked for every second, and a line for each search
//! would hide everything else. Pure.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Time between two summaries of the same failure.
const SUMMARY_EVERY: Duration = Duration::from_secs(60);
/// How many different texts of one kind of failure are logged before the next summary. Some texts differ every time.
const TEXTS: usize = 8;

/// Ends of successive workers for the same kind of reason. Only the first of these workers may have served the token.
#[derive(Debug, Default)]
pub(super) struct Repeats(Option<Run>);

#[derive(Debug)]
struct Run {
    /// The kind of reason.
    name: &'static str,
    begun: Instant,
    ends: u64,
    said: BTreeSet<String>,
    summary: Instant,
}

/// What to log about the end of a worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mention {
    /// The end itself.
    InFull,
    /// Nothing: the text was logged before, or too many texts were.
    None,
    /// How many workers have ended in the same way, and since when.
    Summary {
        /// Number of workers.
        ends: u64,
        /// Time since the first of them ended.
        lasting: Duration,
    },
}

impl Repeats {
    /// Returns whether the last worker has ended or did not start, so that the start of the next one is not worth a line.
    pub(super) const fn are_expected(&self) -> bool {
        self.0.is_some()
    }

    /// Notes that a worker serves the token.
    pub(super) fn served(&mut self) {
        self.0 = None;
    }

    /// Takes in the end of a worker, or its failure to start. `name` is the kind of reason, and `why` its text.
    pub(super) fn failed(&mut self, name: &'static str, why: &str, now: Instant) -> Mention {
        let Some(run) = self.0.as_mut().filter(|run| run.name == name) else {
            self.0 = Some(Run {
                name,
                begun: now,
                ends: 1,
                said: BTreeSet::from([why.to_owned()]),
                summary: now,
            });
            return Mention::InFull;
        };
        run.ends += 1;
        if now.duration_since(run.summary) >= SUMMARY_EVERY {
            run.summary = now;
            run.said.clear();
            run.said.insert(why.to_owned());
            return Mention::Summary {
                ends: run.ends,
                lasting: now.duration_since(run.begun),
            };
        }
        if run.said.len() < TEXTS && run.said.insert(why.to_owned()) {
            return Mention::InFull;
        }
        Mention::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_away_gives_one_line_and_a_summary_each_minute() {
        let (mut repeats, begun) = (Repeats::default(), Instant::now());
        assert!(!repeats.are_expected());
        let mut said = Vec::new();
        for second in 0..=150 {
            let now = begun + Duration::from_secs(second);
            let mention = repeats.failed("no-token", "no token has this label", now);
            if mention != Mention::None {
                said.push((second, mention));
            }
            assert!(repeats.are_expected());
        }
        let summary = |ends, seconds| Mention::Summary {
            ends,
            lasting: Duration::from_secs(seconds),
        };
        assert_eq!(
            said,
            [
                (0, Mention::InFull),
                (60, summary(61, 60)),
                (120, summary(121, 120)),
            ]
        );
    }

    #[test]
    fn another_reason_or_a_failure_after_service_is_logged_in_full() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        assert_eq!(repeats.failed("no-token", "a", now), Mention::InFull);
        assert_eq!(repeats.failed("unreachable", "a", now), Mention::InFull);
        assert_eq!(repeats.failed("unreachable", "a", now), Mention::None);
        repeats.served();
        assert!(!repeats.are_expected());
        assert_eq!(repeats.failed("unreachable", "a", now), Mention::InFull);
    }

    #[test]
    fn texts_that_always_differ_are_limited() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let texts = (0..100).map(|number| repeats.failed("no-token", &number.to_string(), now));
        let in_full = texts.filter(|mention| *mention == Mention::InFull);
        assert_eq!(in_full.count(), TEXTS);
    }
}
