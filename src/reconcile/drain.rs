//! The end of the work on requests: nothing is begun any more, and what was signed is published or named as discarded.

use std::{sync::Arc, time::Instant};

use futures::future::join_all;
use kube::ResourceExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    Context,
    apply::full_name,
    attend::{Looks, look_at, part_with, until},
    finish::STOPPED,
    kind::Request,
    queue::Queue,
};
use crate::{api::tolerant::Tolerant, telemetry::Chain};

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
    mut queue: Queue<Tolerant<R>>,
    mut looks: Looks<R>,
    context: &Arc<Context>,
    abandon: &CancellationToken,
) {
    // Who waits for a turn at a token has begun nothing.
    context.tokens.close_turns();
    loop {
        queue.retain(|request| is_owed(request, context));
        while let Some(due) = queue.next() {
            looks.spawn(look_at(due, Arc::clone(context)));
        }
        if looks.is_empty() && queue.next_call().is_none() {
            break;
        }
        tokio::select! {
            () = abandon.cancelled() => {
                if !looks.is_empty() {
                    warn!(kind = R::KIND.as_str(), requests = looks.len(), "abandoned requests that are being worked on");
                }
                looks.shutdown().await;
                break;
            }
            Some(Ok((object, next))) = looks.join_next() => queue.looked(&object, next),
            () = until(queue.next_call()) => queue.call_until(Instant::now()),
        }
    }
    let left = queue.kept().filter(|request| is_owed(request, context));
    join_all(left.map(|request| account_for(request, context))).await;
}

/// Whether something was signed for the request that is not published.
fn is_owed<R: Request>(request: &Tolerant<R>, context: &Context) -> bool {
    request.uid().is_some_and(|uid| context.ledger.owes(&uid))
}

async fn account_for<R: Request>(request: &Tolerant<R>, context: &Context) {
    let (kind, name) = (R::KIND.as_str(), full_name(request));
    warn!(
        kind,
        name, "the certificate that was signed is not published by this process"
    );
    if let Err(failure) = part_with(request, STOPPED, context).await {
        error!(kind, name, error = %Chain(&failure), "nobody knows whether the certificate is stored");
    }
}
