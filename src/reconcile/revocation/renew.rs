//! Replaces a certificate before it is revoked: cert-manager renews the Certificate that owns the request.

use jiff::Timestamp;
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use super::{RevocationError, decide::Renewal};
use crate::{
    api::{
        certificate::{Certificate, REVISION_ANNOTATION},
        certificate_request::CertificateRequest,
        revocation::{RenewalStatus, RevocationSpec},
    },
    reconcile::{
        renewal::request_renewal,
        request::{CERTIFICATE, Request as _},
    },
};

/// Reason of the condition `Issuing`, as `kubectl describe certificate` shows it.
const REASON: &str = "Revocation";

/// What is known about the renewal of the certificate of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RenewalFacts<'a> {
    /// The request that has the certificate, if it exists.
    pub(super) request: Option<&'a CertificateRequest>,
    /// The Certificate that owns the request, if it still exists.
    pub(super) certificate: Option<&'a Certificate>,
    /// Whether the controller has no right to read Certificates.
    pub(super) may_not_read: bool,
    /// Whether cert-manager was asked for the renewal.
    pub(super) was_requested: bool,
    /// Whether the time for the renewal is over.
    pub(super) is_late: bool,
}

/// Returns the Certificate that owns a request, by its owner references.
pub(super) fn owner(request: &CertificateRequest) -> Option<&OwnerReference> {
    let owners = request.metadata.owner_references.as_deref();
    owners.unwrap_or_default().iter().find(|owner| {
        owner.kind == CERTIFICATE && owner.api_version.starts_with("cert-manager.io/")
    })
}

/// Returns the revision of the Certificate that a request was made for.
pub(super) fn revision(request: &CertificateRequest) -> Option<i64> {
    request.annotations().get(REVISION_ANNOTATION)?.parse().ok()
}

/// Returns what is to be remembered of a request, because cert-manager deletes it when its certificate is replaced.
pub(super) fn remember(request: &CertificateRequest) -> Option<RenewalStatus> {
    let owner = owner(request)?;
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).ok();
    Some(RenewalStatus {
        requested_at: None,
        certificate_name: owner.name.clone(),
        certificate_uid: owner.uid.clone(),
        revision: revision(request),
        csr: text(&request.spec.request.0)?,
        certificate: text(request.certificate()?)?,
    })
}

/// Returns a request that was deleted, as it is remembered. It is judged like one that exists: the CSR and the certificate must
/// have the same key, and the CA must have signed the certificate.
pub(super) fn remembered(
    renewal: &RenewalStatus,
    namespace: &str,
    name: &str,
    spec: &RevocationSpec,
) -> Option<CertificateRequest> {
    let issuer = &spec.issuer_ref;
    let revision = renewal.revision.map(|revision| revision.to_string());
    let request = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "CertificateRequest",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "annotations": {REVISION_ANNOTATION: revision.unwrap_or_default()},
            "ownerReferences": [{
                "apiVersion": "cert-manager.io/v1",
                "kind": CERTIFICATE,
                "name": renewal.certificate_name,
                "uid": renewal.certificate_uid,
            }],
        },
        "spec": {
            "request": ByteString(renewal.csr.clone().into_bytes()),
            "issuerRef": {"group": issuer.group, "kind": issuer.kind, "name": issuer.name},
        },
        "status": {"certificate": ByteString(renewal.certificate.clone().into_bytes())},
    });
    serde_json::from_value(request).ok()
}

impl RenewalFacts<'_> {
    /// Returns how far the renewal is. A renewal that failed is not asked for again: cert-manager tries again by itself.
    pub(super) fn progress(self) -> Renewal {
        let Some((request, owner)) = self
            .request
            .and_then(|request| Some((request, owner(request)?)))
        else {
            return Renewal::Unowned;
        };
        if self.may_not_read {
            return match self.is_late {
                true => Renewal::Over,
                false => Renewal::InProgress,
            };
        }
        // Another Certificate may have taken the name.
        let certificate = self
            .certificate
            .filter(|certificate| certificate.metadata.uid.as_ref() == Some(&owner.uid));
        let Some(certificate) = certificate else {
            return Renewal::Over;
        };
        let is_replaced = match (revision(request), certificate.revision()) {
            (Some(of_request), Some(present)) => present > of_request,
            (_, _) => false,
        };
        match (
            is_replaced || self.is_late,
            self.was_requested || certificate.is_issuing(),
        ) {
            (true, _) => Renewal::Over,
            (false, true) => Renewal::InProgress,
            (false, false) => Renewal::Due,
        }
    }
}

/// Reads the Certificate that owns a request; `None` if it does not exist any more.
///
/// # Errors
/// It could not be read.
pub(super) async fn read_owner(
    request: &CertificateRequest,
    client: &Client,
) -> Result<Option<Certificate>, RevocationError> {
    let Some(owner) = owner(request) else {
        return Ok(None);
    };
    let namespace = request.namespace().unwrap_or_default();
    let api = Api::<Certificate>::namespaced(client.clone(), &namespace);
    let read = api.get_opt(&owner.name).await;
    read.map_err(|source| RevocationError::read(CERTIFICATE, &namespace, &owner.name, source))
}

