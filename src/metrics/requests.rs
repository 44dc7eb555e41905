//! Metrics of requests: results, refusals, waiting requests, and how long each stage takes.

use std::time::Duration;

use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use super::{
    Metrics, gauge,
    labels::{
        BugLabels, KindLabel, LintLabels, ReasonLabels, RequestLabels, RequestResult, StageLabel,
        TimedStage, WaitLabels, WaitReason,
    },
    per_issuer::IssuerId,
    set::{Histograms, MetricSet},
    set_or_remove,
};
use crate::audit::RequestKind;

/// Buckets in seconds for the time from approval to publication, which the API server stores in whole seconds.
const WHOLE: [f64; 12] = [
    1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0,
];

/// Buckets in seconds for one stage.
const STAGE: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];

#[derive(Debug)]
pub(super) struct RequestMetrics {
    results: Family<RequestLabels, Counter>,
    refusals: Family<ReasonLabels, Counter>,
    undecided: Family<KindLabel, Gauge>,
    undecided_oldest: Family<KindLabel, Gauge>,
    waiting: Family<WaitLabels, Gauge>,
    waiting_oldest: Family<WaitLabels, Gauge>,
    seconds: Histograms<KindLabel>,
    stage_seconds: Histograms<StageLabel>,
    bugs: Family<BugLabels, Counter>,
    lint_failures: Family<LintLabels, Counter>,
    events_dropped: Counter,
}

impl RequestMetrics {
    pub(super) fn register(set: &mut MetricSet) -> Self {
        Self {
            results: set.counters(
                "requests",
                &["kind", "issuer_kind", "result"],
                "Status writes of requests, by kind, kind of the issuer and result",
            ),
            refusals: set.counters(
                "refusals",
                &["kind", "issuer_kind", "reason"],
                "Requests that were refused for good, by the slug of the refusal",
            ),
            undecided: set.gauges(
                "undecided_requests",
                &["kind"],
                "Requests that nobody has approved or denied yet; every replica counts all of them",
            ),
            undecided_oldest: set.gauges(
                "undecided_requests_oldest_timestamp_seconds",
                &["kind"],
                "When the oldest request that nobody has approved or denied was created; absent if there is none",
            ),
            waiting: set.gauges(
                "waiting_requests",
                &["kind", "reason"],
                "Approved requests that are not answered yet, by what they wait for; each replica counts those that it answers",
            ),
            waiting_oldest: set.gauges(
                "waiting_requests_oldest_timestamp_seconds",
                &["kind", "reason"],
                "Since when the oldest of the waiting requests has been approved; absent if there is none",
            ),
            seconds: set.seconds(
                "request_seconds",
                &["kind"],
                "Time from the approval of a request to its published certificate, exact to a second; a request that needs no approval counts from its creation",
                || Histogram::new(WHOLE),
            ),
            stage_seconds: set.seconds(
                "stage_seconds",
                &["stage"],
                "Time of one stage of a request: queue (until it is looked at), turn (until it may use the token), token (the signature), write (the status)",
                || Histogram::new(STAGE),
            ),
            bugs: set.counters("bugs", &["bug"], "Broken invariants: alert on any"),
            lint_failures: set.counters(
                "lint_failures",
                &["lint"],
                "Certificates and CRLs that were not signed because a lint of the controller failed, by lint: alert on any",
            ),
            events_dropped: set.add(
                "events_dropped",
                &[],
                "Events that were dropped to avoid delays",
                Counter::default(),
            ),
        }
    }
}

impl Metrics {
    /// Shows the results of requests to issuers of these kinds as zero, so that an alert on their growth sees the first ones.
    pub fn expect_requests(&self, issuer_kinds: &[&'static str]) {
        for issuer_kind in issuer_kinds {
            for kind in RequestKind::WATCHED {
                for result in RequestResult::ALL.iter().copied() {
                    let labels = RequestLabels {
                        kind,
                        issuer_kind,
                        result,
                    };
                    drop(self.requests.results.get_or_create(&labels));
                }
            }
        }
    }

    /// Shows these bugs and lints as zero, so that an alert on their growth sees the first one.
    pub fn expect_failures(&self, bugs: &[&'static str], lints: &[&'static str]) {
        for bug in bugs {
            drop(self.requests.bugs.get_or_create(&BugLabels { bug }));
        }
        for lint in lints {
            drop(
                self.requests
                    .lint_failures
                    .get_or_create(&LintLabels { lint }),
            );
        }
    }

    /// Counts a status write of a request to this issuer.
    pub fn request(&self, kind: RequestKind, issuer: IssuerId<'_>, result: RequestResult) {
        let labels = RequestLabels {
            kind,
            issuer_kind: issuer.kind,
            result,
        };
        self.requests.results.get_or_create(&labels).inc();
        self.per_issuer.request(issuer, result);
    }

    /// Counts a refusal, for the reason that the slug names.
    pub fn refused(&self, kind: RequestKind, issuer: IssuerId<'_>, reason: &'static str) {
        let labels = ReasonLabels {
            kind,
            issuer_kind: issuer.kind,
            reason,
        };
        self.requests.refusals.get_or_create(&labels).inc();
    }

    /// Sets how many requests of a kind nobody has approved or denied, and when the oldest of them was created, in seconds
    /// since 1970.
    pub fn undecided(&self, kind: RequestKind, count: usize, oldest: Option<i64>) {
        let labels = KindLabel { kind };
        let all = &self.requests;
        all.undecided.get_or_create(&labels).set(gauge(count));
        set_or_remove(&all.undecided_oldest, &labels, oldest);
    }

    /// Sets how many approved requests of a kind wait for this reason, and since when the oldest of them has been approved,
    /// in seconds since 1970.
    pub fn waiting(
        &self,
        kind: RequestKind,
        reason: WaitReason,
        count: usize,
        oldest: Option<i64>,
    ) {
        let labels = WaitLabels { kind, reason };
        let all = &self.requests;
        all.waiting.get_or_create(&labels).set(gauge(count));
        set_or_remove(&all.waiting_oldest, &labels, oldest);
    }

    /// Records how long a request took from its approval to its published certificate.
    pub fn published_after(&self, kind: RequestKind, took: Duration) {
        let seconds = self.requests.seconds.get_or_create(&KindLabel { kind });
        seconds.observe(took.as_secs_f64());
    }

    /// Records how long a stage of a request took.
    pub fn stage(&self, stage: TimedStage, took: Duration) {
        let seconds = &self.requests.stage_seconds;
        let seconds = seconds.get_or_create(&StageLabel { stage });
        seconds.observe(took.as_secs_f64());
    }

    /// Counts an Event that was dropped.
    pub fn event_dropped(&self) {
        self.requests.events_dropped.inc();
    }

    /// Counts a broken invariant, which the slug names.
    pub fn bug(&self, bug: &'static str) {
        self.requests.bugs.get_or_create(&BugLabels { bug }).inc();
    }

    /// Counts a certificate or a CRL that was not signed because this lint of the controller failed. This is a bug.
    pub fn lint_failed(&self, lint: &'static str) {
        let failures = &self.requests.lint_failures;
        failures.get_or_create(&LintLabels { lint }).inc();
    }
}
