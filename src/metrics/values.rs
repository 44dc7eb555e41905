//! Conversions and changes of values that several metrics need.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

pub(super) fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Sets a counter to a count that is kept elsewhere and only grows.
pub(super) fn set(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

pub(super) fn set_or_remove<L>(gauges: &Family<L, Gauge>, labels: &L, value: Option<i64>)
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
