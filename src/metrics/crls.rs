//! Metrics of certificate revocation lists and of what waits for one.

use std::collections::HashSet;

use parking_lot::Mutex;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::{
    Metrics, gauge,
    labels::{CaLabel, CrlAnswer, CrlAnswerLabels, CrlFailure, CrlFailureLabels},
    set::MetricSet,
    set_or_remove,
};

/// Most CAs with metrics of their own: the first ones that are seen. An operator grants keys, so there are few.
const MOST_CAS: usize = 100;

#[derive(Debug)]
pub(super) struct CrlMetrics {
    shown: Mutex<HashSet<CaLabel>>,
    next_update: Family<CaLabel, Gauge>,
    this_update: Family<CaLabel, Gauge>,
    entries: Family<CaLabel, Gauge>,
    due_since: Family<CaLabel, Gauge>,
    bundle_missing: Gauge,
    published: Counter,
    failures: Family<CrlFailureLabels, Counter>,
    answers: Family<CrlAnswerLabels, Counter>,
    revocations_waiting: Gauge,
    revocation_oldest: Gauge,
}

/// The CRLs of one CA, as this replica serves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlTimes {
    /// The earliest thisUpdate of its shards, as a Unix time in seconds.
    pub this_update: i64,
    /// The earliest nextUpdate of its shards.
    pub next_update: i64,
    /// Entries on all of its CRLs.
    pub entries: usize,
}

impl CrlMetrics {
    pub(super) fn register(set: &mut MetricSet) -> Self {
        let metrics = Self {
            shown: Mutex::default(),
            next_update: set.gauges(
                "crl_next_update_timestamp_seconds",
                &["ca"],
                "When the first CRL of a CA ends that this replica serves: alert long before it",
            ),
            this_update: set.gauges(
                "crl_this_update_timestamp_seconds",
                &["ca"],
                "When the oldest CRL of a CA was made that this replica serves",
            ),
            entries: set.gauges(
                "crl_entries",
                &["ca"],
                "Revoked certificates on all CRLs of a CA that this replica serves",
            ),
            due_since: set.gauges(
                "crl_due_since_timestamp_seconds",
                &["ca"],
                "Since when a CRL of a CA that this replica must sign is due and not published; absent if none is",
            ),
            bundle_missing: set.add(
                "crl_bundle_incomplete",
                &[],
                "Issuers whose bundle of CRLs this replica cannot publish, because the CRL of a CA is missing or has ended",
                Gauge::default(),
            ),
            published: set.add(
                "crls_published",
                &[],
                "CRLs that this replica has signed and stored",
                Counter::default(),
            ),
            failures: set.counters(
                "crl_failures",
                &["step"],
                "CRLs that this replica could not publish, each tried again, by the step that failed",
            ),
            answers: set.counters(
                "crl_requests",
                &["outcome"],
                "Requests for CRLs, by outcome",
            ),
            revocations_waiting: set.add(
                "revocations_waiting",
                &[],
                "Accepted revocations of this replica's share that are on no published CRL yet",
                Gauge::default(),
            ),
            revocation_oldest: set.add(
                "revocation_waiting_since_timestamp_seconds",
                &[],
                "When the oldest of the waiting revocations was accepted; 0 if none waits",
                Gauge::default(),
            ),
        };
        // An alert on the growth of a counter needs it from the start.
        for step in CrlFailure::ALL.iter().copied() {
            drop(metrics.failures.get_or_create(&CrlFailureLabels { step }));
        }
        metrics
    }

    /// Returns the label of a CA, unless there are too many.
    fn label(&self, ca: &str) -> Option<CaLabel> {
        let label = CaLabel { ca: ca.to_owned() };
        let mut shown = self.shown.lock();
        let fits = shown.contains(&label) || shown.len() < MOST_CAS && shown.insert(label.clone());
        fits.then_some(label)
    }
}

impl Metrics {
    /// Shows the CRLs of a CA that this replica serves; `None` if it serves none.
    pub fn crl(&self, ca: &str, times: Option<CrlTimes>) {
        let metrics = &self.crls;
        let Some(label) = metrics.label(ca) else {
            return;
        };
        set_or_remove(
            &metrics.next_update,
            &label,
            times.map(|times| times.next_update),
        );
        set_or_remove(
            &metrics.this_update,
            &label,
            times.map(|times| times.this_update),
        );
        set_or_remove(
            &metrics.entries,
            &label,
            times.map(|times| gauge(times.entries)),
        );
    }

    /// Shows since when a CRL of a CA is due that this replica must sign; `None` if none is.
    pub fn crl_due(&self, ca: &str, since: Option<i64>) {
        let metrics = &self.crls;
        if let Some(label) = metrics.label(ca) {
            set_or_remove(&metrics.due_since, &label, since);
        }
    }

    /// Counts a CRL that this replica has signed and stored.
    pub fn crl_published(&self) {
        self.crls.published.inc();
    }

    /// Counts a CRL that could not be published.
    pub fn crl_failed(&self, step: CrlFailure) {
        let failures = &self.crls.failures;
        failures.get_or_create(&CrlFailureLabels { step }).inc();
    }

    /// Counts an answer to a request for a CRL.
    pub fn crl_answered(&self, outcome: CrlAnswer) {
        let answers = &self.crls.answers;
        answers.get_or_create(&CrlAnswerLabels { outcome }).inc();
    }

    /// Shows how many issuers have an incomplete bundle of CRLs.
    pub fn crl_bundles_incomplete(&self, issuers: usize) {
        self.crls.bundle_missing.set(gauge(issuers));
    }

    /// Shows how many accepted revocations of this replica's share are on no CRL yet, and when the oldest was accepted, as a Unix
    /// time in seconds.
    pub fn revocations_waiting(&self, count: usize, oldest: Option<i64>) {
        self.crls.revocations_waiting.set(gauge(count));
        self.crls.revocation_oldest.set(oldest.unwrap_or_default());
    }
}
