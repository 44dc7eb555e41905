//! Kubernetes CSRs that any identity creates and another approves or denies.

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::until;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};

use crate::requests::add_condition;
use crate::{IssuerName, PATIENCE, Status};

/// The CertificateSigningRequests of one user. The value belongs to the runtime that created it.
#[derive(Clone)]
pub struct SigningRequests {
    requester: Api<DynamicObject>,
    approver: Api<DynamicObject>,
}

impl std::fmt::Debug for SigningRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningRequests").finish_non_exhaustive()
    }
}

impl SigningRequests {
    pub(crate) fn new(requester: kube::Client, approver: kube::Client) -> Self {
        let kind = GroupVersionKind::gvk("certificates.k8s.io", "v1", "CertificateSigningRequest");
        let kind = ApiResource::from_gvk(&kind);
        Self {
            requester: Api::all_with(requester, &kind),
            approver: Api::all_with(approver, &kind),
        }
    }

    /// Creates a request and returns its UID. It is not approved.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn create(&self, name: &str, spec: Value, annotations: Value) -> Result<String> {
        let object = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name, "annotations": annotations},
            "spec": spec,
        });
        let object = serde_json::from_value(object)?;
        let created = self
            .requester
            .create(&PostParams::default(), &object)
            .await?;
        created.metadata.uid.context("a new object has no UID")
    }

    /// Approves a request as the user `approver`.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn approve(&self, name: &str) -> Result<()> {
        self.judge(name, "Approved").await
    }

    /// Denies a request as the user `approver`.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn deny(&self, name: &str) -> Result<()> {
        self.judge(name, "Denied").await
    }

    /// Returns the present request.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub async fn get(&self, name: &str) -> Result<DynamicObject> {
        Ok(self.requester.get(name).await?)
    }

    /// Returns the present status of a request.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub async fn status(&self, name: &str) -> Result<Status> {
        Ok(Status::of(&self.requester.get(name).await?.data))
    }

    /// Waits for the certificate and returns it.
    ///
    /// # Errors
    ///
    /// When there is none in time; the message quotes the present status.
    pub async fn is_issued(&self, name: &str) -> Result<String> {
        let status = self.until(name, |status| status.certificate().is_some());
        status
            .await?
            .certificate()
            .context("the request has no certificate")
    }

    /// Waits until the status meets a condition.
    ///
    /// # Errors
    ///
    /// When it does not; the message quotes its status.
    pub async fn until(&self, name: &str, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        let what = format!("the status of CertificateSigningRequest {name} to meet the condition");
        Status::until(&what, async || self.status(name).await, wanted).await
    }

    async fn judge(&self, name: &str, type_: &str) -> Result<()> {
        let what = format!("CertificateSigningRequest {name} to be {type_}");
        until(&what, PATIENCE, async || {
            let mut request = self.approver.get(name).await?;
            add_condition(&mut request.data, type_)?;
            let params = PostParams::default();
            match self
                .approver
                .replace_subresource("approval", name, &params, &request)
                .await
            {
                Ok(_) => Ok(Some(())),
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}

/// Returns the `spec` of a Kubernetes CSR for a server certificate from this issuer, which a test may change.
pub fn signing_request_spec(issuer: &IssuerName, csr: &str) -> Value {
    json!({
        "request": STANDARD.encode(csr.as_bytes()),
        "signerName": issuer.signer_name(),
        "usages": ["digital signature", "server auth"],
    })
}
