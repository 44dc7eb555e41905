//! What is known of every issuer right now, and which requests wait for it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

use crate::{
    api::certificate_request::CertificateRequest,
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

/// All issuers, and the requests that wait for one.
#[derive(Debug)]
pub struct Issuers {
    /// Held for look-ups only, never across an await.
    inner: Mutex<Inner>,
    wake: mpsc::UnboundedSender<ObjectRef<CertificateRequest>>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<IssuerName, Known>,
    waiting: HashMap<IssuerName, HashSet<ObjectRef<CertificateRequest>>>,
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
    /// Nothing known yet, and the stream of requests to look at again.
    #[must_use]
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ObjectRef<CertificateRequest>>) {
        let (wake, woken) = mpsc::unbounded_channel();
        (
            Self {
                inner: Mutex::default(),
                wake,
            },
            woken,
        )
    }

    /// What is known of this issuer.
    #[must_use]
    pub fn get(&self, name: &IssuerName) -> Option<Known> {
        self.lock().known.get(name).cloned()
    }

    /// Notes that a request waits; it is looked at again when the issuer's health changes.
    pub fn wait(&self, name: &IssuerName, request: ObjectRef<CertificateRequest>) {
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
                // The receiver lives as long as the controller; after that nobody waits.
                self.wake.send(request).ok();
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
        issuers.set(&name(), not_ready("TokenUnavailable", 1));
        issuers.wait(&name(), ObjectRef::new("web").within("shop"));
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
        issuers.set(&name(), not_ready("KeyNotFound", 1));
        issuers.wait(&name(), ObjectRef::new("web").within("shop"));
        issuers.set(&name(), not_ready("KeyNotFound", 2));
        assert!(woken.try_recv().is_ok());
    }
}