/// Asks cert-manager to renew a Certificate before a revocation of this name. The write is refused if somebody has changed the
/// object meanwhile.
///
/// # Errors
/// The status was not written.
pub(super) async fn renew_before(
    revocation: &str,
    certificate: &Certificate,
    now: Timestamp,
    client: &Client,
) -> Result<(), RevocationError> {
    let message =
        format!("Renewed before CertificateRevocation {revocation} revokes the certificate");
    let requested = request_renewal(certificate, REASON, &message, now, client).await;
    requested.map_err(|source| {
        let namespace = certificate.namespace().unwrap_or_default();
        RevocationError::write(CERTIFICATE, &namespace, &certificate.name_any(), source)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(owned: bool, revision: &str) -> CertificateRequest {
        let owner = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "name": "web", "uid": "c"});
        let owners = if owned { json!([owner]) } else { json!([]) };
        serde_json::from_value(json!({
            "apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest",
            "metadata": {
                "namespace": "shop", "name": "web-1", "ownerReferences": owners,
                "annotations": {REVISION_ANNOTATION: revision},
            },
            "spec": {},
        }))
        .unwrap()
    }

    fn certificate(uid: &str, revision: i64, issuing: &str) -> Certificate {
        serde_json::from_value(json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
            "metadata": {"namespace": "shop", "name": "web", "uid": uid},
            "spec": {},
            "status": {"revision": revision, "conditions": [{"type": "Issuing", "status": issuing}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_request_that_is_deleted_meanwhile_is_remembered_with_all_that_is_judged() {
        let spec: RevocationSpec = serde_json::from_value(json!({
            "issuerRef": {"kind": "PKCS11Issuer", "name": "issuing"}, "reason": "Superseded",
            "certificateRequestRef": {"name": "web-1"}, "renew": true,
        }))
        .unwrap();
        let mut asked = request(true, "3");
        asked.spec.request = ByteString(b"CSR".to_vec());
        asked.spec.issuer_ref = serde_json::from_value(json!({
            "group": "pkcs11-issuer.dev", "kind": "PKCS11Issuer", "name": "issuing",
        }))
        .unwrap();
        assert!(remember(&asked).is_none(), "it has no certificate");
        asked.status = serde_json::from_value(json!({"certificate": "UEVN"})).unwrap();
        let renewal = remember(&asked).unwrap();
        let again = remembered(&renewal, "shop", "web-1", &spec).unwrap();
        let value = |request: &CertificateRequest| serde_json::to_value(request).unwrap();
        assert_eq!(value(&again), value(&asked));
        assert!(remember(&request(false, "3")).is_none());
    }

    #[test]
    fn a_certificate_is_replaced_once_a_later_revision_is_in_place() {
        let (owned, unowned) = (request(true, "3"), request(false, "3"));
        let (idle, issuing) = (certificate("c", 3, "False"), certificate("c", 3, "True"));
        let (renewed, other) = (certificate("c", 4, "False"), certificate("d", 4, "False"));
        // cert-manager renews for a reason of its own while the new revision is in place.
        let again = certificate("c", 4, "True");
        let odd = request(true, "");
        for (request, certificate, was_requested, is_late, expected) in [
            (None, None, false, false, Renewal::Unowned),
            (Some(&unowned), None, false, true, Renewal::Unowned),
            (Some(&owned), None, true, false, Renewal::Over),
            (Some(&owned), Some(&other), false, false, Renewal::Over),
            (Some(&owned), Some(&idle), false, false, Renewal::Due),
            (Some(&owned), Some(&idle), true, false, Renewal::InProgress),
            (
                Some(&owned),
                Some(&issuing),
                false,
                false,
                Renewal::InProgress,
            ),
            (Some(&owned), Some(&issuing), true, true, Renewal::Over),
            (Some(&owned), Some(&idle), false, true, Renewal::Over),
            (Some(&owned), Some(&renewed), false, false, Renewal::Over),
            (Some(&owned), Some(&again), true, false, Renewal::Over),
            // Without a number, only the time ends the renewal.
            (Some(&odd), Some(&renewed), true, false, Renewal::InProgress),
            (Some(&odd), Some(&renewed), true, true, Renewal::Over),
        ] {
            let facts = RenewalFacts {
                request,
                certificate,
                may_not_read: false,
                was_requested,
                is_late,
            };
            assert_eq!(facts.progress(), expected, "{facts:?}");
        }
        // Without the right to renew, the time ends the wait.
        for (is_late, expected) in [(false, Renewal::InProgress), (true, Renewal::Over)] {
            let facts = RenewalFacts {
                request: Some(&owned),
                certificate: None,
                may_not_read: true,
                was_requested: false,
                is_late,
            };
            assert_eq!(facts.progress(), expected);
        }
    }
}
