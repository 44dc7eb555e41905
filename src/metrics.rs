//! What the controller counts; labels come from closed sets, never from an error's text or an object's name.

mod labels;

use std::{collections::BTreeMap, fmt, sync::atomic::Ordering, time::Duration};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use self::labels::{
    BugLabels, EndLabels, IssuerLabels, LintLabels, ReasonLabels, ReloadLabels, RenewalLabels,
    RequestLabels, SignLabels, TokenLabel, TokenLabels,
};
pub use self::labels::{LeaseRenewal, RequestResult, SignOutcome};
use crate::audit::RequestKind;

/// Every metric of the process; cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<ReasonLabels, Counter>,
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
}

/// What happened to a token since the start, by names that the HSM client keeps stable.
#[derive(Clone, Debug)]
pub struct TokenCounts {
    /// The state that it is in.
    pub state: &'static str,
    /// How often each state was entered.
    pub entered: BTreeMap<&'static str, u64>,
    /// How often its worker ended, by the reason.
    pub ended: BTreeMap<&'static str, u64>,
}

/// From a software token (under a millisecond) to the default deadline of ten seconds and beyond.
const SIGN_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new(version: &'static str, commit: &'static str) -> Self {
        let mut registry = Registry::with_prefix("pkcs11_issuer");
        let build = Info::new([("version", version), ("commit", commit)]);
        registry.register("build", "What this build is", build);
        let requests = Family::default();
        registry.register(
            "requests",
            "Status writes of requests, by what the write says",
            requests.clone(),
        );
        let refusals = Family::default();
        registry.register(
            "refusals",
            "Requests that only a new request can mend, by slug",
            refusals.clone(),
        );
        let histogram: fn() -> Histogram = || Histogram::new(SIGN_BUCKETS);
        let sign_seconds = Family::new_with_constructor(histogram);
        registry.register(
            "sign_seconds",
            "Time from asking a token for a signature to its answer",
            sign_seconds.clone(),
        );
        let events_dropped = Counter::default();
        registry.register(
            "events_dropped",
            "Events that were not written, so as not to delay anything",
            events_dropped.clone(),
        );
        let bugs = Family::default();
        registry.register("bugs", "Invariants that broke: alert on any", bugs.clone());
        let lint_failures = Family::default();
        registry.register(
            "lint_failures",
            "Certificates that were not signed because our own lint failed, by lint: alert on any",
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
            "How often a token's HSM worker ended, by the reason",
            worker_ended.clone(),
        );
        let issuers = Family::default();
        registry.register(
            "issuers",
            "Issuers by the reason of their Ready condition; Verified is the one that is ready",
            issuers.clone(),
        );
        let ca_not_after = Family::default();
        registry.register(
            "ca_not_after_timestamp_seconds",
            "When the first of the issuing certificates with a key on the token ends",
            ca_not_after.clone(),
        );
        let config_reloads = Family::default();
        registry.register(
            "config_reloads",
            "Changes of the operator's configuration that were taken up or refused",
            config_reloads.clone(),
        );
        let config_last_reload_successful = Gauge::default();
        config_last_reload_successful.set(1);
        registry.register(
            "config_last_reload_successful",
            "1 while the configuration in force is the one in the file, 0 once that cannot be used: alert on 0",
            config_last_reload_successful.clone(),
        );
        let replicas = Gauge::default();
        registry.register(
            "replicas",
            "Live replicas that share the work, as this one sees it",
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
            "1 while this replica's Lease holds; else it signs nothing",
            lease_held.clone(),
        );
        let lease_renewals = Family::default();
        registry.register(
            "lease_renewals",
            "Renewals of this replica's Lease, by how they ended",
            lease_renewals.clone(),
        );
        Self {
            registry,
            requests,
            refusals,
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
        }
    }

    /// A request's status was written.
    pub fn request(&self, kind: RequestKind, result: RequestResult) {
        self.requests
            .get_or_create(&RequestLabels { kind, result })
            .inc();
    }

    /// A request was refused for the reason that the slug names.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// A token was asked for a signature; `token` is its name in the operator's configuration.
    pub fn signed(&self, token: &str, outcome: SignOutcome, took: Duration) {
        let labels = SignLabels {
            token: token.to_owned(),
            outcome,
        };
        self.sign_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// An Event was given up.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// An invariant broke; the slug says which.
    pub fn bug(&self, bug: &'static str) {
        self.bugs.get_or_create(&BugLabels { bug }).inc();
    }

    /// A certificate was not signed because this lint of ours failed: a bug.
    pub fn lint_failed(&self, lint: &'static str) {
        self.lint_failures.get_or_create(&LintLabels { lint }).inc();
    }

    /// What happened to a token; `token` is its name in the operator's configuration.
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

    /// The token is not configured any more, or is another one from now on.
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

    /// A changed configuration was taken up, or refused.
    pub fn config_reloaded(&self, taken_up: bool) {
        let result = if taken_up { "taken_up" } else { "refused" };
        self.config_reloads
            .get_or_create(&ReloadLabels { result })
            .inc();
        self.config_last_reload_successful.set(i64::from(taken_up));
    }

    /// How many issuers of a kind have this reason; `None` once there is none any more.
    pub fn issuers(&self, kind: &'static str, reason: &'static str, count: Option<i64>) {
        set_or_remove(&self.issuers, &IssuerLabels { kind, reason }, count);
    }

    /// When the first issuing certificate on a token ends, in seconds since 1970; `None` once there is none any more.
    /// `token` is its name in the operator's configuration.
    pub fn ca_not_after(&self, token: &str, seconds: Option<i64>) {
        let labels = TokenLabel {
            token: token.to_owned(),
        };
        set_or_remove(&self.ca_not_after, &labels, seconds);
    }

    /// So many replicas share the work, as this one sees it.
    pub fn replicas(&self, count: usize) {
        self.replicas.set(gauge(count));
    }

    /// So many of them can sign with a token.
    pub fn token_replicas(&self, token: &str, count: usize) {
        let labels = TokenLabel {
            token: token.to_owned(),
        };
        self.token_replicas.get_or_create(&labels).set(gauge(count));
    }

    /// Whether this replica's Lease holds.
    pub fn lease_held(&self, held: bool) {
        self.lease_held.set(i64::from(held));
    }

    /// A renewal of this replica's Lease ended.
    pub fn lease_renewed(&self, result: LeaseRenewal) {
        self.lease_renewals
            .get_or_create(&RenewalLabels { result })
            .inc();
    }

    /// The OpenMetrics text of all metrics.
    ///
    /// # Errors
    /// None that writing to a `String` can give.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut buffer = String::new();
        text::encode(&mut buffer, &self.registry)?;
        Ok(buffer)
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Takes over a count that is kept elsewhere and only grows.
fn set(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
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
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted_under_its_labels() {
        let metrics = Metrics::new("0.1.0", "unknown");
        metrics.request(RequestKind::CertificateRequest, RequestResult::Issued);
        metrics.request(RequestKind::CertificateRequest, RequestResult::Issued);
        metrics.refused("key-too-small");
        metrics.signed("issuing", SignOutcome::Signed, Duration::from_millis(4));
        metrics.event_dropped();
        metrics.bug("signature-does-not-verify");
        metrics.replicas(3);
        metrics.token_replicas("issuing", 2);
        metrics.lease_held(true);
        metrics.lease_renewed(LeaseRenewal::Failed);
        let text = metrics.encode().unwrap();
        for line in [
            r#"pkcs11_issuer_build_info{version="0.1.0",commit="unknown"} 1"#,
            r#"pkcs11_issuer_requests_total{kind="CertificateRequest",result="issued"} 2"#,
            r#"pkcs11_issuer_refusals_total{reason="key-too-small"} 1"#,
            r#"pkcs11_issuer_sign_seconds_bucket{le="0.0025",token="issuing",outcome="signed"} 0"#,
            r#"pkcs11_issuer_sign_seconds_bucket{le="0.005",token="issuing",outcome="signed"} 1"#,
            r#"pkcs11_issuer_events_dropped_total 1"#,
            r#"pkcs11_issuer_replicas 3"#,
            r#"pkcs11_issuer_token_replicas{token="issuing"} 2"#,
            r#"pkcs11_issuer_lease_held 1"#,
            r#"pkcs11_issuer_lease_renewals_total{result="failed"} 1"#,
            r#"pkcs11_issuer_bugs_total{bug="signature-does-not-verify"} 1"#,
        ] {
            assert!(
                text.lines().any(|present| present == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn a_token_is_in_one_state_at_a_time_and_every_entry_is_counted() {
        let metrics = Metrics::new("0.1.0", "unknown");
        let counts = |state| TokenCounts {
            state,
            entered: BTreeMap::from([("starting", 1), ("ready", 2)]),
            ended: BTreeMap::from([("hung", 1)]),
        };
        metrics.token("issuing", &counts("starting"));
        metrics.token("issuing", &counts("ready"));
        let text = metrics.encode().unwrap();
        for line in [
            r#"pkcs11_issuer_token_state{token="issuing",state="starting"} 0"#,
            r#"pkcs11_issuer_token_state{token="issuing",state="ready"} 1"#,
            r#"pkcs11_issuer_token_entered_total{token="issuing",state="ready"} 2"#,
            r#"pkcs11_issuer_worker_ended_total{token="issuing",reason="hung"} 1"#,
        ] {
            assert!(
                text.lines().any(|present| present == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
