//! Metrics of the controller. Labels come from closed sets, never from an error's text or an object's name.

mod labels;
mod log;

use std::{collections::BTreeMap, fmt, time::Duration};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use self::labels::{
    BugLabels, EndLabels, IssuerLabels, KindLabel, LintLabels, ReasonLabels, ReloadLabels,
    RenewalLabels, RequestLabels, SignLabels, TokenLabel, TokenLabels, WatchLabel,
};
pub use self::labels::{LeaseRenewal, RequestResult, SignOutcome};
use self::log::{LogMetrics, set};
use crate::audit::RequestKind;

/// All metrics of the process; cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<ReasonLabels, Counter>,
    undecided: Family<KindLabel, Gauge>,
    undecided_oldest: Family<KindLabel, Gauge>,
    sign_seconds: Family<SignLabels, Histogram, fn() -> Histogram>,
    events_dropped: Counter,
    bugs: Family<BugLabels, Counter>,
    lint_failures: Family<LintLabels, Counter>,
    token_state: Family<TokenLabels, Gauge>,
    token_entered: Family<TokenLabels, Counter>,
    worker_ended: Family<EndLabels, Counter>,
    issuers: Family<IssuerLabels, Gauge>,
    ca_not_after: Family<TokenLabel, Gauge>,
    config_reloads: Family<ReloadLabels, Counter>,
    config_last_reload_successful: Gauge,
    replicas: Gauge,
    token_replicas: Family<TokenLabel, Gauge>,
    lease_held: Gauge,
    lease_renewals: Family<RenewalLabels, Counter>,
    watch_failures: Family<WatchLabel, Counter>,
    clashes: Counter,
    log: LogMetrics,
}

/// Counts of a token's states and worker ends since the start, by names that the HSM client keeps stable.
#[derive(Clone, Debug)]
pub struct TokenCounts {
    /// Present state of the token.
    pub state: &'static str,
    /// How often each state was entered.
    pub entered: BTreeMap<&'static str, u64>,
    /// How often the worker ended, by reason.
    pub ended: BTreeMap<&'static str, u64>,
}

/// Buckets in seconds, from a software token (under a millisecond) to beyond the default deadline of ten seconds.
const SIGN_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

