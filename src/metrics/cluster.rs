//! Metrics of the replica in its cluster: Leases, watches, the operator's configuration, and calls of the API server.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use super::{
    Metrics, gauge,
    labels::{
        ApiCode, ApiLabels, ApiVerb, LeaseRenewal, ReloadLabels, RenewalLabels, VerbLabel,
        WatchLabel,
    },
    set::{Histograms, MetricSet},
};

/// Buckets in seconds for a call of the API server.
const CALL: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

#[derive(Debug)]
pub(super) struct ClusterMetrics {
    config_reloads: Family<ReloadLabels, Counter>,
    config_last_reload_successful: Gauge,
    replicas: Gauge,
    lease_held: Gauge,
    lease_renewals: Family<RenewalLabels, Counter>,
    watch_failures: Family<WatchLabel, Counter>,
    api_requests: Family<ApiLabels, Counter>,
    api_seconds: Histograms<VerbLabel>,
    clock_offset: Gauge<f64, AtomicU64>,
    spans_dropped: Counter,
}

impl ClusterMetrics {
    pub(super) fn register(set: &mut MetricSet) -> Self {
        let metrics = Self {
            config_reloads: set.counters(
                "config_reloads",
                &["result"],
                "Changes of the operator's configuration that were applied or refused",
            ),
            config_last_reload_successful: set.add(
                "config_last_reload_successful",
                &[],
                "1 while the present configuration is that of the file, 0 while the file cannot be used: alert on 0",
                Gauge::default(),
            ),
            replicas: set.add(
                "replicas",
                &[],
                "Live replicas that share the work, as seen by this replica",
                Gauge::default(),
            ),
            lease_held: set.add(
                "lease_held",
                &[],
                "1 while this replica's Lease is valid; with 0 it signs nothing",
                Gauge::default(),
            ),
            lease_renewals: set.counters(
                "lease_renewals",
                &["result"],
                "Renewals of this replica's Lease, by result",
            ),
            watch_failures: set.counters(
                "watch_failures",
                &["kind"],
                "Failed lists and watches of a kind, each tried again: alert if it grows for minutes",
            ),
            api_requests: set.counters(
                "api_requests",
                &["verb", "code"],
                "Calls of the API server, by verb and HTTP status; the code error stands for a call without a response",
            ),
            api_seconds: set.seconds(
                "api_request_seconds",
                &["verb"],
                "Time from a call of the API server to the head of its response",
                || Histogram::new(CALL),
            ),
            clock_offset: set.add(
                "clock_offset_seconds",
                &[],
                "How far this machine's clock is ahead of the API server's, exact to a second; negative if it is behind",
                Gauge::default(),
            ),
            spans_dropped: set.add(
                "spans_dropped",
                &[],
                "Spans that the collector did not take, or that had no place in the queue for it",
                Counter::default(),
            ),
        };
        metrics.config_last_reload_successful.set(1);
        metrics
    }
}

impl Metrics {
    /// Counts a changed configuration that was applied or refused.
    pub fn config_reloaded(&self, taken_up: bool) {
        let result = if taken_up { "taken_up" } else { "refused" };
        let metrics = &self.cluster;
        metrics
            .config_reloads
            .get_or_create(&ReloadLabels { result })
            .inc();
        metrics
            .config_last_reload_successful
            .set(i64::from(taken_up));
    }

    /// Sets how many replicas share the work, as seen by this replica.
    pub fn replicas(&self, count: usize) {
        self.cluster.replicas.set(gauge(count));
    }

    /// Sets whether this replica's Lease is valid.
    pub fn lease_held(&self, held: bool) {
        self.cluster.lease_held.set(i64::from(held));
    }

    /// Counts a renewal of this replica's Lease.
    pub fn lease_renewed(&self, result: LeaseRenewal) {
        let renewals = &self.cluster.lease_renewals;
        renewals.get_or_create(&RenewalLabels { result }).inc();
    }

    /// Shows the failures of a kind's lists and watches as zero, so that an alert on their growth sees the first one.
    pub fn watches(&self, kind: &'static str) {
        let failures = &self.cluster.watch_failures;
        drop(failures.get_or_create(&WatchLabel { kind }));
    }

    /// Counts a failed list or watch of a kind.
    pub fn watch_failed(&self, kind: &'static str) {
        let failures = &self.cluster.watch_failures;
        failures.get_or_create(&WatchLabel { kind }).inc();
    }

    /// Counts a call of the API server and records the time until the head of its response. `code` is the HTTP status;
    /// `None` without a response.
    pub fn api_called(&self, verb: ApiVerb, code: Option<u16>, took: Duration) {
        let code = ApiCode(code);
        let metrics = &self.cluster;
        metrics
            .api_requests
            .get_or_create(&ApiLabels { verb, code })
            .inc();
        let seconds = metrics.api_seconds.get_or_create(&VerbLabel { verb });
        seconds.observe(took.as_secs_f64());
    }

    /// Sets by how many seconds this machine's clock is ahead of the API server's.
    pub fn clock_offset(&self, seconds: f64) {
        self.cluster.clock_offset.set(seconds);
    }

    /// Counts spans that were dropped.
    pub fn spans_dropped(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.cluster.spans_dropped.inc_by(count);
    }
}
