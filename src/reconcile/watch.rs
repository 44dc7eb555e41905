//! The watches: which objects are looked at, and what brings them back.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use kube::{
    Api, Client,
    runtime::{
        Controller, PredicateConfig, WatchStreamExt as _,
        controller::{self, Action},
        predicates,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Context,
    intake::{Intake, received},
    issuer::{self, IssuerStatusError},
    issuers::{Call, Waiter},
    keep::echo,
    kind::Request,
    observe::has_ended,
    request::{self, RequestError},
    retry::WatchPause,
};
use crate::{
    api::{issuer::IssuerKind, tolerant::Tolerant},
    signers::Tokens,
    telemetry::Chain,
};

/// Requests that the API server is asked for at a time: each page is held whole.
const PAGE: u32 = 50;

/// An issuer controller that is not running yet.
pub type IssuerController<K> = Controller<Tolerant<K>>;

/// The controller of one of our kinds, and its cache. Our own status writes do not bring an issuer back.
pub fn issuers<K: IssuerKind>(client: &Client) -> (IssuerController<K>, Store<Tolerant<K>>) {
    let (reader, writer) = reflector::store();
    // In one page: between two, the cache would not have yet what the first one told of. Issuers are few and small.
    let all = watcher::Config {
        page_size: None,
        ..watcher::Config::default()
    };
    let stream = watcher(Api::<Tolerant<K>>::all(client.clone()), all)
        .backoff(WatchPause::default())
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    (Controller::for_stream(stream, reader.clone()), reader)
}

/// Runs an issuer controller until `stop`, and to the end of what it has begun.
pub async fn run_issuers<K: IssuerKind>(
    controller: IssuerController<K>,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    let changes = token_changes(&context.tokens);
    let known = Arc::clone(&context);
    controller
        .reconcile_all_on(changes)
        .reconcile_all_on(context.ownership.changes())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(issuer::reconcile::<K>, issuer::retry::<K>, context)
        .for_each(|done| {
            // Every issuer is due again within a minute: one that was deleted is missed then.
            if let Err(controller::Error::ObjectNotFound(gone)) = &done {
                issuer::forget(&gone.name, gone.namespace.as_deref(), &known);
            }
            async { trace_end::<_, IssuerStatusError>(done) }
        })
        .await;
}

/// Requests whose issuer has changed or whose turn has come.
pub(super) type WokenRequests = mpsc::UnboundedReceiver<Call>;

/// A request controller that is not running yet.
pub(super) struct RequestController<R: Request> {
    controller: Controller<Tolerant<R>>,
    intake: Arc<Intake<R>>,
}

/// The controller of one kind of requests. `selected` is what the API server is asked for; `begun` is cancelled when it has
/// begun to tell.
pub(super) fn requests<R: Request>(
    context: &Arc<Context>,
    selected: watcher::Config,
    begun: CancellationToken,
) -> RequestController<R> {
    let api = Api::<Tolerant<R>>::all(context.client.clone());
    let (reader, writer) = reflector::store();
    let known = Arc::clone(context);
    let context = Arc::clone(context);
    let told = watcher(api, selected.page_size(PAGE))
        .backoff(WatchPause::default())
        .inspect_ok(move |event| {
            if !matches!(event, watcher::Event::Init) {
                begun.cancel();
            }
            leave(event, &context);
        });
    let (intake, taken) = Intake::of(told, reader.clone());
    let kept = reader.clone();
    let taken = taken.try_filter(move |event| {
        let echo = echo(event, &kept, &known.ledger);
        if let Some(uid) = echo {
            known.forget(uid);
        }
        future::ready(echo.is_none())
    });
    let (listed, lists) = mpsc::unbounded_channel();
    // A watch that begins anew tells of each object of its list before the cache has any: who is looked at between two
    // pages is not found, and would not be looked at again.
    let stream = taken.reflect(writer).inspect_ok(move |event| {
        if matches!(event, watcher::Event::InitDone) {
            // Nobody listens any more when the controller stops.
            listed.send(()).ok();
        }
    });
    RequestController {
        controller: Controller::for_stream(stream.applied_objects(), reader)
            .reconcile_all_on(received(lists)),
        intake,
    }
}

