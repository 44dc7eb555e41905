//! Which number of sessions to configure. Pure.

use std::fmt;

use serde::Serialize;

use super::Point;

/// Part of the best rate that is good enough: more sessions for the rest would only keep others from the token.
const ENOUGH: f64 = 0.95;

/// The number of sessions to use with one mechanism.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Choice {
    pub(super) mechanism: &'static str,
    pub(super) sessions: u16,
    pub(super) rate: f64,
    pub(super) best_rate: f64,
    pub(super) best_sessions: u16,
    /// The best rate was with the most sessions that were measured, so that even more might be faster.
    pub(super) may_grow: bool,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            mechanism,
            sessions,
            rate,
            best_rate,
            best_sessions,
            may_grow,
        } = self;
        write!(f, "{mechanism}: sessions: {sessions}, ")?;
        match sessions == best_sessions {
            true => write!(
                f,
                "because fewer do not reach 95 % of its {rate:.1} per second"
            )?,
            false => write!(
                f,
                "because its {rate:.1} per second are at least 95 % of the best rate, {best_rate:.1} with {best_sessions}"
            )?,
        }
        match may_grow {
            true => f.write_str("; more sessions than were measured may be faster"),
            false => Ok(()),
        }
    }
}

/// Returns the smallest number of sessions for each mechanism that is fast enough, in the order of the points.
pub(super) fn choices(points: &[Point]) -> Vec<Choice> {
    let mut mechanisms: Vec<&'static str> = Vec::new();
    for point in points {
        if !mechanisms.contains(&point.mechanism) {
            mechanisms.push(point.mechanism);
        }
    }
    let choice = |mechanism| {
        let of_it = || points.iter().filter(|point| point.mechanism == mechanism);
        let best = of_it().max_by(|one, other| one.rate.total_cmp(&other.rate))?;
        let enough = of_it()
            .filter(|point| point.rate >= ENOUGH * best.rate)
            .min_by_key(|point| point.sessions)?;
        let most = of_it().map(|point| point.sessions).max();
        Some(Choice {
            mechanism,
            sessions: enough.sessions,
            rate: enough.rate,
            best_rate: best.rate,
            best_sessions: best.sessions,
            may_grow: most == Some(enough.sessions) && most > Some(1),
        })
    };
    mechanisms.into_iter().filter_map(choice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rates: &[(u16, f64)]) -> Vec<Point> {
        let point = |&(sessions, rate)| Point {
            mechanism: "CKM_ECDSA",
            sessions,
            signatures: 100,
            rate,
            p50_ms: 1.0,
            p99_ms: 2.0,
        };
        rates.iter().map(point).collect()
    }

    #[test]
    fn the_smallest_number_of_sessions_within_five_per_cent_of_the_best_rate_is_chosen() {
        type Rates<'a> = &'a [(u16, f64)];
        let cases: [(Rates<'_>, (u16, bool)); 4] = [
            (
                &[(1, 100.0), (2, 190.0), (4, 196.0), (8, 200.0)],
                (2, false),
            ),
            (&[(1, 100.0), (2, 99.0), (4, 98.0)], (1, false)),
            (&[(1, 100.0), (2, 200.0), (4, 400.0)], (4, true)),
            (&[(1, 100.0)], (1, false)),
        ];
        for (rates, (sessions, may_grow)) in cases {
            let chosen = choices(&points(rates));
            assert_eq!(chosen.len(), 1);
            assert_eq!(
                (chosen[0].sessions, chosen[0].may_grow),
                (sessions, may_grow)
            );
        }
        assert_eq!(choices(&[]), []);
    }

    #[test]
    fn the_choice_says_why() {
        let chosen = choices(&points(&[(1, 100.0), (2, 190.0), (8, 200.0)]));
        assert_eq!(
            chosen[0].to_string(),
            "CKM_ECDSA: sessions: 2, because its 190.0 per second are at least 95 % of the best rate, 200.0 with 8"
        );
        let chosen = choices(&points(&[(1, 100.0), (2, 200.0)]));
        assert_eq!(
            chosen[0].to_string(),
            "CKM_ECDSA: sessions: 2, because fewer do not reach 95 % of its 200.0 per second; more sessions than were measured may be faster"
        );
    }
}
