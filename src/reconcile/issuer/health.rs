//! What is known of every issuer, and which requests wait for it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

use tokio::sync::mpsc;

use crate::{api::IssuerName, audit::RequestKind, pipeline::ReadyIssuer};

/// Result of the last look at an issuer.
#[derive(Clone, Debug)]
pub(in crate::reconcile) enum Health {
    /// It can sign.
    Ready(Arc<ReadyIssuer>),
    /// It cannot sign; the reason of its `Ready` condition.
    NotReady(&'static str),
}

/// The health of one version of an issuer.
#[derive(Clone, Debug)]
pub(in crate::reconcile) struct KnownHealth {
    /// UID of the object that was looked at.
    pub(in crate::reconcile) uid: String,
    /// Its generation.
    pub(in crate::reconcile) generation: i64,
    /// What the look found.
    pub(in crate::reconcile) health: Health,
}

/// A request that waits for an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waiter {
    /// Its kind.
    pub kind: RequestKind,
    /// Its UID.
    pub uid: String,
}

/// A request to look at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::reconcile) struct Wake {
    /// The request.
    pub(in crate::reconcile) request: Waiter,
    /// Whether its issuer has changed since its tries failed. If not, its turn has come.
    pub(in crate::reconcile) issuer_changed: bool,
}

/// All issuers, and the requests that wait for one.
#[derive(Debug, Default)]
pub struct Issuers {
    /// The lock is never held across an await.
    inner: Mutex<Inner>,
    wake: HashMap<RequestKind, mpsc::UnboundedSender<Wake>>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<IssuerName, KnownHealth>,
    waiting: HashMap<IssuerName, HashSet<Waiter>>,
    /// The issuers of `waiting` that [`Issuers::newly_awaited`] has not returned since a request began to wait for
    /// them.
    newly_awaited: HashSet<IssuerName>,
}

/// The requests that are to be looked at again, by their kind.
#[derive(Debug, Default)]
pub struct Woken(HashMap<RequestKind, mpsc::UnboundedReceiver<Wake>>);

impl Woken {
    /// Takes the receiver of the requests of one kind. If it was taken already, returns a receiver that gets no request.
    #[must_use]
    pub(in crate::reconcile) fn take(
        &mut self,
        kind: RequestKind,
    ) -> mpsc::UnboundedReceiver<Wake> {
        self.0
            .remove(&kind)
            .unwrap_or_else(|| mpsc::unbounded_channel().1)
    }
}

impl KnownHealth {
    fn says_the_same_as(&self, other: &Self) -> bool {
        let same_health = match (&self.health, &other.health) {
            (Health::NotReady(before), Health::NotReady(now)) => before == now,
            (Health::Ready(_), Health::Ready(_)) => true,
            (Health::Ready(_), Health::NotReady(_)) | (Health::NotReady(_), Health::Ready(_)) => {
                false
            }
        };
        same_health && self.uid == other.uid && self.generation == other.generation
    }
}

impl Issuers {
    /// Creates an empty collection, and the channels of the requests that are to be looked at again.
    #[must_use]
    pub fn new() -> (Self, Woken) {
        let (mut issuers, mut woken) = (Self::default(), Woken::default());
        for kind in [
            RequestKind::CertificateRequest,
            RequestKind::CertificateSigningRequest,
            RequestKind::PodCertificateRequest,
        ] {
            let (wake, receiver) = mpsc::unbounded_channel();
            issuers.wake.insert(kind, wake);
            woken.0.insert(kind, receiver);
        }
        (issuers, woken)
    }

