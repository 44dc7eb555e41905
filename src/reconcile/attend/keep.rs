//! Reduces a request to the fields that a decision reads, to save memory.

use std::io;

use serde::Serialize;

use crate::{
    api::tolerant::Tolerant,
    reconcile::request::{CERTIFICATE, Request, is_finished},
};

/// A request whose JSON is longer is kept without its CSR, which is read when the request is signed or refused. Requests with
/// the keys and names in common use are shorter, so they need no further call of the API server.
const LONG: usize = 8 << 10;

/// Removes every field that no decision reads, and the CSR of a [long](LONG) request. Returns `None` for a request to an issuer
/// that is not ours.
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
    // An empty map has its first node, of half a kilobyte.
    metadata
        .annotations
        .take_if(|annotations| annotations.is_empty());
    let ended = is_finished(request);
    if ended {
        request.shorten_certificate();
    }
    if ended || octets_of_json(request) > LONG {
        let metadata = request.meta_mut();
        metadata.owner_references = None;
        metadata.annotations = None;
        request.lighten();
    }
    Some(object)
}

/// Counts the octets of the JSON of an object.
fn octets_of_json(object: &impl Serialize) -> usize {
    struct Counted(usize);

    impl io::Write for Counted {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(octets.len());
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counted = Counted(0);
    match serde_json::to_writer(&mut counted, object) {
        Ok(()) => counted.0,
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use k8s_openapi::api::certificates::v1;
    use serde_json::{Value, json};

    use super::*;
    use crate::{api::certificate_request::CertificateRequest, reconcile::request::Approval};

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
        assert_eq!(slimmed.metadata.annotations, None);
        let owners = slimmed.metadata.owner_references.unwrap_or_default();
        let owners: Vec<_> = owners.iter().map(|owner| &owner.kind).collect();
        assert_eq!(owners, [CERTIFICATE]);
    }

    /// Returns a request that is waiting, whose CSR has so many octets, and whose other lists have so many items.
    fn long<R: Request>(kind: Value, csr: usize, items: usize) -> Tolerant<R> {
        let mut object = kind;
        let octets = STANDARD.encode(vec![b'a'; csr]);
        let texts: Vec<_> = (0..items).map(|item| format!("item-{item}")).collect();
        let owners: Vec<_> = texts
            .iter()
            .map(|name| json!({"apiVersion": "cert-manager.io/v1", "kind": CERTIFICATE, "name": name, "uid": name}))
            .collect();
        object["metadata"] = json!({
            "name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "1", "ownerReferences": owners,
        });
        object["status"] = json!({"conditions": [{
            "type": "Approved", "status": "True", "reason": "test", "message": "test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]});
        let spec = object["spec"].as_object_mut().unwrap();
        for (name, value) in spec.iter_mut() {
            match name.as_str() {
                "request" | "stubPKCS10Request" => *value = json!(octets),
                "usages" | "groups" => *value = json!(texts),
                _ => {}
            }
        }
        serde_json::from_value(object).unwrap()
    }

    fn certificate_request() -> Value {
        json!({
            "apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest",
            "spec": {
                "request": "", "usages": [], "groups": [], "username": "jane",
                "issuerRef": {"group": "pkcs11-issuer.dev", "kind": "PKCS11ClusterIssuer", "name": "issuing"},
            },
        })
    }

    fn signing_request() -> Value {
        json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "spec": {
                "request": "", "usages": [], "groups": [], "username": "jane",
                "signerName": "pkcs11clusterissuers.pkcs11-issuer.dev/issuing",
            },
        })
    }

    fn pod_request() -> Value {
        json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest",
            "spec": {
                "stubPKCS10Request": "", "nodeName": "n", "nodeUID": "2", "podName": "p", "podUID": "3",
                "serviceAccountName": "s", "serviceAccountUID": "4",
                "signerName": "pkcs11clusterissuers.pkcs11-issuer.dev/issuing",
            },
        })
    }

    fn is_kept_short<R: Request>(kind: &Value, csr: usize, items: usize) -> bool {
        let kept = slimmed(long::<R>(kind.clone(), csr, items)).unwrap();
        let kept = kept.0.unwrap();
        assert_eq!(
            kept.tenant(),
            long::<R>(kind.clone(), 1, 1).0.unwrap().tenant()
        );
        assert!(kept.issuer().is_some());
        assert_eq!(kept.stage(true).approval, Approval::Approved);
        assert!(octets_of_json(&kept) <= LONG, "{kept:?}");
        kept.lacks_csr()
    }

    #[test]
    fn a_long_request_of_any_kind_is_kept_without_its_csr_and_lists() {
        for (csr, items) in [(64 << 10, 1), (1 << 20, 1), (1, 10_000)] {
            let kind = certificate_request();
            assert!(is_kept_short::<CertificateRequest>(&kind, csr, items));
            let kind = signing_request();
            assert!(is_kept_short::<v1::CertificateSigningRequest>(
                &kind, csr, items
            ));
        }
        let kind = pod_request();
        assert!(is_kept_short::<v1::PodCertificateRequest>(
            &kind,
            64 << 10,
            1
        ));
        // RSA with 4096 bits and twenty names.
        let kind = certificate_request();
        assert!(!is_kept_short::<CertificateRequest>(&kind, 2500, 5));
        let kind = signing_request();
        assert!(!is_kept_short::<v1::CertificateSigningRequest>(
            &kind, 2500, 5
        ));
    }
}
