//! Certificates that are deleted, for issuers with `spec.crl.onDelete: Revoke`.
//!
//! cert-manager's Certificate says which of its requests made the certificate in use, and that request has the certificate.
//! Both are deleted, in any order. Once both deletions are known, the certificate is revoked by a CertificateRevocation in the
//! controller's namespace, so that the revocation survives a restart. Every replica tries to create it, under the same name.

mod pairs;
mod watch;

use std::time::Duration;

use kube::{Api, Client, Resource as _, api::PostParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use self::pairs::{GoneRequest, Pairs};
pub(super) use self::watch::run_deleted_certificates;
use super::{
    KIND,
    claim::certificate_of,
    renew::{owner, revision},
};
use crate::{
    api::{
        FIELD_MANAGER, GROUP, IssuerName,
        certificate::Certificate,
        certificate_request::CertificateRequest,
        revocation::{CertificateRevocation, RevocationIssuer},
    },
    reconcile::{Context, StoredIssuers, request::Request as _},
    telemetry::{ErrorChain, log_seldom},
};

/// How long the creation of a revocation is tried.
const TRIED_FOR: Duration = Duration::from_secs(600);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_secs(5);

/// What is known about deleted Certificates and their requests.
#[derive(Debug, Default)]
pub struct DeletedCertificates {
    /// `None` if the operator has not enabled it.
    pairs: Option<Mutex<Pairs>>,
}

impl DeletedCertificates {
    /// Creates an empty collection; if it is not enabled, it stays empty.
    #[must_use]
    pub fn new(is_enabled: bool) -> Self {
        Self {
            pairs: is_enabled.then(Mutex::default),
        }
    }

    /// Returns whether the operator has enabled it.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.pairs.is_some()
    }

    /// Takes in the deletion of a request.
    pub(in crate::reconcile) fn request_deleted(
        &self,
        request: &CertificateRequest,
        context: &Context,
    ) {
        let Some(pairs) = &self.pairs else {
            return;
        };
        let Some((owner, gone)) = gone_request(request, &context.stored) else {
            return;
        };
        let pair = pairs
            .lock()
            .request_gone(&owner, gone, std::time::Instant::now());
        revoke_later(pair, owner, context);
    }

    /// Takes in the deletion of a Certificate.
    fn certificate_deleted(&self, certificate: &Certificate, context: &Context) {
        let Some(pairs) = &self.pairs else {
            return;
        };
        let (Some(uid), Some(revision)) = (certificate.meta().uid.clone(), certificate.revision())
        else {
            return;
        };
        if certificate.spec.issuer_ref.group != GROUP {
            return;
        }
        let now = std::time::Instant::now();
        let pair = pairs.lock().certificate_gone(&uid, revision, now);
        revoke_later(pair, uid, context);
    }
}

/// Returns the UID of the Certificate that owns a deleted request, and what its revocation needs, if its issuer revokes the
/// certificates of deleted Certificates.
fn gone_request(
    request: &CertificateRequest,
    stored: &StoredIssuers,
) -> Option<(String, GoneRequest)> {
    let issuer = request.issuer()?;
    if !stored.get(&issuer)?.revokes_deleted {
        return None;
    }
    let pem = request.certificate()?;
    let owner = owner(request)?;
    // In the controller's namespace any certificate may be revoked. So the status must have been checked here: whoever forges
    // it has the certificate of another key.
    certificate_of(request).ok()?;
    let gone = GoneRequest {
        issuer,
        revision: revision(request)?,
        certificate: format!(
            "{}/{}",
            request.metadata.namespace.as_deref().unwrap_or_default(),
            owner.name
        ),
        pem: first_block(pem)?,
    };
    Some((owner.uid.clone(), gone))
}

/// Returns the text up to the end of the first certificate.
fn first_block(pem: &[u8]) -> Option<String> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let text = std::str::from_utf8(pem).ok()?;
    let end = text.find(END)?;
    Some(text.get(..end + END.len())?.to_owned())
}

fn revoke_later(pair: Option<GoneRequest>, certificate: String, context: &Context) {
    if let Some(gone) = pair {
        let namespace = context.settings.cluster_resource_namespace.clone();
        tokio::spawn(create(gone, certificate, namespace, context.client.clone()));
    }
}

/// Creates the revocation of a deleted Certificate, which another replica may have created already.
async fn create(gone: GoneRequest, uid: String, namespace: String, client: Client) {
    let revocation = match revocation(&gone, &uid, &namespace) {
        Ok(revocation) => revocation,
        Err(error) => {
            warn!(certificate = gone.certificate, error = %ErrorChain(&error), "failed to compose the revocation of a deleted Certificate");
            return;
        }
    };
    let api = Api::<CertificateRevocation>::namespaced(client, &namespace);
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let end = Instant::now() + TRIED_FOR;
    loop {
        match api.create(&params, &revocation).await {
            Ok(_) => {
                info!(certificate = gone.certificate, issuer = %gone.issuer, "a Certificate was deleted; its certificate is going to be revoked");
                return;
            }
            Err(kube::Error::Api(status)) if status.code == 409 => return,
            Err(error) if Instant::now() >= end => {
                let error = ErrorChain(&error).to_string();
                log_seldom!(warn, &error, certificate = gone.certificate, issuer = %gone.issuer, error,
                             "the certificate of a deleted Certificate was not revoked");
                return;
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Composes the revocation of a deleted Certificate.
fn revocation(
    gone: &GoneRequest,
    uid: &str,
    namespace: &str,
) -> serde_json::Result<CertificateRevocation> {
    let issuer: &IssuerName = &gone.issuer;
    serde_json::from_value(json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": KIND,
        "metadata": {
            "namespace": namespace,
            "name": format!("deleted-{uid}"),
            "annotations": {"pkcs11-issuer.dev/deleted-certificate": gone.certificate},
        },
        "spec": {
            "issuerRef": RevocationIssuer::to(issuer),
            "certificate": gone.pem,
            "reason": "CessationOfOperation",
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_certificate_of_a_chain_is_kept() {
        let block = |text: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        };
        let chain = block("AA==") + &block("AQ==");
        assert_eq!(first_block(chain.as_bytes()), Some(block("AA==")));
        assert_eq!(first_block(b"AA=="), None);
    }

    #[test]
    fn the_revocation_of_a_deleted_certificate_is_whole() {
        let gone = GoneRequest {
            issuer: IssuerName {
                namespace: Some("shop".to_owned()),
                name: "issuing".to_owned(),
            },
            revision: 3,
            certificate: "shop/web".to_owned(),
            pem: "PEM".to_owned(),
        };
        let revocation = revocation(&gone, "8f0e", "system").unwrap();
        assert_eq!(
            serde_json::to_value(revocation).unwrap(),
            json!({
                "apiVersion": "pkcs11-issuer.dev/v1alpha1",
                "kind": "CertificateRevocation",
                "metadata": {
                    "namespace": "system", "name": "deleted-8f0e",
                    "annotations": {"pkcs11-issuer.dev/deleted-certificate": "shop/web"},
                },
                "spec": {
                    "issuerRef": {
                        "group": "pkcs11-issuer.dev", "kind": "PKCS11Issuer", "namespace": "shop", "name": "issuing",
                    },
                    "certificate": "PEM",
                    "reason": "CessationOfOperation",
                },
            })
        );
    }
}
