//! Metrics of the issuance log and of the log on stderr, read when they are asked for.

use std::sync::OnceLock;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use super::{Metrics, set::MetricSet, store};
use crate::{
    audit::{IssuanceLog, LogCounts},
    telemetry,
};

/// Metrics of both logs.
#[derive(Debug)]
pub(super) struct LogMetrics {
    /// The issuance log, once it is open.
    of: OnceLock<IssuanceLog>,
    lines: Counter,
    waiting: Gauge,
    failing: Gauge,
    dropped: Counter,
    last_checkpoint: Gauge,
    checkpoint_failures: Counter,
}

impl Metrics {
    /// Shows the numbers of this log from now on.
    pub fn count_log(&self, log: &IssuanceLog) {
        self.log.of.get_or_init(|| log.clone());
    }

    /// Sets when every line of the issuance log was last under a checkpoint, in seconds since 1970.
    pub fn log_checkpoint(&self, seconds: i64) {
        self.log.last_checkpoint.set(seconds);
    }

    /// Counts a checkpoint of the issuance log that could not be signed or written.
    pub fn log_checkpoint_failed(&self) {
        self.log.checkpoint_failures.inc();
    }
}

impl LogMetrics {
    pub(super) fn register(set: &mut MetricSet) -> Self {
        Self {
            of: OnceLock::new(),
            lines: set.add(
                "log_lines",
                &[],
                "Lines of the issuance log that every sink has accepted",
                Counter::default(),
            ),
            waiting: set.add(
                "log_waiting_lines",
                &[],
                "Lines of the issuance log that a sink has not accepted yet",
                Gauge::default(),
            ),
            failing: set.add(
                "log_failing",
                &[],
                "1 while a sink of the issuance log accepts no lines; nothing is signed, unless the operator chose so: alert on 1",
                Gauge::default(),
            ),
            dropped: set.add(
                "log_dropped_lines",
                &[],
                "Lines of the log on stderr that were dropped because nobody reads it",
                Counter::default(),
            ),
            last_checkpoint: set.add(
                "log_last_checkpoint_timestamp_seconds",
                &[],
                "When a checkpoint last covered every line of the issuance log: alert if it is minutes old",
                Gauge::default(),
            ),
            checkpoint_failures: set.add(
                "log_checkpoint_failures",
                &[],
                "Checkpoints of the issuance log that could not be signed or written and were tried again",
                Counter::default(),
            ),
        }
    }

    /// Updates the metrics from the present state of the logs.
    pub(super) fn update(&self) {
        store(&self.dropped, telemetry::dropped_lines());
        let Some(log) = self.of.get() else {
            return;
        };
        let LogCounts {
            lines,
            waiting,
            failing,
        } = log.counts();
        store(&self.lines, lines);
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.failing.set(i64::from(failing));
    }
}
