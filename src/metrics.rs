//! Metrics of the controller. Labels come from closed sets, never from an error's text or an object's name; only the metrics of
//! single issuers, which the operator must ask for, have names of issuers, and only up to a limit.

mod cluster;
mod crls;
mod issuers;
mod labels;
mod log;
mod per_issuer;
mod requests;
mod revocations;
mod set;
mod tokens;

use std::{fmt, hash::Hash, sync::atomic::Ordering};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use self::{
    cluster::ClusterMetrics, crls::CrlMetrics, issuers::IssuerMetrics, log::LogMetrics,
    per_issuer::PerIssuer, requests::RequestMetrics, revocations::RevocationMetrics,
    set::MetricSet, tokens::TokenMetrics,
};
pub use self::{
    crls::CrlTimes,
    labels::{
        ApiVerb, CrlAnswer, CrlFailure, LeaseRenewal, RequestResult, RevocationResult, SignOutcome,
        TimedStage, TokenFunction, WaitReason,
    },
    per_issuer::{IssuerHealth, IssuerId},
    set::Description,
    tokens::{SessionCounts, TokenCounts, TokenUse},
};

/// All metrics of the process; cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    descriptions: Vec<Description>,
    requests: RequestMetrics,
    tokens: TokenMetrics,
    issuers: IssuerMetrics,
    per_issuer: PerIssuer,
    cluster: ClusterMetrics,
    log: LogMetrics,
    crls: CrlMetrics,
    revocations: RevocationMetrics,
}

impl Metrics {
    /// Creates all metrics, at zero and without metrics of single issuers.
    #[must_use]
    pub fn new(version: &'static str, commit: &'static str) -> Self {
        Self::with_issuers(version, commit, 0)
    }

    /// Creates all metrics, at zero. At most `most_issuers` issuers get metrics of their own.
    #[must_use]
    pub fn with_issuers(version: &'static str, commit: &'static str, most_issuers: usize) -> Self {
        let mut set = MetricSet::new();
        set.build(version, commit);
        let requests = RequestMetrics::register(&mut set);
        let tokens = TokenMetrics::register(&mut set);
        let issuers = IssuerMetrics::register(&mut set);
        let per_issuer = PerIssuer::register(&mut set, most_issuers);
        let cluster = ClusterMetrics::register(&mut set);
        let log = LogMetrics::register(&mut set);
        let crls = CrlMetrics::register(&mut set);
        let revocations = RevocationMetrics::register(&mut set);
        let MetricSet {
            registry,
            descriptions,
        } = set;
        Self {
            registry,
            descriptions,
            requests,
            tokens,
            issuers,
            per_issuer,
            cluster,
            log,
            crls,
            revocations,
        }
    }

    /// Returns the description of every metric, in the order of the exposition.
    #[must_use]
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
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

/// Sets a counter to a count that is kept elsewhere and only grows.
fn store(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

fn set_or_remove<L>(gauges: &Family<L, Gauge>, labels: &L, value: Option<i64>)
where
    L: Clone + Hash + Eq,
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
