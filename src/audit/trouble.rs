//! The state of the log: why it cannot be written, and how much of it is written.

use std::{fmt, io};

use super::sink::file::OpenError;

/// Why the sinks accept no lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTrouble {
    /// The last write failed with this error; it is repeated.
    Failing(String),
    /// No line was accepted for some seconds.
    Stalled,
    /// The backlog is full.
    Full,
}

/// Error of a log whose sinks accept no lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sink} accepts no lines of the issuance log: {trouble}")]
pub struct LogError {
    pub(super) sink: String,
    pub(super) trouble: SinkTrouble,
}

/// Numbers for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCounts {
    /// Lines that every sink has accepted.
    pub lines: u64,
    /// Lines that a sink has not accepted yet.
    pub waiting: u64,
    /// Whether the sinks accept nothing at present.
    pub failing: bool,
}

/// Why the log does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] OpenError),
    /// The operating system refused a thread or a descriptor.
    #[error("failed to start the sinks of the issuance log")]
    Sink(#[source] io::Error),
}

impl fmt::Display for SinkTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failing(error) => write!(
                f,
                "{error}; make room or mend it (every write is repeated until it succeeds)"
            ),
            Self::Stalled => {
                f.write_str("it takes nothing; find out who reads it or what slows it")
            }
            Self::Full => f.write_str("it is too slow; find out who reads it or what slows it"),
        }
    }
}