/// Who is no more does not wait.
fn leave<R: Request>(event: &watcher::Event<Tolerant<R>>, context: &Context) {
    match event {
        watcher::Event::Delete(Tolerant(Ok(request))) => {
            let request = Waiter::of(request);
            context.issuers.leave(&request);
            context.limiter.leave(&request);
        }
        watcher::Event::Init => {
            context.issuers.forget_waiting(R::KIND);
            context.limiter.leave_all(|request| request.kind == R::KIND);
        }
        watcher::Event::Delete(Tolerant(Err(_)))
        | watcher::Event::Apply(_)
        | watcher::Event::InitApply(_)
        | watcher::Event::InitDone => {}
    }
}

/// Runs the controller of one kind of requests until `stop`, and to the end of what it has begun. `woken` are requests
/// whose issuer has changed.
pub(super) async fn run_requests<R: Request>(
    requests: RequestController<R>,
    woken: WokenRequests,
    concurrency: u16,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    let RequestController { controller, intake } = requests;
    let waker = Arc::clone(&context);
    let woken = received(woken).map(move |woken| {
        let Call {
            request,
            issuer_changed,
        } = woken;
        if issuer_changed {
            waker.retries.forget(&request.uid);
        }
        let reference = ObjectRef::<Tolerant<R>>::new(&request.name);
        match &request.namespace {
            Some(namespace) => reference.within(namespace),
            None => reference,
        }
    });
    controller
        .with_config(controller::Config::default().concurrency(concurrency))
        .reconcile_on(woken)
        .reconcile_all_on(context.ownership.changes())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(
            move |request, context| look_at(request, Arc::clone(&intake), context),
            request::retry::<R>,
            context,
        )
        .for_each(|done| async { trace_end::<_, RequestError>(done) })
        .await;
}

/// Looks at a request, and keeps it no longer once nothing is due for it.
async fn look_at<R: Request>(
    request: Arc<Tolerant<R>>,
    intake: Arc<Intake<R>>,
    context: Arc<Context>,
) -> Result<Action, RequestError> {
    let looked = request::reconcile(Arc::clone(&request), Arc::clone(&context)).await;
    intake.seen(&*request);
    if looked.is_ok()
        && request
            .0
            .as_ref()
            .is_ok_and(|request| has_ended(request, &context))
    {
        intake.ended(Arc::unwrap_or_clone(request));
    }
    looked
}

/// Tells which tokens can be signed with, whenever that changes, until `stop`.
pub async fn tell_usable(
    tokens: &Tokens,
    usable: &watch::Sender<BTreeSet<String>>,
    stop: &CancellationToken,
) {
    let changes = token_changes(tokens).take_until(stop.clone().cancelled_owned());
    let mut changes = std::pin::pin!(changes);
    loop {
        let now = tokens.usable();
        usable.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
        if changes.next().await.is_none() {
            return;
        }
    }
}

/// An item for every change of any token.
fn token_changes(tokens: &Tokens) -> impl Stream<Item = ()> + Send + 'static {
    stream::unfold(tokens.changes(), |mut changes| async {
        changes.changed().await.ok().map(|()| ((), changes))
    })
}

fn trace_end<K, E>(done: Result<(ObjectRef<K>, Action), controller::Error<E, watcher::Error>>)
where
    K: reflector::Lookup,
    K::DynamicType: Debug,
    E: std::error::Error + 'static,
{
    match done {
        Ok((object, action)) => debug!(
            name = object.name,
            namespace = object.namespace,
            ?action,
            "looked at"
        ),
        // Told by the retry policy already.
        Err(controller::Error::ReconcilerFailed(..)) => {}
        // Deleted meanwhile.
        Err(controller::Error::ObjectNotFound(_)) => {}
        Err(error) => warn!(error = %Chain(&error), "a watch was interrupted"),
    }
}
