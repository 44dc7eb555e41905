//! What is known of every issuer right now, and which requests wait for it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::ResourceExt as _;
use tokio::sync::mpsc;

use super::kind::Request;
use crate::{
    audit::RequestKind,
    pipeline::{IssuerName, ReadyIssuer},
};

/// What the last look at an issuer gave.
#[derive(Clone, Debug)]
pub enum Health {
    /// It can sign.
    Ready(Arc<ReadyIssuer>),
    /// It cannot; the reason of its `Ready` condition.
    NotReady(&'static str),
}

/// The health of one version of an issuer.
#[derive(Clone, Debug)]
pub struct Known {
    /// UID of the object that was looked at.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// The finding.
    pub health: Health,
}

/// A request that waits for an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waiter {
    /// Its kind.
    pub kind: RequestKind,
    /// Its namespace, where the kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Waiter {
    /// This request.
    #[must_use]
    pub fn of<R: Request>(request: &R) -> Self {
        Self {
            kind: R::KIND,
            namespace: request.namespace(),
            name: request.name_any(),
            uid: request.uid().unwrap_or_default(),
        }
    }
}

/// All issuers, and the requests that wait for one.
#[derive(Debug, Default)]
pub struct Issuers {
    /// Held for look-ups only, never across an await.
    inner: Mutex<Inner>,
    wake: HashMap<RequestKind, mpsc::UnboundedSender<Waiter>>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<IssuerName, Known>,
    waiting: HashMap<IssuerName, HashSet<Waiter>>,
}

/// The requests whose issuer has changed, by their kind.
#[derive(Debug, Default)]
pub struct Woken(HashMap<RequestKind, mpsc::UnboundedReceiver<Waiter>>);

impl Woken {
    /// Those of one kind. Of one that never waits, or is taken already, none ever comes.
    #[must_use]
    pub fn take(&mut self, kind: RequestKind) -> mpsc::UnboundedReceiver<Waiter> {
        self.0
            .remove(&kind)
            .unwrap_or_else(|| mpsc::unbounded_channel().1)
    }
}

impl Known {
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
    /// Nothing known yet, and the requests that are to be looked at again.
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

    /// What is known of this issuer.
    #[must_use]
    pub fn get(&self, name: &IssuerName) -> Option<Known> {
        self.lock().known.get(name).cloned()
    }

    /// Notes that a request waits; it is looked at again when the issuer's health changes.
    pub fn wait(&self, name: &IssuerName, request: Waiter) {
        self.lock()
            .waiting
            .entry(name.clone())
            .or_default()
            .insert(request);
    }

    /// Takes a finding, and wakes the waiting requests if it is another than before.
    pub fn set(&self, name: &IssuerName, known: Known) {
        let mut inner = self.lock();
        let same = inner
            .known
            .get(name)
            .is_some_and(|before| before.says_the_same_as(&known));
        inner.known.insert(name.clone(), known);
        if !same {
            for request in inner.waiting.remove(name).into_iter().flatten() {
                if let Some(wake) = self.wake.get(&request.kind) {
                    // The receiver lives as long as the controller; after that nobody waits.
                    wake.send(request).ok();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
            uid: "w".to_owned(),
        }
    }

    fn not_ready(reason: &'static str, generation: i64) -> Known {
        Known {
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
        assert_eq!(woken.try_recv().unwrap().name, "web");
        issuers.set(&name(), not_ready("TokenUnavailable", 1));
        assert!(woken.try_recv().is_err());
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
