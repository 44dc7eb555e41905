//! What is kept of a request: no more than a decision needs.

use super::{kind::Request, observe::is_finished, queue::Queue};
use crate::api::tolerant::Tolerant;

/// Nothing of another issuer's requests, and of ours what is looked at.
pub(super) fn lean<R: Request>(mut object: Tolerant<R>) -> Option<Tolerant<R>> {
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

/// Whether nothing is due for a request that the watch tells of: it was finished before we started, or what is told is our
/// own write, with which it has ended here. One that is still kept is looked at once more, so that what was signed for it
/// and not published is named in the issuance record.
pub(super) fn is_over<R: Request>(object: &Tolerant<R>, queue: &Queue<Tolerant<R>>) -> bool {
    object.0.as_ref().is_ok_and(is_finished) && !queue.keeps(object)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::queue::{Next, Seat},
        *,
    };
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

    fn kept(object: Watched) -> Option<CertificateRequest> {
        lean(object)?.0.ok()
    }

    #[test]
    fn a_finished_request_stays_finished_without_its_octets() {
        let by_certificate_alone = request(json!([]), "bG9uZw==");
        for object in [issued(), by_certificate_alone] {
            let lean = kept(object).unwrap();
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
    fn a_request_to_another_issuer_is_not_kept() {
        let mut foreign = open();
        foreign.0.as_mut().unwrap().spec.issuer_ref.group = String::new();
        assert!(kept(foreign).is_none());
    }

    #[test]
    fn an_open_request_keeps_its_csr_and_loses_what_is_not_looked_at() {
        let lean = kept(open()).unwrap();
        assert_eq!(lean.spec.request.0, b"long");
        assert_eq!(lean.metadata.annotations, Some(Default::default()));
    }

    #[test]
    fn a_request_that_was_finished_before_the_start_is_not_taken_in() {
        let queue = Queue::new(1, |_| Seat::default());
        assert!(is_over(&issued(), &queue));
        assert!(!is_over(&open(), &queue));
    }

    #[test]
    fn a_denial_that_nobody_has_acknowledged_is_taken_in() {
        let denied = json!([
            {"type": "Denied", "status": "True"},
            {"type": "Ready", "status": "True", "reason": "Issued"},
        ]);
        assert!(!is_over(
            &request(denied, ""),
            &Queue::new(1, |_| Seat::default())
        ));
    }

    #[test]
    fn our_own_write_is_taken_in_only_while_the_request_is_kept() {
        let mut queue = Queue::new(1, |_| Seat::default());
        queue.put(open());
        assert!(!is_over(&issued(), &queue));
        let look = queue.next().unwrap();
        queue.looked(&look.object, Next::Ended);
        assert!(is_over(&issued(), &queue));
        assert!(!is_over(&open(), &queue), "older");
    }
}
