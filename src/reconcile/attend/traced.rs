//! Sends the spans of a look at a request, if traces are on.

use std::time::Instant;

use kube::ResourceExt as _;

use crate::{
    api::tolerant::Tolerant,
    pipeline::now,
    reconcile::{
        Context,
        request::{Memory, Request, WorkedOn, full_name},
    },
    trace::{Clocks, Record, Took, TracedLook, WorkStage},
};

/// A look that has begun, with the times before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TracedBegin {
    earlier: Option<WorkedOn>,
    due: Instant,
    began: Instant,
}

impl TracedBegin {
    /// Notes the start of a look at a request that has been due since `due`.
    pub(super) fn of(memory: &Memory, due: Instant) -> Self {
        Self {
            earlier: memory.worked_on(),
            due,
            began: Instant::now(),
        }
    }

    /// Sends the spans of the look, which has just ended, and remembers what the next look needs. `record` is `None` if traces
    /// are off.
    pub(super) fn end<R: Request>(
        self,
        object: &Tolerant<R>,
        memory: &mut Memory,
        record: Option<Record>,
        context: &Context,
    ) {
        let (Some(record), Ok(request)) = (record, &object.0) else {
            return;
        };
        let since = self.earlier.map_or(self.due, |earlier| earlier.since);
        let next = match (&record.outcome, record.idle, record.stages.is_empty()) {
            (Some(_), _, _) | (None, true, _) => None,
            // Such a look is part of the wait.
            (None, false, true) => Some(WorkedOn {
                since,
                until: self.earlier.map_or(self.due, |earlier| earlier.until),
            }),
            (None, false, false) => Some(WorkedOn {
                since,
                until: Instant::now(),
            }),
        };
        memory.work_on(next);
        if record.outcome.is_some() || !record.stages.is_empty() {
            send(request, since, self.with_times_before(record), context);
        }
    }

    /// Returns the record with the stages from before the look.
    fn with_times_before(self, record: Record) -> Record {
        let took = |stage, began, ended| Took {
            stage,
            began,
            ended,
            failed: false,
        };
        let wait = self
            .earlier
            .map(|earlier| took(WorkStage::Wait, earlier.until.min(self.due), self.due));
        let before = wait
            .into_iter()
            .chain([took(WorkStage::Queue, self.due, self.began)]);
        Record {
            stages: before.chain(record.stages).collect(),
            ..record
        }
    }
}

fn send<R: Request>(request: &R, since: Instant, record: Record, context: &Context) {
    let issuer = request.issuer();
    let clocks = Clocks {
        steady: Instant::now(),
        day: now().into(),
    };
    let uid = request.uid().unwrap_or_default();
    let look = TracedLook {
        kind: R::KIND.as_str(),
        request: full_name(request),
        uid: &uid,
        token: issuer
            .as_ref()
            .and_then(|issuer| context.stored.token(issuer)),
        issuer: issuer.map(|issuer| issuer.to_string()).unwrap_or_default(),
        since,
        record,
    };
    context.spans.send(look, clocks);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_stages_of_a_look_begin_with_the_wait_since_the_look_before_and_with_the_queue() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let took = |stage, began, ended| Took {
            stage,
            began: at(began),
            ended: at(ended),
            failed: false,
        };
        let record = Record {
            stages: vec![took(WorkStage::Write, 9, 10)],
            ..Record::default()
        };
        let first = TracedBegin {
            earlier: None,
            due: at(5),
            began: at(7),
        };
        let later = TracedBegin {
            earlier: Some(WorkedOn {
                since: at(1),
                until: at(3),
            }),
            ..first
        };
        assert_eq!(
            first.with_times_before(record.clone()).stages,
            [took(WorkStage::Queue, 5, 7), took(WorkStage::Write, 9, 10)]
        );
        assert_eq!(
            later.with_times_before(record).stages,
            [
                took(WorkStage::Wait, 3, 5),
                took(WorkStage::Queue, 5, 7),
                took(WorkStage::Write, 9, 10)
            ]
        );
    }
}