impl Metrics {
    /// Creates all metrics, at zero.
    #[must_use]
    pub fn new(version: &'static str, commit: &'static str) -> Self {
        let mut registry = Registry::with_prefix("pkcs11_issuer");
        let build = Info::new([("version", version), ("commit", commit)]);
        registry.register("build", "Version and commit of this build", build);
        let requests = Family::default();
        registry.register(
            "requests",
            "Status writes of requests, by kind and result",
            requests.clone(),
        );
        let refusals = Family::default();
        registry.register(
            "refusals",
            "Requests that were refused for good, by slug",
            refusals.clone(),
        );
        let undecided = Family::default();
        registry.register(
            "undecided_requests",
            "Requests that nobody has approved or denied yet; every replica counts all of them",
            undecided.clone(),
        );
        let undecided_oldest = Family::default();
        registry.register(
            "undecided_requests_oldest_timestamp_seconds",
            "When the oldest request that nobody has approved or denied was created",
            undecided_oldest.clone(),
        );
        let histogram: fn() -> Histogram = || Histogram::new(SIGN_BUCKETS);
        let sign_seconds = Family::new_with_constructor(histogram);
        registry.register(
            "sign_seconds",
            "Time from the call of a token for a signature to its answer",
            sign_seconds.clone(),
        );
        let events_dropped = Counter::default();
        registry.register(
            "events_dropped",
            "Events that were dropped to avoid delays",
            events_dropped.clone(),
        );
        let bugs = Family::default();
        registry.register("bugs", "Broken invariants: alert on any", bugs.clone());
        let lint_failures = Family::default();
        registry.register(
            "lint_failures",
            "Certificates that were not signed because a lint of the controller failed, by lint: alert on any",
            lint_failures.clone(),
        );
        let token_state = Family::default();
        registry.register(
            "token_state",
            "1 for the state that the token is in",
            token_state.clone(),
        );
        let token_entered = Family::default();
        registry.register(
            "token_entered",
            "How often a token entered a state",
            token_entered.clone(),
        );
        let worker_ended = Family::default();
        registry.register(
            "worker_ended",
            "How often a token's HSM worker ended, by reason",
            worker_ended.clone(),
        );
        let issuers = Family::default();
        registry.register(
            "issuers",
            "Issuers by the reason of their Ready condition; an issuer with Verified is ready",
            issuers.clone(),
        );
        let ca_not_after = Family::default();
        registry.register(
            "ca_not_after_timestamp_seconds",
            "Earliest expiry of a certificate in the chains of issuers with a key on the token",
            ca_not_after.clone(),
        );
        let config_reloads = Family::default();
        registry.register(
            "config_reloads",
            "Changes of the operator's configuration that were applied or refused",
            config_reloads.clone(),
        );
        let config_last_reload_successful = Gauge::default();
        config_last_reload_successful.set(1);
        registry.register(
            "config_last_reload_successful",
            "1 while the present configuration is that of the file, 0 while the file cannot be used: alert on 0",
            config_last_reload_successful.clone(),
        );
        let replicas = Gauge::default();
        registry.register(
            "replicas",
            "Live replicas that share the work, as seen by this replica",
            replicas.clone(),
        );
        let token_replicas = Family::default();
        registry.register(
            "token_replicas",
            "Live replicas that can sign with the token: alert on none",
            token_replicas.clone(),
        );
        let lease_held = Gauge::default();
        registry.register(
            "lease_held",
            "1 while this replica's Lease is valid; with 0 it signs nothing",
            lease_held.clone(),
        );
        let lease_renewals = Family::default();
        registry.register(
            "lease_renewals",
            "Renewals of this replica's Lease, by result",
            lease_renewals.clone(),
        );
        let watch_failures = Family::default();
        registry.register(
            "watch_failures",
            "Failed lists and watches of a kind, each tried again: alert if it grows for minutes",
            watch_failures.clone(),
        );
        let clashes = Counter::default();
        registry.register(
            "clashes",
            "How often another installation was found to answer an issuer, too: alert on any",
            clashes.clone(),
        );
        Self {
            log: LogMetrics::register(&mut registry),
            registry,
            requests,
            refusals,
            undecided,
            undecided_oldest,
            sign_seconds,
            events_dropped,
            bugs,
            lint_failures,
            token_state,
            token_entered,
            worker_ended,
            issuers,
            ca_not_after,
            config_reloads,
            config_last_reload_successful,
            replicas,
            token_replicas,
            lease_held,
            lease_renewals,
            watch_failures,
            clashes,
        }
    }

    /// Counts a status write of a request.
    pub fn request(&self, kind: RequestKind, result: RequestResult) {
        self.requests
            .get_or_create(&RequestLabels { kind, result })
            .inc();
    }

    /// Counts a refusal, for the reason that the slug names.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Sets how many requests of a kind nobody has approved or denied, and when the oldest of them was created, in seconds
    /// since 1970.
    pub fn undecided(&self, kind: RequestKind, count: usize, oldest: Option<i64>) {
        let labels = KindLabel { kind };
        self.undecided.get_or_create(&labels).set(gauge(count));
        set_or_remove(&self.undecided_oldest, &labels, oldest);
    }

