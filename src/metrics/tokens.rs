//! Metrics of tokens: states, workers, logins, sessions, the queue, and the calls with their errors.

use std::{collections::BTreeMap, time::Duration};

use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use super::{
    Metrics, gauge,
    labels::{
        CallLabels, CodeLabels, EndLabels, LoginLabels, PinLabels, SessionLabels, SignLabels,
        SignOutcome, TimedStage, TokenFunction, TokenLabel, TokenLabels,
    },
    set::{Histograms, MetricSet},
    store,
};

/// Buckets in seconds, from a software token (under a millisecond) to beyond the default deadline of ten seconds.
const CALL: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Counts of a token's states, workers, logins and errors since the start, by names that the HSM client keeps stable.
#[derive(Clone, Debug, Default)]
pub struct TokenCounts {
    /// Present state of the token.
    pub state: &'static str,
    /// How often each state was entered.
    pub entered: BTreeMap<&'static str, u64>,
    /// How often the worker ended, by reason.
    pub ended: BTreeMap<&'static str, u64>,
    /// How often a worker was started or a sidecar connected to.
    pub starts: u64,
    /// Logins, by outcome.
    pub logins: BTreeMap<&'static str, u64>,
    /// What the token last said of its PIN: each flag by its name, and whether it is set.
    pub pin: Vec<(&'static str, bool)>,
}

/// Use of a token at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUse {
    /// Requests that wait for a turn at the token.
    pub queued: usize,
    /// Requests that the worker has not answered.
    pub in_flight: usize,
    /// Sessions that are open; `None` if the worker has not told yet.
    pub sessions: Option<SessionCounts>,
}

/// Sessions of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Open sessions.
    pub open: usize,
    /// Sessions that this worker has discarded after an error.
    pub discarded: u64,
}

#[derive(Debug)]
pub(super) struct TokenMetrics {
    sign_seconds: Histograms<SignLabels>,
    call_seconds: Histograms<CallLabels>,
    errors: Family<CodeLabels, Counter>,
    last_signature: Family<TokenLabel, Gauge>,
    state: Family<TokenLabels, Gauge>,
    entered: Family<TokenLabels, Counter>,
    starts: Family<TokenLabel, Counter>,
    ended: Family<EndLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
    pin: Family<PinLabels, Gauge>,
    sessions: Family<SessionLabels, Gauge>,
    discarded: Family<TokenLabel, Gauge>,
    queued: Family<TokenLabel, Gauge>,
    in_flight: Family<TokenLabel, Gauge>,
    replicas: Family<TokenLabel, Gauge>,
}

impl TokenMetrics {
    pub(super) fn register(set: &mut MetricSet) -> Self {
        Self {
            sign_seconds: set.seconds(
                "sign_seconds",
                &["token", "outcome"],
                "Time from the call of a token for a signature to its answer; signed is counted after the signature was verified, unverified if it does not verify",
                || Histogram::new(CALL),
            ),
            call_seconds: set.seconds(
                "token_call_seconds",
                &["token", "function"],
                "Time of a call of a token, by function, whatever its outcome: sign and random from the request to the answer, find-key with everything that a search reads, login for each login that gave the token a PIN",
                || Histogram::new(CALL),
            ),
            errors: set.counters(
                "token_errors",
                &["token", "code"],
                "Errors that the token's library returned, by PKCS#11 code; those that the worker recovered from are counted within seconds, unless it ends before; a code that PKCS#11 does not define is CKR_VENDOR_DEFINED",
            ),
            last_signature: set.gauges(
                "token_last_signature_timestamp_seconds",
                &["token"],
                "When this replica last verified a signature of the token; probes count too",
            ),
            state: set.gauges(
                "token_state",
                &["token", "state"],
                "1 for the state that the token is in",
            ),
            entered: set.counters(
                "token_entered",
                &["token", "state"],
                "How often a token entered a state",
            ),
            starts: set.counters(
                "worker_starts",
                &["token"],
                "How often a token's HSM worker was started or its sidecar connected to",
            ),
            ended: set.counters(
                "worker_ended",
                &["token", "reason"],
                "How often a token's HSM worker ended, by reason",
            ),
            logins: set.counters(
                "token_logins",
                &["token", "outcome"],
                "Logins to a token, by outcome; not-tried costs the token no try",
            ),
            pin: set.gauges(
                "token_pin_flag",
                &["token", "flag"],
                "1 for each flag of the user PIN that the token showed before the last login: count-low, final-try, locked, to-be-changed",
            ),
            sessions: set.gauges(
                "token_sessions",
                &["token", "state"],
                "Open sessions of a token's worker: busy with a request, or idle",
            ),
            discarded: set.gauges(
                "token_sessions_discarded",
                &["token"],
                "Sessions that the present worker has discarded after an error",
            ),
            queued: set.gauges(
                "token_queue",
                &["token"],
                "Requests that wait for a turn at the token",
            ),
            in_flight: set.gauges(
                "token_in_flight",
                &["token"],
                "Requests that the token's worker has not answered",
            ),
            replicas: set.gauges(
                "token_replicas",
                &["token"],
                "Live replicas that can sign with the token: alert on none",
            ),
        }
    }
}

impl Metrics {
    /// Records a call of a token for a signature; `token` is its name in the operator's configuration.
    pub fn signed(&self, token: &str, outcome: SignOutcome, took: Duration) {
        let labels = SignLabels {
            token: token.to_owned(),
            outcome,
        };
        let seconds = self.tokens.sign_seconds.get_or_create(&labels);
        seconds.observe(took.as_secs_f64());
        self.stage(TimedStage::Token, took);
    }

