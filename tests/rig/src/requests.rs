//! CertificateRequests that one identity creates and another approves or denies.

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::until;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};

use crate::{IssuerName, PATIENCE, Status};

/// The CertificateRequests of one namespace. The value belongs to the runtime that created it.
#[derive(Clone)]
pub struct Requests {
    namespace: String,
    requester: Api<DynamicObject>,
    approver: Api<DynamicObject>,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Requests {
    pub(crate) fn new(requester: kube::Client, approver: kube::Client, namespace: &str) -> Self {
        let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "CertificateRequest");
        let kind = ApiResource::from_gvk(&kind);
        Self {
            namespace: namespace.to_owned(),
            requester: Api::namespaced_with(requester, namespace, &kind),
            approver: Api::namespaced_with(approver, namespace, &kind),
        }
    }

    /// Creates a request as the user `requester` and returns its UID. It is not approved, unless cert-manager's approver
    /// runs and may approve it.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn create(&self, name: &str, spec: Value) -> Result<String> {
        let created = self.create_object(name, spec).await?;
        created.metadata.uid.context("a new object has no UID")
    }

    /// Creates a request and approves it, in two writes and without reading it in between.
    ///
    /// # Errors
    ///
    /// When it is refused, or another client writes to it first.
    pub async fn create_approved(&self, name: &str, spec: Value) -> Result<()> {
        let mut request = self.create_object(name, spec).await?;
        add_condition(&mut request.data, "Approved")?;
        let params = PostParams::default();
        self.approver
            .replace_status(name, &params, &request)
            .await?;
        Ok(())
    }

    async fn create_object(&self, name: &str, spec: Value) -> Result<DynamicObject> {
        let object = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "CertificateRequest",
            "metadata": {"namespace": self.namespace, "name": name},
            "spec": spec,
        });
        let object = serde_json::from_value(object)?;
        Ok(self
            .requester
            .create(&PostParams::default(), &object)
            .await?)
    }

    /// Deletes a request.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.requester
            .delete(name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// Approves a request as the user `approver`.
    ///
    /// # Errors
    ///
    /// When it is refused: neither an approval nor a denial can be changed.
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
        Ok(Status::of(&self.get(name).await?.data))
    }

    /// Waits until the `Ready` condition has this reason: `Issued`, `Pending`, `Failed` or `Denied`.
    ///
    /// # Errors
    ///
    /// When it does not; the message quotes the present status.
    pub async fn reaches(&self, name: &str, reason: &str) -> Result<Status> {
        self.until(name, |status| {
            status.ready().is_some_and(|ready| ready.reason == reason)
        })
        .await
        .with_context(|| format!("the request is not {reason}"))
    }

    /// Waits until the status meets a condition.
    ///
    /// # Errors
    ///
    /// When it does not; the message quotes its status.
    pub async fn until(&self, name: &str, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        let what = format!(
            "the status of CertificateRequest {}/{name} to meet the condition",
            self.namespace
        );
        Status::until(&what, async || self.status(name).await, wanted).await
    }

    /// Adds a condition as cert-manager's own approver does: it writes the whole status back, with the version that it read.
    async fn judge(&self, name: &str, type_: &str) -> Result<()> {
        let what = format!("CertificateRequest {}/{name} to be {type_}", self.namespace);
        until(&what, PATIENCE, async || {
            let mut request = self.approver.get(name).await?;
            add_condition(&mut request.data, type_)?;
            let params = PostParams::default();
            match self.approver.replace_status(name, &params, &request).await {
                Ok(_) => Ok(Some(())),
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}

/// Adds an approval condition to an object.
pub(crate) fn add_condition(object: &mut Value, type_: &str) -> Result<()> {
    let object = object.as_object_mut().context("the object has no fields")?;
    let status = object.entry("status").or_insert_with(|| json!({}));
    let status = status.as_object_mut().context("the status has no fields")?;
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else {
        bail!("the conditions are not a list");
    };
    conditions.push(json!({
        "type": type_,
        "status": "True",
        "reason": "rig",
        "message": "judged by the rig",
    }));
    Ok(())
}

/// Returns the `spec` of a request for a server certificate from this issuer, which a test may change.
pub fn request_spec(issuer: &IssuerName, csr: &str) -> Value {
    json!({
        "request": STANDARD.encode(csr.as_bytes()),
        "issuerRef": issuer.reference(),
        "usages": ["digital signature", "server auth"],
    })
}

/// Returns the PEM of a CSR for this DNS name, with an empty subject and a new P-256 key.
///
/// # Errors
///
/// When the name is not a valid DNS name.
pub fn csr_for(dns_name: &str) -> Result<String> {
    csr_for_names(vec![dns_name.to_owned()])
}

/// Does the same for several DNS names.
///
/// # Errors
///
/// When a name is not a valid DNS name.
pub fn csr_for_names(dns_names: Vec<String>) -> Result<String> {
    let mut params = CertificateParams::new(dns_names)?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate()?;
    Ok(params.serialize_request(&key)?.pem()?)
}
