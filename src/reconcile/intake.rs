//! The intake of one kind of requests: how many are taken in at a time, and until when each is kept.
//!
//! A backlog is read page by page as it is worked off, and a request that has ended is not kept: ten thousand of them
//! need no more memory than a few hundred.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt as _, future, stream};
use kube::{
    Resource,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::{self, Event},
    },
};
use tokio::sync::{Notify, mpsc};

use super::{apply::full_name, keep::Sieve, kind::Request};
use crate::api::tolerant::Tolerant;

/// Requests of the first list that are taken in and not looked at yet, at most.
const MOST: usize = 128;

/// What one watch tells, or why it was interrupted.
type Told<R> = Result<Event<Tolerant<R>>, watcher::Error>;

/// Requests on their way in and out of the cache of their kind.
#[derive(Debug)]
pub(super) struct Intake<R> {
    /// By name and namespace.
    unseen: Mutex<HashSet<String>>,
    room: Notify,
    ended: mpsc::UnboundedSender<Tolerant<R>>,
}

impl<R: Request> Intake<R> {
    /// The intake for `cache`, and what is to be written to it of what a watch tells.
    ///
    /// The cache counts as filled from the start on, so that the first page is worked off before the second is read.
    pub(super) fn of(
        told: impl Stream<Item = Told<R>> + Send + 'static,
        cache: Store<Tolerant<R>>,
    ) -> (Arc<Self>, impl Stream<Item = Told<R>> + Send + 'static) {
        let (ended, over) = mpsc::unbounded_channel();
        let intake = Arc::new(Self {
            unseen: Mutex::default(),
            room: Notify::new(),
            ended,
        });
        // Something may be due for a version that has come in between.
        let over = received(over).filter_map(move |object: Tolerant<R>| {
            let same = cache
                .get(&ObjectRef::from_obj(&object))
                .is_some_and(|kept| kept.meta().resource_version == object.meta().resource_version);
            future::ready(same.then_some(Ok(Event::Delete(object))))
        });
        let filled = stream::iter([Ok(Event::Init), Ok(Event::InitDone)]);
        let taken = stream::select(Arc::clone(&intake).taken(told), over);
        (intake, filled.chain(taken))
    }

    /// It has been looked at.
    pub(super) fn seen(&self, request: &impl Resource) {
        if self.unseen().remove(&full_name(request)) {
            self.room.notify_one();
        }
    }

    /// Nothing is due for this version any more.
    pub(super) fn ended(&self, request: Tolerant<R>) {
        // Nobody listens any more when the controller stops.
        self.ended.send(request).ok();
    }

    fn taken(
        self: Arc<Self>,
        told: impl Stream<Item = Told<R>> + Send + 'static,
    ) -> impl Stream<Item = Told<R>> + Send + 'static {
        let start = (self, Box::pin(told), Sieve::default());
        stream::unfold(start, |(intake, mut told, mut sieve)| async move {
            loop {
                let first = !sieve.has_started();
                if first {
                    intake.has_room().await;
                }
                let taken = match told.next().await? {
                    Ok(event) => match sieve.keep(event) {
                        Some(kept) => Ok(kept),
                        None => continue,
                    },
                    Err(error) => Err(error),
                };
                if let (true, Ok(Event::Apply(request))) = (first, &taken) {
                    intake.unseen().insert(full_name(request));
                }
                return Some((taken, (intake, told, sieve)));
            }
        })
    }

    async fn has_room(&self) {
        while self.unseen().len() >= MOST {
            self.room.notified().await;
        }
    }

    fn unseen(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is received.
pub(super) fn received<T: Send + 'static>(
    receiver: mpsc::UnboundedReceiver<T>,
) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async {
        let item = receiver.recv().await?;
        Some((item, receiver))
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt as _;
    use kube::runtime::{WatchStreamExt as _, reflector};
    use serde_json::json;

    use super::*;
    use crate::api::certificate_request::CertificateRequest;

    type Watched = Tolerant<CertificateRequest>;

    fn request(name: &str, version: &str) -> Watched {
        serde_json::from_value(json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "CertificateRequest",
            "metadata": {"name": name, "namespace": "shop", "resourceVersion": version},
            "spec": {"issuerRef": {"group": "pkcs11-issuer.dev", "kind": "PKCS11Issuer", "name": "issuing"}},
        }))
        .unwrap()
    }

    fn listed(count: usize) -> Vec<Told<CertificateRequest>> {
        let one = |number: usize| Ok(Event::InitApply(request(&number.to_string(), "1")));
        (0..count).map(one).collect()
    }

    #[test]
    fn a_backlog_is_taken_in_as_it_is_looked_at() {
        let (cache, writer) = reflector::store();
        let told = stream::iter(listed(MOST + 2)).chain(stream::pending());
        let (intake, taken) = Intake::of(told, cache.clone());
        let mut taken = pin!(taken.reflect(writer).applied_objects());
        let mut next = || taken.next().now_or_never();
        for _ in 0..MOST {
            assert!(next().is_some());
        }
        assert_eq!(cache.len(), MOST, "what is taken in can be looked at");
        assert!(next().is_none());
        intake.seen(&request("0", "1"));
        assert!(next().is_some());
        assert!(next().is_none());
    }

    #[test]
    fn what_changes_after_the_first_list_is_taken_in_at_once() {
        let (cache, writer) = reflector::store();
        let mut told = listed(1);
        told.push(Ok(Event::InitDone));
        told.extend(
            (0..2 * MOST).map(|number| Ok(Event::Apply(request(&number.to_string(), "2")))),
        );
        let (_intake, taken) = Intake::of(stream::iter(told).chain(stream::pending()), cache);
        let mut taken = pin!(taken.reflect(writer).applied_objects());
        for _ in 0..=2 * MOST {
            assert!(taken.next().now_or_never().is_some());
        }
    }

    #[test]
    fn a_request_that_has_ended_is_kept_no_longer_unless_it_has_changed() {
        let (cache, writer) = reflector::store();
        let (intake, taken) = Intake::of(
            stream::iter(listed(2)).chain(stream::pending()),
            cache.clone(),
        );
        let mut taken = pin!(taken.reflect(writer));
        while taken.next().now_or_never().is_some() {}
        intake.ended(request("0", "1"));
        intake.ended(request("1", "0"));
        while taken.next().now_or_never().is_some() {}
        let names: Vec<_> = cache
            .state()
            .iter()
            .map(|kept| full_name(&**kept))
            .collect();
        assert_eq!(names, ["shop/1"]);
    }
}
