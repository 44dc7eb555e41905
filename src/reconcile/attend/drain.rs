//! The end of the work on requests: nothing is begun any more, and what was signed is published or named as discarded.

use std::{sync::Arc, time::Instant};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    Requests,
    look::{Looks, look_at},
};
use crate::{
    api::tolerant::Tolerant,
    reconcile::{
        Context,
        backoff::until,
        request::{Memory, Remembered as _, Request, STOPPED, full_name, part_with},
    },
    telemetry::Chain,
};

/// How the work is told to end.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Nothing is begun any more; what has begun is finished.
    pub stop: CancellationToken,
    /// What has begun is abandoned; what was signed and is not published is named.
    pub abandon: CancellationToken,
}

/// Finishes the looks under way, and looks at each request again for which something was signed that is not published
/// yet, until it is published or `abandon` is cancelled. Then names what is left.
pub(super) async fn drain<R: Request>(
    mut queue: Requests<R>,
    mut looks: Looks<R>,
    context: &Arc<Context>,
    abandon: &CancellationToken,
) {
    // Who waits for a turn at a token has begun nothing.
    context.tokens.close_turns();
    loop {
        queue.keep_owed();
        while let Some(due) = queue.next() {
            looks.spawn(look_at(due, Arc::clone(context), abandon.clone()));
        }
        if looks.is_empty() && queue.next_call().is_none() {
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
            () = until(queue.next_call()) => queue.call_until(Instant::now()),
        }
    }
    let left = queue.into_kept().filter(|(_, memory)| memory.owes());
    join_all(left.map(|(request, memory)| account_for(request, memory, context))).await;
}

async fn account_for<R: Request>(request: Arc<Tolerant<R>>, mut memory: Memory, context: &Context) {
    let (kind, name) = (R::KIND.as_str(), full_name(&*request));
    warn!(
        kind,
        name, "the certificate that was signed is not published by this process"
    );
    if let Err(failure) = part_with(&*request, &mut memory, STOPPED, context).await {
        error!(kind, name, error = %Chain(&failure), "nobody knows whether the certificate is stored");
    }
}
