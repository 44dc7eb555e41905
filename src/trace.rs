//! Traces of requests, for a collector: the stages of the work on each request, and how long each takes.
//!
//! A request is one trace, and its UID is the ID of the trace. The stages of a look are sent when the look has ended, and the
//! root span when the request has. So nothing is held for a request that waits, and all replicas that work on a request add to
//! one trace.

mod exporter;
mod spans;

use std::{cell::RefCell, sync::Arc, time::Instant};

pub use self::{
    exporter::{Collector, Spans, SpansError},
    spans::{Clocks, TracedLook},
};

/// Stage of the work on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkStage {
    /// From the end of a look to the moment when the request is due again.
    Wait,
    /// From the moment when the request is due to the start of the look.
    Queue,
    /// A question to the API server whether the requester may use the issuer.
    Check,
    /// The wait for a turn at the token.
    Turn,
    /// The call of the token for the random octets of a serial number.
    Serial,
    /// The call of the token for the signature.
    Token,
    /// The write of the status.
    Write,
}

/// One stage of one request, by the steady clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// The stage.
    pub stage: WorkStage,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// Whether it ended with an error.
    pub failed: bool,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its certificate is published.
    Issued(TracedCertificate),
    /// Its certificate will never be published, for the reason that the slug names.
    Discarded(TracedCertificate, &'static str),
    /// It is refused, for the reason that the slug names.
    Refused(&'static str),
    /// An approver denied it.
    Denied,
}

/// Certificate of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedCertificate {
    /// The serial number, hexadecimal.
    pub serial: String,
    /// The token that signed it, by its name in the configuration.
    pub token: Arc<str>,
}

/// What one look did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The stages, in the order in which they ended.
    pub stages: Vec<Took>,
    /// How the request ended, if it did.
    pub outcome: Option<Outcome>,
    /// Whether there was nothing to do: the work on the request begins with the next change.
    pub idle: bool,
}

tokio::task_local! {
    /// Record of the look that this task runs; `None` if traces are off.
    static RECORD: RefCell<Option<Record>>;
}

/// Runs a look. Returns what it did if `wanted`.
pub async fn recorded<T>(wanted: bool, look: impl Future<Output = T>) -> (T, Option<Record>) {
    let record = RefCell::new(wanted.then(Record::default));
    let whole = async {
        let value = look.await;
        (value, RECORD.with(RefCell::take))
    };
    RECORD.scope(record, whole).await
}

/// Runs one stage, and notes in the record of the look when it began and ended. Outside a look, or without traces, it only runs
/// the stage.
///
/// # Errors
/// Those of `work`.
pub async fn stage<T, E>(
    stage: WorkStage,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    if !is_recording() {
        return work.await;
    }
    let began = Instant::now();
    let done = work.await;
    let took = Took {
        stage,
        began,
        ended: Instant::now(),
        failed: done.is_err(),
    };
    note(|record| record.stages.push(took));
    done
}

/// Notes how the request of the look ended.
pub fn ended(outcome: impl FnOnce() -> Outcome) {
    note(|record| record.outcome = Some(outcome()));
}

/// Notes that the look found nothing to do.
pub fn idle() {
    note(|record| record.idle = true);
}

fn is_recording() -> bool {
    RECORD.try_with(|record| record.borrow().is_some()) == Ok(true)
}

fn note(change: impl FnOnce(&mut Record)) {
    // An error means that there is no look.
    RECORD
        .try_with(|record| record.borrow_mut().as_mut().map(change))
        .ok();
}

impl WorkStage {
    /// Returns the name of the stage's span.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Queue => "queue",
            Self::Check => "check",
            Self::Turn => "turn",
            Self::Serial => "serial",
            Self::Token => "token",
            Self::Write => "write",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn work(result: Result<u8, u8>) -> Result<u8, u8> {
        stage(WorkStage::Token, std::future::ready(result)).await
    }

    #[tokio::test]
    async fn a_look_is_recorded_with_its_stages_and_its_end() {
        let look = async {
            let results = [work(Ok(1)).await, work(Err(2)).await];
            ended(|| Outcome::Refused("bad-san"));
            results
        };
        let (results, record) = recorded(true, look).await;
        assert_eq!(results, [Ok(1), Err(2)]);
        let mut record = record.unwrap();
        let stages = std::mem::take(&mut record.stages);
        let seen: Vec<_> = stages
            .iter()
            .map(|took| (took.stage, took.failed))
            .collect();
        assert_eq!(seen, [(WorkStage::Token, false), (WorkStage::Token, true)]);
        assert!(stages.is_sorted_by_key(|took| took.ended));
        let rest = Record {
            outcome: Some(Outcome::Refused("bad-san")),
            ..Record::default()
        };
        assert_eq!(record, rest);
    }

    #[tokio::test]
    async fn nothing_is_recorded_without_traces_or_outside_a_look() {
        assert_eq!(work(Ok(1)).await, Ok(1));
        idle();
        let look = async {
            idle();
            work(Ok(1)).await
        };
        assert_eq!(recorded(false, look).await, (Ok(1), None));
    }
}
