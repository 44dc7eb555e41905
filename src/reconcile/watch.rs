//! The watches of issuers and tokens, and what brings issuers back.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt as _, stream};
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
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Context,
    issuer::{self, IssuerStatusError},
    retry::WatchPause,
};
use crate::{
    api::{issuer::IssuerKind, tolerant::Tolerant},
    signers::Tokens,
    telemetry::Chain,
};

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

/// Runs an issuer controller until `stop`. What it has begun then is dropped: the next look, of whatever replica, does
/// the same again. (Its own graceful shutdown waits for the first list, which may never come.)
pub async fn run_issuers<K: IssuerKind>(
    controller: IssuerController<K>,
    context: Arc<Context>,
    stop: &CancellationToken,
) {
    let known = Arc::clone(&context);
    let running = controller
        .reconcile_all_on(items(context.tokens.changes()))
        .reconcile_all_on(items(context.ownership.changes()))
        .run(issuer::reconcile::<K>, issuer::retry::<K>, context)
        .for_each(|done| {
            // Every issuer is due again within a minute: one that was deleted is missed then.
            if let Err(controller::Error::ObjectNotFound(gone)) = &done {
                issuer::forget(&gone.name, gone.namespace.as_deref(), &known);
            }
            async { trace_end(done) }
        });
    tokio::select! {
        () = running => {}
        () = stop.cancelled() => {}
    }
}

/// Tells which tokens can be signed with, whenever that changes, until `stop`.
pub async fn tell_usable(
    tokens: &Tokens,
    usable: &watch::Sender<BTreeSet<String>>,
    stop: &CancellationToken,
) {
    let mut changes = tokens.changes();
    loop {
        let now = tokens.usable();
        usable.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
        tokio::select! {
            Ok(()) = changes.changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// An item for every change.
fn items(changes: watch::Receiver<()>) -> impl Stream<Item = ()> + Send + 'static {
    stream::unfold(changes, |mut changes| async {
        changes.changed().await.ok().map(|()| ((), changes))
    })
}

fn trace_end<K>(
    done: Result<(ObjectRef<K>, Action), controller::Error<IssuerStatusError, watcher::Error>>,
) where
    K: reflector::Lookup,
    K::DynamicType: Debug,
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