    /// Returns a function that wakes a request whose turn has come.
    pub fn waker(&self) -> impl Fn(Waiter) + Send + Sync + 'static {
        let wake = self.wake.clone();
        move |request| send(&wake, request, false)
    }

    /// Returns what is known of this issuer.
    #[must_use]
    pub(in crate::reconcile) fn get(&self, name: &IssuerName) -> Option<KnownHealth> {
        self.inner.lock().known.get(name).cloned()
    }

    /// Returns the health of exactly this version of an issuer. Nothing may be judged by a snapshot of another generation, or of
    /// another object of the same name.
    #[must_use]
    pub(in crate::reconcile) fn health(
        &self,
        name: &IssuerName,
        uid: &str,
        generation: i64,
    ) -> Option<Health> {
        let known = self.get(name)?;
        (known.uid == uid && known.generation == generation).then_some(known.health)
    }

    /// Notes that a request waits; it is looked at again when the issuer's health changes.
    pub(in crate::reconcile) fn wait(&self, name: &IssuerName, request: Waiter) {
        let mut inner = self.inner.lock();
        let waiting = inner.waiting.entry(name.clone()).or_default();
        waiting.insert(request);
        if waiting.len() == 1 {
            inner.newly_awaited.insert(name.clone());
        }
    }

    /// Returns whether a request waits for this issuer.
    #[must_use]
    pub(in crate::reconcile) fn is_awaited(&self, name: &IssuerName) -> bool {
        self.inner.lock().waiting.contains_key(name)
    }

    /// Returns how many requests wait for this issuer.
    #[must_use]
    pub(in crate::reconcile) fn waiting(&self, name: &IssuerName) -> usize {
        let inner = self.inner.lock();
        inner.waiting.get(name).map_or(0, HashSet::len)
    }

    /// Returns the issuers that requests wait for.
    #[must_use]
    pub(in crate::reconcile) fn awaited(&self) -> HashSet<IssuerName> {
        self.inner.lock().waiting.keys().cloned().collect()
    }

    /// Returns the issuers of a kind that requests have begun to wait for since the last call.
    #[must_use]
    pub(in crate::reconcile) fn newly_awaited(&self, kind: &str) -> Vec<IssuerName> {
        let mut inner = self.inner.lock();
        let mine = |name: &IssuerName| name.kind() == kind;
        inner.newly_awaited.extract_if(mine).collect()
    }

    /// Stores the result of a look, and wakes the waiting requests if it differs from the one before.
    ///
    /// Returns whether it differs.
    pub(in crate::reconcile) fn set(&self, name: &IssuerName, known: KnownHealth) -> bool {
        let mut inner = self.inner.lock();
        let same = inner
            .known
            .get(name)
            .is_some_and(|before| before.says_the_same_as(&known));
        inner.known.insert(name.clone(), known);
        if !same {
            self.wake_all(&mut inner, name);
        }
        !same
    }

    /// Forgets a deleted issuer, and wakes its requests, so that their status says that the issuer does not exist.
    pub(in crate::reconcile) fn forget(&self, name: &IssuerName) {
        let mut inner = self.inner.lock();
        inner.known.remove(name);
        self.wake_all(&mut inner, name);
    }

    /// Wakes the requests that wait for an issuer.
    pub(in crate::reconcile) fn wake(&self, name: &IssuerName) {
        self.wake_all(&mut self.inner.lock(), name);
    }

    /// Removes a deleted request from every waiting list.
    pub(in crate::reconcile) fn leave(&self, request: &Waiter) {
        self.inner.lock().waiting.retain(|_, waiting| {
            waiting.remove(request);
            !waiting.is_empty()
        });
    }

    /// Removes all requests of a kind from every waiting list. To be called when every existing request of the kind is
    /// about to be looked at again: a request that does not come back was deleted, even if no watch has reported it.
    pub(in crate::reconcile) fn forget_waiting(&self, kind: RequestKind) {
        self.inner.lock().waiting.retain(|_, waiting| {
            waiting.retain(|request| request.kind != kind);
            !waiting.is_empty()
        });
    }

    fn wake_all(&self, inner: &mut Inner, name: &IssuerName) {
        for request in inner.waiting.remove(name).into_iter().flatten() {
            send(&self.wake, request, true);
        }
    }
}

