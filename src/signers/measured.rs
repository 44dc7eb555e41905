//! Measures tokens: their calls, and what their workers report.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hsm::{
    HsmError, PinFlags, Tally, Token, TokenState,
    protocol::{Stats, TokenCode},
};
use tokio::time::{MissedTickBehavior, interval};

use super::turns::Turns;
use crate::metrics::{Metrics, SessionCounts, TokenCounts, TokenFunction, TokenUse};

/// How often the use of a token is measured.
const USE_EVERY: Duration = Duration::from_secs(5);

/// The longest time that the worker may take to count its sessions.
const STATS_WITHIN: Duration = Duration::from_secs(1);

/// Awaits a call of a token. Records how long it takes and, if the token's library fails, the code.
pub(super) async fn measured<T>(
    metrics: &Metrics,
    token: &str,
    function: TokenFunction,
    call: impl Future<Output = Result<T, HsmError>>,
) -> Result<T, HsmError> {
    let began = Instant::now();
    let answer = call.await;
    metrics.token_called(token, function, began.elapsed());
    if let Err(HsmError::TokenFailed(code) | HsmError::TokenRefused(code)) = &answer {
        metrics.token_failed(token, code.name(), 1);
    }
    answer
}

/// Keeps the metrics of a token up to date until it is stopped.
pub(super) async fn count(name: String, token: Token, turns: Arc<Turns>, metrics: Arc<Metrics>) {
    let (mut state, mut tallies) = (token.state(), token.tallies());
    let (mut errors, mut tries) = (BTreeMap::new(), 0);
    let mut reported = Reported::default();
    let mut ticks = interval(USE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopped = *state.borrow_and_update() == TokenState::Stopped;
        tallies.mark_unchanged();
        metrics.token(&name, &counts(&token));
        let tally = token.tally();
        if let Some((now, took)) = tally.tried
            && now != tries
        {
            tries = now;
            metrics.token_called(&name, TokenFunction::Login, took);
        }
        count_errors(&name, tally.errors, &mut errors, &metrics);
        if stopped {
            return;
        }
        let changed = tokio::select! {
            changed = state.changed() => changed,
            changed = tallies.changed() => changed,
            _ = ticks.tick() => {
                measure_use(&name, &token, &turns, &mut reported, &metrics).await;
                Ok(())
            }
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Adds the errors that `before` does not have.
fn count_errors(
    name: &str,
    now: BTreeMap<&'static str, u64>,
    before: &mut BTreeMap<&'static str, u64>,
    metrics: &Metrics,
) {
    for (code, times) in grown(&now, before) {
        metrics.token_failed(name, code, times);
    }
    *before = now;
}

/// Returns by how much each count has grown, for those that have.
fn grown(
    now: &BTreeMap<&'static str, u64>,
    before: &BTreeMap<&'static str, u64>,
) -> Vec<(&'static str, u64)> {
    let growth = now.iter().map(|(name, times)| {
        let known = before.get(name).copied().unwrap_or_default();
        (*name, times.saturating_sub(known))
    });
    growth.filter(|(_, times)| *times > 0).collect()
}

/// What a worker last told of itself. It is not asked while it has much to do.
#[derive(Debug, Default)]
struct Reported {
    /// Number of the worker among those of the token.
    worker: u64,
    sessions: Option<SessionCounts>,
    /// Errors of the library that no answer names, by code.
    unreported: BTreeMap<&'static str, u64>,
}

impl Reported {
    /// Takes in what a worker tells, and returns how many errors are new.
    fn take_in(&mut self, worker: u64, stats: &Stats) -> Vec<(&'static str, u64)> {
        if self.worker != worker {
            *self = Self::default();
        }
        let mut unreported = BTreeMap::new();
        for (code, times) in &stats.unreported {
            let known: &mut u64 = unreported.entry(TokenCode::name_of(code)).or_default();
            *known = known.saturating_add(*times);
        }
        let new = grown(&unreported, &self.unreported);
        *self = Self {
            worker,
            sessions: Some(SessionCounts {
                open: usize::from(stats.sessions),
                discarded: stats.sessions_discarded,
            }),
            unreported,
        };
        new
    }

    /// Returns what the worker with this number last told of its sessions.
    fn sessions(&self, worker: u64) -> Option<SessionCounts> {
        self.sessions.filter(|_| self.worker == worker)
    }
}

/// Measures how a token is used now.
async fn measure_use(
    name: &str,
    token: &Token,
    turns: &Turns,
    reported: &mut Reported,
    metrics: &Metrics,
) {
    let mut now = TokenUse {
        queued: turns.queued(),
        ..TokenUse::default()
    };
    match (token.in_flight(), token.credit()) {
        (Some(in_flight), Some(credit)) => {
            now.in_flight = in_flight;
            let worker = token.tally().starts;
            // The query takes a place in the worker's queue. The last free place is left for a signature.
            if in_flight < usize::from(credit).saturating_sub(1)
                && let Ok(stats) = token.stats(Instant::now() + STATS_WITHIN).await
                && token.tally().starts == worker
            {
                for (code, times) in reported.take_in(worker, &stats) {
                    metrics.token_failed(name, code, times);
                }
            }
            now.sessions = reported.sessions(worker);
        }
        (_, _) => metrics.token_unused(name),
    }
    metrics.token_use(name, now);
}

/// Returns the counts of a token. Every reason of an end and every outcome of a login is there from the start, because an
/// alert on the growth of a counter sees no first event in a counter that begins with it.
pub(super) fn counts(token: &Token) -> TokenCounts {
    let state = token.state().borrow().name();
    let tally = token.tally();
    let every = |names: &[&'static str], counted: BTreeMap<&'static str, u64>| {
        let mut all: BTreeMap<_, _> = names.iter().map(|name| (*name, 0)).collect();
        all.extend(counted);
        all
    };
    TokenCounts {
        state,
        entered: every(&TokenState::NAMES, tally.entered),
        ended: every(&hsm::WorkerEnd::NAMES, tally.ended),
        starts: tally.starts,
        logins: every(&Tally::LOGINS, tally.logins),
        pin: tally.pin.map(flags).unwrap_or_default(),
    }
}

fn flags(pin: PinFlags) -> Vec<(&'static str, bool)> {
    vec![
        ("count-low", pin.count_low),
        ("final-try", pin.final_try),
        ("locked", pin.locked),
        ("to-be-changed", pin.to_be_changed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(sessions: u16, unreported: &[(&str, u64)]) -> Stats {
        Stats {
            credit: 8,
            sessions,
            logins: 1,
            signatures: 0,
            expired: 0,
            late: 0,
            sessions_discarded: 1,
            unreported: unreported
                .iter()
                .map(|(code, times)| ((*code).to_owned(), *times))
                .collect(),
        }
    }

    #[test]
    fn what_a_worker_last_told_counts_until_another_worker_serves() {
        let mut reported = Reported::default();
        assert_eq!(reported.sessions(1), None);
        reported.take_in(1, &stats(4, &[]));
        let four = SessionCounts {
            open: 4,
            discarded: 1,
        };
        assert_eq!(reported.sessions(1), Some(four));
        assert_eq!(reported.sessions(2), None);
    }

    #[test]
    fn an_error_is_counted_once_and_those_of_the_next_worker_from_zero() {
        let mut reported = Reported::default();
        let closed = "CKR_SESSION_HANDLE_INVALID";
        let one = stats(4, &[(closed, 1)]);
        assert_eq!(reported.take_in(1, &one), [(closed, 1)]);
        assert_eq!(reported.take_in(1, &one), []);
        let more = stats(4, &[(closed, 3), ("made up", 1), ("0x80000102", 1)]);
        let new = [(closed, 2), ("CKR_VENDOR_DEFINED", 2)];
        assert_eq!(reported.take_in(1, &more), new);
        assert_eq!(reported.take_in(2, &one), [(closed, 1)]);
    }
}
