//! Metrics of issuers. Only those of single issuers have an issuer's name, and only as many as the operator allows.

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::{
    Metrics,
    labels::{IssuerLabels, TokenLabel},
    set::MetricSet,
    set_or_remove,
};

#[derive(Debug)]
pub(super) struct IssuerMetrics {
    by_reason: Family<IssuerLabels, Gauge>,
    not_after: Family<TokenLabel, Gauge>,
    too_short: Family<TokenLabel, Gauge>,
    clashes: Counter,
}

impl IssuerMetrics {
    pub(super) fn register(set: &mut MetricSet) -> Self {
        Self {
            by_reason: set.gauges(
                "issuers",
                &["kind", "reason"],
                "Issuers by the reason of their Ready condition; an issuer with Verified is ready. Every replica counts all of them",
            ),
            not_after: set.gauges(
                "ca_not_after_timestamp_seconds",
                &["token"],
                "Earliest expiry of a certificate in the chains of issuers that have proved a key on the token",
            ),
            too_short: set.gauges(
                "ca_too_short_issuers",
                &["token"],
                "Issuers whose chain ends before a certificate of their default duration would: what they issue is cut short or refused",
            ),
            clashes: set.add(
                "clashes",
                &[],
                "How often this installation has taken an issuer back from another installation, or left one to it: alert on any",
                Counter::default(),
            ),
        }
    }
}

impl Metrics {
    /// Sets how many issuers of a kind have this reason; `None` removes the metric.
    pub fn issuers(&self, kind: &'static str, reason: &'static str, count: Option<i64>) {
        set_or_remove(
            &self.issuers.by_reason,
            &IssuerLabels { kind, reason },
            count,
        );
    }

    /// Sets the earliest expiry of a certificate in the chains of a token's issuers, in seconds since 1970; `None` removes
    /// the metric. `token` is its name in the operator's configuration.
    pub fn ca_not_after(&self, token: &str, seconds: Option<i64>) {
        set_or_remove(&self.issuers.not_after, &of(token), seconds);
    }

    /// Sets how many issuers with a key on the token have a chain that ends before a certificate of their default duration
    /// would; `None` removes the metric.
    pub fn ca_too_short(&self, token: &str, count: Option<i64>) {
        set_or_remove(&self.issuers.too_short, &of(token), count);
    }

    /// Counts an issuer that another installation answers, too.
    pub fn clashed(&self) {
        self.issuers.clashes.inc();
    }
}

fn of(token: &str) -> TokenLabel {
    TokenLabel {
        token: token.to_owned(),
    }
}
