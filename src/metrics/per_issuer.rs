//! Metrics of single issuers, for as many issuers as the operator allows, and by default for none.

use std::collections::HashSet;

use parking_lot::Mutex;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::{
    Metrics,
    labels::{IssuerResultLabels, OneIssuerLabels, RequestResult},
    set::MetricSet,
    set_or_remove,
};

/// Name under which the issuers beyond the limit are counted together. No object can have it.
const OTHERS: &str = "(others)";

/// An issuer, for the labels of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerId<'a> {
    /// Kind of the issuer.
    pub kind: &'static str,
    /// Namespace of the issuer, if its kind has one.
    pub namespace: Option<&'a str>,
    /// Name of the issuer.
    pub name: &'a str,
}

/// Health of one issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerHealth {
    /// Whether it can sign.
    pub ready: bool,
    /// When the first certificate of its chain expires, in seconds since 1970, if that is known.
    pub not_after: Option<i64>,
}

#[derive(Debug)]
pub(super) struct PerIssuer {
    /// The most issuers with metrics of their own.
    most: usize,
    shown: Mutex<HashSet<OneIssuerLabels>>,
    results: Family<IssuerResultLabels, Counter>,
    ready: Family<OneIssuerLabels, Gauge>,
    not_after: Family<OneIssuerLabels, Gauge>,
    last_signature: Family<OneIssuerLabels, Gauge>,
}

impl PerIssuer {
    pub(super) fn register(set: &mut MetricSet, most: usize) -> Self {
        const LABELS: &[&str] = &["issuer_kind", "issuer_namespace", "issuer"];
        Self {
            most,
            shown: Mutex::default(),
            results: set.counters(
                "issuer_requests",
                &["issuer_kind", "issuer_namespace", "issuer", "result"],
                "Status writes of requests by issuer and result, only with --issuer-metrics; the issuer (others) stands for those beyond the limit",
            ),
            ready: set.gauges(
                "issuer_ready",
                LABELS,
                "1 if the issuer can sign, only with --issuer-metrics",
            ),
            not_after: set.gauges(
                "issuer_not_after_timestamp_seconds",
                LABELS,
                "When the first certificate of the issuer's chain expires, only with --issuer-metrics",
            ),
            last_signature: set.gauges(
                "issuer_last_signature_timestamp_seconds",
                LABELS,
                "When this replica last verified a signature of the issuer's key, as of its last look at the issuer; probes count too; only with --issuer-metrics",
            ),
        }
    }

    /// Counts a status write.
    pub(super) fn request(&self, issuer: IssuerId<'_>, result: RequestResult) {
        if self.most == 0 {
            return;
        }
        let labels = labels(issuer);
        let shown = self.admits(&labels);
        let OneIssuerLabels {
            issuer_kind,
            issuer_namespace,
            issuer,
        } = labels;
        let labels = match shown {
            true => IssuerResultLabels {
                issuer_kind,
                issuer_namespace,
                issuer,
                result,
            },
            false => IssuerResultLabels {
                issuer_kind,
                issuer_namespace: String::new(),
                issuer: OTHERS.to_owned(),
                result,
            },
        };
        self.results.get_or_create(&labels).inc();
    }

    /// Returns whether an issuer has metrics of its own; gives it such metrics if there is room.
    fn admits(&self, issuer: &OneIssuerLabels) -> bool {
        let mut shown = self.shown.lock();
        shown.contains(issuer) || shown.len() < self.most && shown.insert(issuer.clone())
    }

    fn health(&self, issuer: IssuerId<'_>, health: Option<IssuerHealth>) {
        if self.most == 0 {
            return;
        }
        let labels = labels(issuer);
        match health {
            Some(health) if self.admits(&labels) => {
                let ready = self.ready.get_or_create(&labels);
                ready.set(i64::from(health.ready));
                set_or_remove(&self.not_after, &labels, health.not_after);
            }
            Some(_) => {}
            None => self.forget(&labels),
        }
    }

    fn signed(&self, issuer: IssuerId<'_>, seconds: i64) {
        if self.most == 0 {
            return;
        }
        let labels = labels(issuer);
        if self.admits(&labels) {
            self.last_signature.get_or_create(&labels).set(seconds);
        }
    }

    fn forget(&self, labels: &OneIssuerLabels) {
        if !self.shown.lock().remove(labels) {
            return;
        }
        self.ready.remove(labels);
        self.not_after.remove(labels);
        self.last_signature.remove(labels);
        for result in RequestResult::ALL.iter().copied() {
            self.results.remove(&IssuerResultLabels {
                issuer_kind: labels.issuer_kind,
                issuer_namespace: labels.issuer_namespace.clone(),
                issuer: labels.issuer.clone(),
                result,
            });
        }
    }
}

impl Metrics {
    /// Sets the health of one issuer; `None` removes its metrics. Does nothing unless the operator wants such metrics.
    pub fn issuer(&self, issuer: IssuerId<'_>, health: Option<IssuerHealth>) {
        self.per_issuer.health(issuer, health);
    }

    /// Sets when a signature of an issuer's key was last verified, in seconds since 1970. Does nothing unless the operator
    /// wants such metrics.
    pub fn issuer_signed(&self, issuer: IssuerId<'_>, seconds: i64) {
        self.per_issuer.signed(issuer, seconds);
    }
}

fn labels(issuer: IssuerId<'_>) -> OneIssuerLabels {
    OneIssuerLabels {
        issuer_kind: issuer.kind,
        issuer_namespace: issuer.namespace.unwrap_or_default().to_owned(),
        issuer: issuer.name.to_owned(),
    }
}
