//! Registers metrics and keeps a description of each: the reference page and the tests are made from the descriptions.

use prometheus_client::{
    encoding::EncodeMetric,
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
        info::Info,
    },
    registry::{Metric, Registry},
};

/// Prefix of every metric's name.
const PREFIX: &str = "pkcs11_issuer";

/// A family of histograms, all with the same buckets.
pub(super) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Description of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Name of its samples, such as `pkcs11_issuer_requests_total`. For a histogram the name without `_bucket`, `_count` and
    /// `_sum`.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
    /// Its labels, in their order.
    pub labels: &'static [&'static str],
    /// What it measures.
    pub help: &'static str,
}

/// The registry, with a description of each metric in it.
#[derive(Debug)]
pub(super) struct MetricSet {
    pub(super) registry: Registry,
    pub(super) descriptions: Vec<Description>,
}

impl MetricSet {
    pub(super) fn new() -> Self {
        Self {
            registry: Registry::with_prefix(PREFIX),
            descriptions: Vec::new(),
        }
    }

    /// Registers a metric and returns it. `name` has neither the prefix nor `_total`.
    pub(super) fn add<M: Metric + Clone>(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: M,
    ) -> M {
        self.describe(name, &metric, labels, help);
        self.registry.register(name, help, metric.clone());
        metric
    }

    /// Registers the facts about this build.
    pub(super) fn build(&mut self, version: &'static str, commit: &'static str) {
        let (name, help) = ("build", "Version and commit of this build");
        let build = Info::new([("version", version), ("commit", commit)]);
        self.describe(name, &build, &["version", "commit"], help);
        self.registry.register(name, help, build);
    }

    /// Registers gauges.
    pub(super) fn gauges<L>(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Family<L, Gauge>
    where
        Family<L, Gauge>: Metric + Clone + Default,
    {
        self.add(name, labels, help, Family::default())
    }

    /// Registers counters.
    pub(super) fn counters<L>(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Family<L, Counter>
    where
        Family<L, Counter>: Metric + Clone + Default,
    {
        self.add(name, labels, help, Family::default())
    }

    /// Registers histograms of seconds. `new` makes one of them.
    pub(super) fn seconds<L>(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        new: fn() -> Histogram,
    ) -> Histograms<L>
    where
        L: Clone + std::hash::Hash + Eq,
        Histograms<L>: Metric + Clone,
    {
        self.add(name, labels, help, Family::new_with_constructor(new))
    }

    fn describe(
        &mut self,
        name: &str,
        metric: &impl EncodeMetric,
        labels: &'static [&'static str],
        help: &'static str,
    ) {
        let (kind, suffix) = match metric.metric_type() {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Info => ("info", "_info"),
            MetricType::Histogram => ("histogram", ""),
            MetricType::Gauge | MetricType::Unknown => ("gauge", ""),
        };
        self.descriptions.push(Description {
            name: format!("{PREFIX}_{name}{suffix}"),
            kind,
            labels,
            help,
        });
    }
}
