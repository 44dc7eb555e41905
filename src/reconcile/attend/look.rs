//! One look at a request. The queue lends out the request's memory for the look.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Requests, queue::Due, traced::TracedBegin, uid::Uid, waiting::WaitingRequests};
use crate::{
    api::tolerant::Tolerant,
    metrics::WaitReason,
    reconcile::{
        Context,
        request::{
            self, Memory, Next, Request, SUPERSEDED, discard_unpublished, log_request, waits_since,
        },
    },
    telemetry::ErrorChain,
    trace::recorded,
};

/// The looks in progress.
pub(super) type Looks<R> = JoinSet<Looked<R>>;

/// Outcome of a look.
pub(super) struct Looked<R> {
    object: Arc<Tolerant<R>>,
    memory: Memory,
    next: Next,
    /// What the request waits for, and since when: its approval, or its creation if it needs none.
    waits: Option<(WaitReason, Timestamp)>,
}

impl<R: Request> Looked<R> {
    /// Counts the request by what it waits for now.
    pub(super) fn count(&self, waiting: &mut WaitingRequests) {
        waiting.looked(&Uid::of(&*self.object), self.waits, Instant::now());
    }

    /// Reports the outcome to the queue and gives the memory back.
    pub(super) fn tell(self, queue: &mut Requests<R>) {
        queue.looked(&self.object, self.memory, self.next, Instant::now());
    }
}

/// Looks at a request until the look ends or is abandoned. A certificate that was signed by then is in the memory.
pub(super) async fn look_at<R: Request>(
    due: Due<Tolerant<R>, Memory>,
    context: Arc<Context>,
    abandon: CancellationToken,
) -> Looked<R> {
    let Due {
        object,
        mut memory,
        deleted,
        waiting,
        since,
    } = due;
    let begin = TracedBegin::of(&memory, since);
    // Boxed, because each of the futures around it would hold it twice: the looks in progress would need megabytes.
    let look = Box::pin(async {
        match deleted {
            true => part(&object, &mut memory, waiting, &context).await,
            false => request::look(&object, &mut memory, waiting, &context).await,
        }
    });
    let look = async {
        tokio::select! {
            next = look => next,
            () = abandon.cancelled() => Next::OnChange,
        }
    };
    let (next, record) = recorded(context.spans.are_wanted(), look).await;
    begin.end(&object, &mut memory, record, &context);
    log_request!(debug, &*object, ?next, "looked at");
    let request = object.0.as_ref().ok().filter(|_| !deleted);
    let since = request.and_then(|request| waits_since(request, &context));
    Looked {
        waits: memory.waits_for().zip(since),
        object,
        memory,
        next,
    }
}

/// Looks at a deleted request for the last time.
async fn part<R: Request>(
    object: &Tolerant<R>,
    memory: &mut Memory,
    waiting: usize,
    context: &Context,
) -> Next {
    match discard_unpublished(object, memory, SUPERSEDED, context).await {
        Ok(()) => Next::Ended,
        Err(error) => {
            let error = ErrorChain(&error).to_string();
            log_request!(seldom warn, &error, object, error, "will try again");
            memory.retry_at(waiting, Instant::now())
        }
    }
}
