//! Measures tokens: their calls, and what their workers report.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hsm::{HsmError, PinFlags, Tally, Token, TokenState};
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
    let mut errors = BTreeMap::new();
    let mut ticks = interval(USE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopped = *state.borrow_and_update() == TokenState::Stopped;
        tallies.mark_unchanged();
        metrics.token(&name, &counts(&token));
        count_errors(&name, token.tally().errors, &mut errors, &metrics);
        if stopped {
            return;
        }
        let changed = tokio::select! {
            changed = state.changed() => changed,
            changed = tallies.changed() => changed,
            _ = ticks.tick() => {
                measure_use(&name, &token, &turns, &metrics).await;
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
    for (code, times) in &now {
        let known = before.get(code).copied().unwrap_or_default();
        if *times > known {
            metrics.token_failed(name, code, times - known);
        }
    }
    *before = now;
}

/// Measures how a token is used now.
async fn measure_use(name: &str, token: &Token, turns: &Turns, metrics: &Metrics) {
    let mut now = TokenUse {
        queued: turns.queued(),
        ..TokenUse::default()
    };
    match (token.in_flight(), token.credit()) {
        (Some(in_flight), Some(credit)) => {
            now.in_flight = in_flight;
            // The query takes a place in the worker's queue. The last free place is left for a signature.
            if in_flight < usize::from(credit).saturating_sub(1)
                && let Ok(stats) = token.stats(Instant::now() + STATS_WITHIN).await
            {
                now.sessions = Some(SessionCounts {
                    open: usize::from(stats.sessions),
                    discarded: stats.sessions_discarded,
                });
            }
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