fn send(
    wake: &HashMap<RequestKind, mpsc::UnboundedSender<Wake>>,
    request: Waiter,
    issuer_changed: bool,
) {
    if let Some(wake) = wake.get(&request.kind) {
        // The receiver lives as long as the controller; after that no request waits.
        wake.send(Wake {
            request,
            issuer_changed,
        })
        .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> IssuerName {
        IssuerName {
            namespace: None,
            name: "issuing".to_owned(),
        }
    }

    fn waiter() -> Waiter {
        Waiter {
            kind: RequestKind::CertificateRequest,
            uid: "w".to_owned(),
        }
    }

    fn not_ready(reason: &'static str, generation: i64) -> KnownHealth {
        KnownHealth {
            uid: "u".to_owned(),
            generation,
            health: Health::NotReady(reason),
        }
    }

    #[test]
    fn a_waiting_request_is_woken_once_when_the_health_changes_and_not_before() {
        let (issuers, mut woken) = Issuers::new();
        let mut woken = woken.take(RequestKind::CertificateRequest);
        issuers.set(&name(), not_ready("TokenUnavailable", 1));
        issuers.wait(&name(), waiter());
        issuers.set(&name(), not_ready("TokenUnavailable", 1));
        assert!(woken.try_recv().is_err());
        issuers.set(&name(), not_ready("KeyNotFound", 1));
        assert_eq!(woken.try_recv().unwrap().request, waiter());
        issuers.set(&name(), not_ready("TokenUnavailable", 1));
        assert!(woken.try_recv().is_err());
    }

    #[test]
    fn an_issuer_is_newly_awaited_once_by_the_first_request_that_waits() {
        let (issuers, _woken) = Issuers::new();
        let second = Waiter {
            uid: "v".to_owned(),
            ..waiter()
        };
        issuers.wait(&name(), waiter());
        assert_eq!(issuers.newly_awaited("PKCS11Issuer"), []);
        assert_eq!(issuers.newly_awaited("PKCS11ClusterIssuer"), [name()]);
        issuers.wait(&name(), second);
        assert_eq!(issuers.newly_awaited("PKCS11ClusterIssuer"), []);
        assert!(issuers.is_awaited(&name()));
        assert_eq!(issuers.awaited(), HashSet::from([name()]));
        issuers.set(&name(), not_ready("KeyNotFound", 1));
        assert!(!issuers.is_awaited(&name()));
    }

    #[test]
    fn a_deleted_request_leaves_every_waiting_list() {
        let (issuers, mut woken) = Issuers::new();
        let mut woken = woken.take(RequestKind::CertificateRequest);
        for number in 0..10_000 {
            let waiter = Waiter {
                uid: number.to_string(),
                ..waiter()
            };
            issuers.wait(&name(), waiter.clone());
            issuers.leave(&waiter);
        }
        assert!(issuers.inner.lock().waiting.is_empty());
        issuers.wait(&name(), waiter());
        issuers.forget_waiting(RequestKind::CertificateSigningRequest);
        issuers.set(&name(), not_ready("KeyNotFound", 1));
        assert_eq!(woken.try_recv().unwrap().request, waiter());
        issuers.wait(&name(), waiter());
        issuers.forget_waiting(RequestKind::CertificateRequest);
        assert!(issuers.inner.lock().waiting.is_empty());
    }

    #[test]
    fn requests_of_a_deleted_issuer_are_looked_at_again() {
        let (issuers, mut woken) = Issuers::new();
        let mut woken = woken.take(RequestKind::CertificateRequest);
        issuers.set(&name(), not_ready("KeyNotFound", 1));
        issuers.wait(&name(), waiter());
        issuers.forget(&name());
        assert_eq!(woken.try_recv().unwrap().request, waiter());
        assert!(issuers.get(&name()).is_none());
    }

    #[test]
    fn an_edited_issuer_wakes_its_requests() {
        let (issuers, mut woken) = Issuers::new();
        let mut woken = woken.take(RequestKind::CertificateRequest);
        issuers.set(&name(), not_ready("KeyNotFound", 1));
        issuers.wait(&name(), waiter());
        issuers.set(&name(), not_ready("KeyNotFound", 2));
        assert!(woken.try_recv().is_ok());
    }
}
