//! Metrics of revocations: how they ended.

use prometheus_client::metrics::{counter::Counter, family::Family};

use super::{
    Metrics,
    labels::{RevocationLabels, RevocationResult},
    set::MetricSet,
};

#[derive(Debug)]
pub(super) struct RevocationMetrics {
    results: Family<RevocationLabels, Counter>,
}

impl RevocationMetrics {
    pub(super) fn register(set: &mut MetricSet) -> Self {
        Self {
            results: set.counters(
                "revocations",
                &["result"],
                "Revocations that were answered, by their result: revoked, released or refused",
            ),
        }
    }
}

impl Metrics {
    /// Counts a revocation that was answered.
    pub fn revocation(&self, result: RevocationResult) {
        let labels = RevocationLabels { result };
        self.revocations.results.get_or_create(&labels).inc();
    }
}
