//! What the cache keeps of requests: those that may still change, and of each no more than a decision needs.

use std::marker::PhantomData;

use kube::{
    Resource as _,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::Event,
    },
};

use super::{kind::Request, ledger::Ledger, observe::is_finished};
use crate::api::tolerant::Tolerant;

/// Sieves the events of one watch. What the first list tells is applied one by one.
///
/// A cluster keeps finished requests for as long as their Certificates; those that were finished before we started
/// are not taken in at all. One that is finished later is, so that what was signed for it and not published is
/// named in the issuance record. Requests to other issuers are never taken in.
#[derive(Debug)]
pub(super) struct Sieve<R> {
    started: bool,
    kind: PhantomData<fn() -> R>,
}

impl<R> Default for Sieve<R> {
    fn default() -> Self {
        Self {
            started: false,
            kind: PhantomData,
        }
    }
}

impl<R: Request> Sieve<R> {
    /// Whether the first list is over.
    pub(super) const fn has_started(&self) -> bool {
        self.started
    }

    /// The event without what nobody needs; `None` where nothing is left.
    pub(super) fn keep(&mut self, event: Event<Tolerant<R>>) -> Option<Event<Tolerant<R>>> {
        match event {
            Event::InitApply(object) if !self.started => match &object.0 {
                Ok(request) if is_finished(request) => None,
                Ok(_) | Err(_) => Some(Event::Apply(lean(object)?)),
            },
            Event::Init if !self.started => None,
            Event::InitDone if !self.started => {
                self.started = true;
                None
            }
            Event::InitApply(object) => Some(Event::InitApply(lean(object)?)),
            Event::Apply(object) => Some(Event::Apply(lean(object)?)),
            Event::Init | Event::InitDone | Event::Delete(_) => Some(event),
        }
    }
}

/// Nothing of another issuer's requests, and of ours what is looked at.
fn lean<R: Request>(mut object: Tolerant<R>) -> Option<Tolerant<R>> {
    let Ok(request) = &mut object.0 else {
        return Some(object);
    };
    // What issuer a request names never changes.
    request.issuer()?;
    let metadata = request.meta_mut();
    metadata.labels = None;
    metadata.owner_references = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| R::ANNOTATIONS.contains(&name.as_str()));
    }
    if is_finished(request) {
        request.shed();
    }
    Some(object)
}

/// The UID of a request of which the event tells no more than what we have written ourselves, and which is not kept any
/// more.
pub(super) fn echo<'a, R: Request>(
    event: &'a Event<Tolerant<R>>,
    kept: &Store<Tolerant<R>>,
    ledger: &Ledger,
) -> Option<&'a str> {
    let Event::Apply(object) = event else {
        return None;
    };
    let uid = object.meta().uid.as_deref()?;
    let echo = object.0.as_ref().is_ok_and(is_finished)
        && ledger.has_published(uid)
        && kept.get(&ObjectRef::from_obj(object)).is_none();
    echo.then_some(uid)
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::certificate_request::CertificateRequest;

    type Watched = Tolerant<CertificateRequest>;

    fn request(conditions: Value, certificate: &str) -> Watched {
        let object = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "CertificateRequest",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"a": "b"}},
            "spec": {"request": "bG9uZw==", "issuerRef": {"group": "pkcs11-issuer.dev", "kind": "PKCS11ClusterIssuer", "name": "issuing"}},
            "status": {"conditions": conditions, "certificate": certificate},
        });
        serde_json::from_value(object).unwrap()
    }

    fn issued() -> Watched {
        let ready = json!([{"type": "Ready", "status": "True", "reason": "Issued"}]);
        request(ready, "bG9uZw==")
    }

    fn open() -> Watched {
        request(json!([]), "")
    }

    fn kept(
        sieve: &mut Sieve<CertificateRequest>,
        event: Event<Watched>,
    ) -> Option<CertificateRequest> {
        match sieve.keep(event)? {
            Event::Apply(object) | Event::InitApply(object) => object.0.ok(),
            Event::Init | Event::InitDone | Event::Delete(_) => None,
        }
    }

    #[test]
    fn a_request_that_was_finished_before_the_start_is_not_taken_in() {
        let mut sieve = Sieve::default();
        assert!(kept(&mut sieve, Event::InitApply(issued())).is_none());
        assert!(kept(&mut sieve, Event::InitApply(open())).is_some());
        // A watch that was interrupted lists anew.
        assert!(sieve.keep(Event::InitDone).is_none());
        assert!(sieve.keep(Event::Init).is_some());
        assert!(kept(&mut sieve, Event::InitApply(issued())).is_some());
        assert!(sieve.keep(Event::InitDone).is_some());
    }

    #[test]
    fn a_denial_that_nobody_has_acknowledged_is_taken_in() {
        let denied = json!([
            {"type": "Denied", "status": "True"},
            {"type": "Ready", "status": "True", "reason": "Issued"},
        ]);
        let event = Event::InitApply(request(denied, ""));
        assert!(kept(&mut Sieve::default(), event).is_some());
    }

    #[test]
    fn a_finished_request_stays_finished_without_its_octets() {
        let by_certificate_alone = request(json!([]), "bG9uZw==");
        for object in [issued(), by_certificate_alone] {
            let lean = kept(&mut Sieve::default(), Event::Apply(object)).unwrap();
            assert!(lean.spec.request.0.is_empty());
            assert_eq!(
                lean.status
                    .as_ref()
                    .unwrap()
                    .certificate
                    .as_ref()
                    .unwrap()
                    .0,
                b"l"
            );
            assert!(is_finished(&lean));
        }
    }

    #[test]
    fn our_own_write_is_taken_in_only_while_the_request_is_kept() {
        let (kept, mut writer) = reflector::store();
        let ledger = Ledger::default();
        let told = |mut object: Watched| {
            object.meta_mut().uid = Some("1".to_owned());
            Event::Apply(object)
        };
        let is_echo = |event: &_| echo(event, &kept, &ledger) == Some("1");
        assert!(!is_echo(&told(issued())), "of somebody else");
        ledger.published("1");
        assert!(is_echo(&told(issued())));
        assert!(!is_echo(&told(open())), "older");
        writer.apply_watcher_event(&told(open()));
        assert!(!is_echo(&told(issued())));
    }

    #[test]
    fn a_request_to_another_issuer_is_not_taken_in() {
        let mut foreign = open();
        foreign.0.as_mut().unwrap().spec.issuer_ref.group = String::new();
        let mut sieve = Sieve::default();
        assert!(kept(&mut sieve, Event::InitApply(foreign.clone())).is_none());
        assert!(kept(&mut sieve, Event::Apply(foreign)).is_none());
    }

    #[test]
    fn an_open_request_keeps_its_csr_and_loses_what_is_not_looked_at() {
        let lean = kept(&mut Sieve::default(), Event::Apply(open())).unwrap();
        assert_eq!(lean.spec.request.0, b"long");
        assert_eq!(lean.metadata.annotations, Some(Default::default()));
    }
}
