//! Reduces a request to the fields that a decision reads, to save memory.

use crate::{
    api::tolerant::Tolerant,
    reconcile::request::{CERTIFICATE, Request, is_finished},
};

/// Removes every field that no decision reads. Returns `None` for a request to an issuer that is not ours.
pub(super) fn slimmed<R: Request>(mut object: Tolerant<R>) -> Option<Tolerant<R>> {
    let Ok(request) = &mut object.0 else {
        return Some(object);
    };
    // The issuer that a request names never changes.
    request.issuer()?;
    let metadata = request.meta_mut();
    metadata.labels = None;
    if let Some(owners) = &mut metadata.owner_references {
        owners.retain(|owner| owner.kind == CERTIFICATE);
    }
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| R::ANNOTATIONS.contains(&name.as_str()));
    }
    if is_finished(request) {
        request.meta_mut().owner_references = None;
        request.drop_bulk();
    }
    Some(object)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::certificate_request::CertificateRequest;

    type Watched = Tolerant<CertificateRequest>;

    fn request(conditions: Value, certificate: &str) -> Watched {
        let object = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "CertificateRequest",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"a": "b"}, "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "1"},
                {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "name": "web", "uid": "2"},
            ]},
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
        slimmed(object)?.0.ok()
    }

    #[test]
    fn a_finished_request_stays_finished_without_its_csr_and_certificate() {
        let by_certificate_alone = request(json!([]), "bG9uZw==");
        for object in [issued(), by_certificate_alone] {
            let slimmed = kept(object).unwrap();
            assert!(slimmed.spec.request.0.is_empty());
            assert_eq!(slimmed.metadata.owner_references, None);
            assert_eq!(
                slimmed
                    .status
                    .as_ref()
                    .unwrap()
                    .certificate
                    .as_ref()
                    .unwrap()
                    .0,
                b"l"
            );
            assert!(is_finished(&slimmed));
        }
    }

    #[test]
    fn a_request_to_another_issuer_is_not_kept() {
        let mut foreign = open();
        foreign.0.as_mut().unwrap().spec.issuer_ref.group = String::new();
        assert!(kept(foreign).is_none());
    }

    #[test]
    fn an_open_request_keeps_its_csr_and_its_certificates_name_and_loses_unread_annotations() {
        let slimmed = kept(open()).unwrap();
        assert_eq!(slimmed.spec.request.0, b"long");
        assert_eq!(slimmed.metadata.annotations, Some(Default::default()));
        let owners = slimmed.metadata.owner_references.unwrap_or_default();
        let owners: Vec<_> = owners.iter().map(|owner| &owner.kind).collect();
        assert_eq!(owners, [CERTIFICATE]);
    }
}
