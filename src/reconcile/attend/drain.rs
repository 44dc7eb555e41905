//! The drain: no new work is started, and every certificate that was signed is published or recorded as discarded.

use std::{sync::Arc, time::Instant};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Requests,
    look::{Looks, look_at},
    traced::TracedBegin,
};
use crate::{
    api::tolerant::Tolerant,
    reconcile::{
        Context,
        call::until,
        request::{Memory, Remembered as _, Request, STOPPED, discard_unpublished, log_request},
    },
    telemetry::ErrorChain,
    trace::recorded,
};

/// Signals that end the work on requests.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Starts the drain: no new work is started, and work in progress is finished.
    pub stop: CancellationToken,
    /// Ends the drain: work in progress is abandoned, and unpublished certificates are recorded.
    pub abandon: CancellationToken,
}

/// Finishes the looks in progress and keeps looking at the requests with an unpublished certificate, until every certificate
/// is published or `abandon` is cancelled. Then records the certificates that are left.
pub(super) async fn drain<R: Request>(
    mut queue: Requests<R>,
    mut looks: Looks<R>,
    context: &Arc<Context>,
    abandon: &CancellationToken,
) {
    // A request that waits for a turn at a token has not begun to sign, so it does not have to be finished.
    context.tokens.close_turns();
    loop {
        queue.retain_unpublished();
        while let Some(due) = queue.next() {
            looks.spawn(look_at(due, Arc::clone(context), abandon.clone()));
        }
        if looks.is_empty() && queue.next_wake().is_none() {
            break;
        }
        tokio::select! {
            () = abandon.cancelled() => {
                if !looks.is_empty() {
                    warn!(kind = R::KIND.as_str(), requests = looks.len(), "abandoned requests that are being worked on");
                }
                while let Some(looked) = looks.join_next().await {
                    if let Ok(looked) = looked {
                        looked.tell(&mut queue);
                    }
                }
                break;
            }
            Some(Ok(looked)) = looks.join_next() => looked.tell(&mut queue),
            () = until(queue.next_wake()) => queue.wake_due(Instant::now()),
        }
    }
    let left = queue
        .into_kept()
        .filter(|(_, memory)| memory.has_unpublished());
    join_all(left.map(|(request, memory)| account_for(request, memory, context))).await;
}

async fn account_for<R: Request>(request: Arc<Tolerant<R>>, mut memory: Memory, context: &Context) {
    log_request!(
        warn,
        &*request,
        "a signed certificate was not published before the controller stopped"
    );
    let begin = TracedBegin::of(&memory, Instant::now());
    let discard = discard_unpublished(&*request, &mut memory, STOPPED, context);
    let (discarded, record) = recorded(context.spans.are_wanted(), discard).await;
    begin.end(&request, &mut memory, record, context);
    if let Err(failure) = discarded {
        context.log.leave_unfinished();
        log_request!(error, &*request, error = %ErrorChain(&failure),
                     "failed to find out whether the certificate was published");
    }
}
