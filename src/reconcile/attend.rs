//! Attends to the requests of one kind: takes in what the watch tells, and looks at each when it is due.

mod interrupted;
mod list;
mod newer;
mod told;
mod watch;

use std::{
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Api, ResourceExt as _, runtime::watcher::Event};
use tokio::{sync::mpsc, task::JoinSet, time::sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::told::Told;
use super::{
    Context,
    apply::full_name,
    drain::{Ending, drain},
    finish::{SUPERSEDED, finish},
    issuers::{Call, Waiter},
    keep::{is_over, lean},
    kind::Request,
    observe::{has_ended, seat},
    queue::{Due, Next, Queue},
    request::{self, RequestError},
    uid::Uid,
};
use crate::{api::tolerant::Tolerant, telemetry::Chain};

/// Requests whose issuer has changed or whose turn has come.
pub(super) type WokenRequests = mpsc::UnboundedReceiver<Call>;

/// The requests that are being looked at.
pub(super) type Looks<R> = JoinSet<(Arc<Tolerant<R>>, Next)>;

/// Attends until it is told to end, and then [drains](drain()). `fields` selects the requests that the API server tells of;
/// `known` is cancelled when it has told of each that there is; `woken` are requests to look at again; `most` may be looked
/// at at once.
pub(super) async fn attend<R: Request>(
    fields: Option<String>,
    mut woken: WokenRequests,
    most: u16,
    context: Arc<Context>,
    known: CancellationToken,
    ending: Ending,
) {
    let api = Api::<Tolerant<R>>::all(context.client.clone());
    let mut told = Told::new(&api, fields.as_deref());
    let mut shares = context.ownership.changes();
    let mut queue = Queue::new(most, {
        let context = Arc::clone(&context);
        move |request| seat(request, &context)
    });
    let mut looks = Looks::new();
    loop {
        while let Some(due) = queue.next() {
            looks.spawn(look_at(due, Arc::clone(&context)));
        }
        tokio::select! {
            () = ending.stop.cancelled() => break,
            // A look that panics has ended the process.
            Some(Ok((object, next))) = looks.join_next() => queue.looked(&object, next),
            Some(call) = woken.recv() => wake(&call, &mut queue, &context),
            Ok(()) = shares.changed() => queue.call_all(),
            () = until(queue.next_call()) => queue.call_until(Instant::now()),
            event = told.next() => match event {
                Ok(event) => {
                    if matches!(event, Event::InitDone) {
                        known.cancel();
                    }
                    take(event, &mut queue, &context);
                }
                Err(error) => warn!(kind = R::KIND.as_str(), error = %Chain(&error), "a watch was interrupted"),
            },
        }
    }
    drain(queue, looks, &context, &ending.abandon).await;
}

pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => future::pending().await,
    }
}

fn take<R: Request>(event: Event<Tolerant<R>>, queue: &mut Queue<Tolerant<R>>, context: &Context) {
    match event {
        Event::Init => {
            // Whoever still waits is told of.
            context.issuers.forget_waiting(R::KIND);
            context.limiter.leave_all(|request| request.kind == R::KIND);
            queue.begin_list();
        }
        Event::InitApply(object) | Event::Apply(object) => {
            let Some(object) = lean(object) else { return };
            if is_over(&object, queue) {
                context.forget(&object.uid().unwrap_or_default());
            } else {
                queue.put(object);
            }
        }
        Event::InitDone => {
            for gone in queue.end_list() {
                leave(&gone, context);
            }
        }
        Event::Delete(object) => {
            leave(&object, context);
            queue.delete(&object);
        }
    }
}

/// Who is no more does not wait.
fn leave<R: Request>(object: &Tolerant<R>, context: &Context) {
    if let Ok(request) = &object.0 {
        let request = Waiter::of(request);
        context.issuers.leave(&request);
        context.limiter.leave(&request);
    }
}

fn wake<R: Request>(call: &Call, queue: &mut Queue<Tolerant<R>>, context: &Context) {
    let Call {
        request,
        issuer_changed,
    } = call;
    if *issuer_changed {
        context.retries.forget(&request.uid);
    }
    queue.call(&Uid::from(request.uid.as_str()));
}

/// One look, and what comes after it.
pub(super) async fn look_at<R: Request>(
    due: Due<Tolerant<R>>,
    context: Arc<Context>,
) -> (Arc<Tolerant<R>>, Next) {
    let Due { object, deleted } = due;
    let looked = if deleted {
        part_with(&object, SUPERSEDED, &context)
            .await
            .map(|()| Next::Ended)
    } else {
        let again = request::reconcile(&object, &context).await;
        again.map(|again| match (&object.0, again) {
            (Ok(request), _) if has_ended(request, &context) => Next::Ended,
            (_, Some(wait)) => after(wait),
            (_, None) => Next::OnChange,
        })
    };
    let next = looked.unwrap_or_else(|error| after(request::retry(&object, &error, &context)));
    debug!(kind = R::KIND.as_str(), name = %full_name(&*object), ?next, "looked at");
    (object, next)
}

/// Names what was signed for a request and not published, as discarded for the reason `why` unless it is stored after
/// all.
pub(super) async fn part_with<R: Request>(
    object: &Tolerant<R>,
    why: &'static str,
    context: &Context,
) -> Result<(), RequestError> {
    let Ok(request) = &object.0 else {
        return Ok(());
    };
    let (Some(issuer), Some(uid)) = (request.issuer(), &request.meta().uid) else {
        return Ok(());
    };
    finish(request, &issuer, uid, why, context).await
}

fn after(wait: Duration) -> Next {
    Next::At(Instant::now() + wait)
}