    /// Records a call of a token for a signature; `token` is its name in the operator's configuration.
    pub fn signed(&self, token: &str, outcome: SignOutcome, took: Duration) {
        let labels = SignLabels {
            token: token.to_owned(),
            outcome,
        };
        self.sign_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// Counts an Event that was dropped.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Counts a broken invariant, which the slug names.
    pub fn bug(&self, bug: &'static str) {
        self.bugs.get_or_create(&BugLabels { bug }).inc();
    }

    /// Counts a certificate that was not signed because this lint of the controller failed. This is a bug.
    pub fn lint_failed(&self, lint: &'static str) {
        self.lint_failures.get_or_create(&LintLabels { lint }).inc();
    }

    /// Updates the counts of a token; `token` is its name in the operator's configuration.
    pub fn token(&self, token: &str, counts: &TokenCounts) {
        for (state, times) in &counts.entered {
            let labels = TokenLabels {
                token: token.to_owned(),
                state,
            };
            let now = i64::from(*state == counts.state);
            self.token_state.get_or_create(&labels).set(now);
            set(&self.token_entered.get_or_create(&labels), *times);
        }
        for (reason, times) in &counts.ended {
            let labels = EndLabels {
                token: token.to_owned(),
                reason,
            };
            set(&self.worker_ended.get_or_create(&labels), *times);
        }
    }

    /// Removes the metrics of a token that was removed or stopped.
    pub fn forget_token(&self, token: &str, counts: &TokenCounts) {
        for state in counts.entered.keys() {
            let labels = TokenLabels {
                token: token.to_owned(),
                state,
            };
            self.token_state.remove(&labels);
            self.token_entered.remove(&labels);
        }
        for reason in counts.ended.keys() {
            self.worker_ended.remove(&EndLabels {
                token: token.to_owned(),
                reason,
            });
        }
    }

    /// Counts a changed configuration that was applied or refused.
    pub fn config_reloaded(&self, taken_up: bool) {
        let result = if taken_up { "taken_up" } else { "refused" };
        self.config_reloads
            .get_or_create(&ReloadLabels { result })
            .inc();
        self.config_last_reload_successful.set(i64::from(taken_up));
    }

    /// Sets how many issuers of a kind have this reason; `None` removes the metric.
    pub fn issuers(&self, kind: &'static str, reason: &'static str, count: Option<i64>) {
        set_or_remove(&self.issuers, &IssuerLabels { kind, reason }, count);
    }

    /// Sets the earliest expiry of a certificate in the chains of a token's issuers, in seconds since 1970; `None` removes
    /// the metric. `token` is its name in the operator's configuration.
    pub fn ca_not_after(&self, token: &str, seconds: Option<i64>) {
        let labels = TokenLabel {
            token: token.to_owned(),
        };
        set_or_remove(&self.ca_not_after, &labels, seconds);
    }

    /// Sets how many replicas share the work, as seen by this replica.
    pub fn replicas(&self, count: usize) {
        self.replicas.set(gauge(count));
    }

    /// Sets how many replicas can sign with a token.
    pub fn token_replicas(&self, token: &str, count: usize) {
        let labels = TokenLabel {
            token: token.to_owned(),
        };
        self.token_replicas.get_or_create(&labels).set(gauge(count));
    }

    /// Sets whether this replica's Lease is valid.
    pub fn lease_held(&self, held: bool) {
        self.lease_held.set(i64::from(held));
    }

    /// Counts a renewal of this replica's Lease.
    pub fn lease_renewed(&self, result: LeaseRenewal) {
        self.lease_renewals
            .get_or_create(&RenewalLabels { result })
            .inc();
    }

    /// Counts a failed list or watch of a kind.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_failures
            .get_or_create(&WatchLabel { kind })
            .inc();
    }

    /// Counts an issuer that another installation answers, too.
    pub fn clashed(&self) {
        self.clashes.inc();
    }

    /// Returns all metrics as OpenMetrics text.
    ///
    /// # Errors
    /// Writing to a `String` cannot fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.log.update();
        let mut buffer = String::new();
        text::encode(&mut buffer, &self.registry)?;
        Ok(buffer)
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn set_or_remove<L>(gauges: &Family<L, Gauge>, labels: &L, value: Option<i64>)
where
    L: Clone + std::hash::Hash + Eq,
{
    match value {
        Some(value) => {
            gauges.get_or_create(labels).set(value);
        }
        None => {
            gauges.remove(labels);
        }
    }
}

#[cfg(test)]
mod tests;