    /// Sets when a signature of a token was last verified, in seconds since 1970.
    pub fn last_signature(&self, token: &str, seconds: i64) {
        let last = self.tokens.last_signature.get_or_create(&of(token));
        last.set(seconds);
    }

    /// Records a call of a token.
    pub fn token_called(&self, token: &str, function: TokenFunction, took: Duration) {
        let labels = CallLabels {
            token: token.to_owned(),
            function,
        };
        let seconds = self.tokens.call_seconds.get_or_create(&labels);
        seconds.observe(took.as_secs_f64());
    }

    /// Counts errors of a token's library, by the name of their code from a closed set.
    pub fn token_failed(&self, token: &str, code: &'static str, times: u64) {
        let labels = CodeLabels {
            token: token.to_owned(),
            code,
        };
        self.tokens.errors.get_or_create(&labels).inc_by(times);
    }

    /// Updates the counts of a token; `token` is its name in the operator's configuration.
    pub fn token(&self, token: &str, counts: &TokenCounts) {
        let metrics = &self.tokens;
        // Alerts on the growth of a counter need it from the start.
        for outcome in SignOutcome::ALL.iter().copied() {
            let labels = SignLabels {
                token: token.to_owned(),
                outcome,
            };
            drop(metrics.sign_seconds.get_or_create(&labels));
        }
        for (state, times) in &counts.entered {
            let labels = state_of(token, state);
            let now = i64::from(*state == counts.state);
            metrics.state.get_or_create(&labels).set(now);
            store(&metrics.entered.get_or_create(&labels), *times);
        }
        for (reason, times) in &counts.ended {
            store(&metrics.ended.get_or_create(&ended(token, reason)), *times);
        }
        store(&metrics.starts.get_or_create(&of(token)), counts.starts);
        for (outcome, times) in &counts.logins {
            store(
                &metrics.logins.get_or_create(&login(token, outcome)),
                *times,
            );
        }
        for (flag, is_set) in &counts.pin {
            let flags = metrics.pin.get_or_create(&pin(token, flag));
            flags.set(i64::from(*is_set));
        }
    }

    /// Sets how a token is used at the moment.
    pub fn token_use(&self, token: &str, now: TokenUse) {
        let metrics = &self.tokens;
        let labels = of(token);
        metrics.queued.get_or_create(&labels).set(gauge(now.queued));
        let in_flight = metrics.in_flight.get_or_create(&labels);
        in_flight.set(gauge(now.in_flight));
        if let Some(sessions) = now.sessions {
            let busy = now.in_flight.min(sessions.open);
            for (state, count) in [("busy", busy), ("idle", sessions.open - busy)] {
                let labels = session(token, state);
                metrics.sessions.get_or_create(&labels).set(gauge(count));
            }
            let discarded = i64::try_from(sessions.discarded).unwrap_or(i64::MAX);
            metrics.discarded.get_or_create(&labels).set(discarded);
        } else {
            self.sessions_unknown(token);
        }
    }

    fn sessions_unknown(&self, token: &str) {
        let metrics = &self.tokens;
        for state in ["busy", "idle"] {
            metrics.sessions.remove(&session(token, state));
        }
        metrics.discarded.remove(&of(token));
    }

    /// Removes the gauges of a token without a worker.
    pub fn token_unused(&self, token: &str) {
        self.sessions_unknown(token);
        self.tokens.in_flight.remove(&of(token));
    }

    /// Removes the metrics of a token that was removed or stopped.
    pub fn forget_token(&self, token: &str, counts: &TokenCounts) {
        let metrics = &self.tokens;
        for state in counts.entered.keys() {
            metrics.state.remove(&state_of(token, state));
            metrics.entered.remove(&state_of(token, state));
        }
        for reason in counts.ended.keys() {
            metrics.ended.remove(&ended(token, reason));
        }
        for outcome in counts.logins.keys() {
            metrics.logins.remove(&login(token, outcome));
        }
        for (flag, _) in &counts.pin {
            metrics.pin.remove(&pin(token, flag));
        }
        metrics.starts.remove(&of(token));
        for gauges in [&metrics.queued, &metrics.last_signature] {
            gauges.remove(&of(token));
        }
        self.token_unused(token);
    }

    /// Sets how many replicas can sign with a token.
    pub fn token_replicas(&self, token: &str, count: usize) {
        let replicas = self.tokens.replicas.get_or_create(&of(token));
        replicas.set(gauge(count));
    }
}

fn of(token: &str) -> TokenLabel {
    TokenLabel {
        token: token.to_owned(),
    }
}

fn state_of(token: &str, state: &'static str) -> TokenLabels {
    TokenLabels {
        token: token.to_owned(),
        state,
    }
}

fn ended(token: &str, reason: &'static str) -> EndLabels {
    EndLabels {
        token: token.to_owned(),
        reason,
    }
}

fn login(token: &str, outcome: &'static str) -> LoginLabels {
    LoginLabels {
        token: token.to_owned(),
        outcome,
    }
}

fn pin(token: &str, flag: &'static str) -> PinLabels {
    PinLabels {
        token: token.to_owned(),
        flag,
    }
}

fn session(token: &str, state: &'static str) -> SessionLabels {
    SessionLabels {
        token: token.to_owned(),
        state,
    }
}
