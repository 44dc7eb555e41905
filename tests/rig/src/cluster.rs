//! A control plane, usually with cert-manager, our CRDs and the identities that the tests use.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::chart::{apply_rights, apply_rights_in, no_values};
use crate::{Programs, Requests, SigningRequests, Status};

/// The controller's namespace, which also has the Secrets of cluster issuers.
pub const NAMESPACE: &str = "pkcs11-issuer-system";
/// The controller's user name, for [`control_plane::AuditLog::by`].
pub const CONTROLLER: &str = "system:serviceaccount:pkcs11-issuer-system:pkcs11-issuer";

pub(crate) const GROUP: &str = "pkcs11-issuer.dev";

/// The rights of the two users, requester and approver. Neither may do the other's part.
const RBAC_OF_USERS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rig-requester}
rules:
- {apiGroups: [cert-manager.io], resources: [certificaterequests], verbs: [create, get, delete]}
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [create, get, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rig-requester}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rig-requester}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: requester}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: rig-requesters}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rig-approver}
rules:
- {apiGroups: [cert-manager.io], resources: [certificaterequests], verbs: [get]}
- {apiGroups: [cert-manager.io], resources: [certificaterequests/status], verbs: [update]}
- {apiGroups: [cert-manager.io], resources: [signers], verbs: [approve]}
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [get]}
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests/approval], verbs: [update]}
- {apiGroups: [certificates.k8s.io], resources: [signers], verbs: [approve]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rig-approver}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rig-approver}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: approver}]
"#;

/// A control plane with everything that the controller needs in a cluster.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order.
    cert_manager: Option<CertManager>,
    plane: ControlPlane,
    controller: PathBuf,
    requester: PathBuf,
    approver: PathBuf,
}

/// Kind, namespace and name of one of our issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerName {
    namespace: Option<String>,
    name: String,
}

impl IssuerName {
    /// Names a `PKCS11ClusterIssuer`.
    pub fn cluster(name: &str) -> Self {
        Self {
            namespace: None,
            name: name.to_owned(),
        }
    }

    /// Returns the name of the object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names a `PKCS11Issuer`.
    pub fn namespaced(namespace: &str, name: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// Returns the arguments after `kubectl get` that select this issuer.
    pub fn selected(&self) -> [&str; 4] {
        let namespace = self.namespace.as_deref().unwrap_or("default");
        [self.kind(), &self.name, "--namespace", namespace]
    }

    /// Returns the kind of the issuer.
    pub fn kind(&self) -> &'static str {
        match self.namespace {
            Some(_) => "PKCS11Issuer",
            None => "PKCS11ClusterIssuer",
        }
    }

    /// Returns the signer name of the issuer for Kubernetes CSRs.
    pub fn signer_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("pkcs11issuers.{GROUP}/{namespace}.{}", self.name),
            None => format!("pkcs11clusterissuers.{GROUP}/{}", self.name),
        }
    }

    /// Returns the `issuerRef` that names the issuer.
    pub fn reference(&self) -> Value {
        json!({"group": GROUP, "kind": self.kind(), "name": self.name})
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name } = self;
        match namespace {
            Some(namespace) => write!(f, "{} {namespace}/{name}", self.kind()),
            None => write!(f, "{} {name}", self.kind()),
        }
    }
}

impl Cluster {
    /// Starts a control plane with cert-manager and installs our CRDs and everybody's rights on it.
    ///
    /// # Errors
    ///
    /// When a part does not start or an object is refused.
    pub async fn start(programs: &Programs, options: CertManagerOptions) -> Result<Self> {
        let plane = ControlPlane::start(Options::default()).await?;
        let cert_manager = CertManager::start(&plane, options).await?;
        Self::install(plane, cert_manager, programs).await
    }

    /// Starts a control plane without cert-manager and its kinds, and installs our CRDs and everybody's rights on it.
    ///
    /// # Errors
    ///
    /// When a part does not start or an object is refused.
    pub async fn start_without_cert_manager(programs: &Programs) -> Result<Self> {
        let plane = ControlPlane::start(Options::default()).await?;
        Self::install(plane, None, programs).await
    }

    /// Creates our namespace and gives the users their rights. Installs nothing else of ours.
    ///
    /// # Errors
    ///
    /// When an object is refused.
    pub async fn prepare(
        plane: ControlPlane,
        cert_manager: impl Into<Option<CertManager>>,
    ) -> Result<Self> {
        let cluster = Self {
            controller: plane.service_account(NAMESPACE, "pkcs11-issuer")?,
            requester: plane.user("requester", None)?,
            approver: plane.user("approver", None)?,
            cert_manager: cert_manager.into(),
            plane,
        };
        cluster.create_namespace(NAMESPACE).await?;
        cluster.plane.apply(RBAC_OF_USERS).await?;
        Ok(cluster)
    }

    /// Installs our CRDs, as the program prints them, and everybody's rights.
    ///
    /// # Errors
    ///
    /// When an object is refused.
    pub async fn install(
        plane: ControlPlane,
        cert_manager: impl Into<Option<CertManager>>,
        programs: &Programs,
    ) -> Result<Self> {
        let cluster = Self::prepare(plane, cert_manager).await?;
        cluster.install_kinds(programs).await?;
        apply_rights(&cluster.plane, &no_values()).await?;
        Ok(cluster)
    }

    /// Installs our CRDs, as the program prints them, and waits until the API server serves them.
    ///
    /// # Errors
    ///
    /// When an object is refused.
    pub async fn install_kinds(&self, programs: &Programs) -> Result<()> {
        self.plane.apply(&crds(&programs.controller).await?).await?;
        let wait = "wait --for=condition=Established --timeout=60s crd";
        let kinds = kinds();
        let words = wait.split(' ').chain(kinds.iter().map(String::as_str));
        self.plane.kubectl(&words.collect::<Vec<_>>()).await?;
        Ok(())
    }

    /// Removes our CRDs, and with them all issuers.
    ///
    /// # Errors
    ///
    /// When they do not exist.
    pub async fn remove_kinds(&self) -> Result<()> {
        let kinds = kinds();
        let words = ["delete", "crd"].into_iter();
        let words = words.chain(kinds.iter().map(String::as_str));
        self.plane.kubectl(&words.collect::<Vec<_>>()).await?;
        Ok(())
    }

    /// Returns the control plane, for its audit log, for kubectl and for outages.
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Returns cert-manager, whose webhook can be frozen.
    ///
    /// # Errors
    ///
    /// When the cluster was started without it.
    pub fn cert_manager(&self) -> Result<&CertManager> {
        let cert_manager = self.cert_manager.as_ref();
        cert_manager.context("the cluster has no cert-manager")
    }

    /// Returns the kubeconfig of the controller's service account.
    pub fn controller_kubeconfig(&self) -> &Path {
        &self.controller
    }

    /// Creates a namespace unless it exists.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .await
    }

    /// Creates a namespace whose issuers may name Secrets and ConfigMaps in it, as with the chart's `secretNamespaces`.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn create_namespace_with_issuers(&self, name: &str) -> Result<()> {
        self.create_namespace(name).await?;
        apply_rights_in(&self.plane, name, &json!({"secretNamespaces": [name]})).await
    }

    /// Applies a Secret of strings.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn apply_secret(
        &self,
        namespace: &str,
        name: &str,
        texts: &BTreeMap<&str, String>,
    ) -> Result<()> {
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": namespace, "name": name},
            "stringData": texts,
        }))
        .await
    }

    /// Applies an issuer.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn apply_issuer(&self, issuer: &IssuerName, spec: &Value) -> Result<()> {
        self.apply(&json!({
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": issuer.kind(),
            "metadata": {"namespace": issuer.namespace, "name": issuer.name},
            "spec": spec,
        }))
        .await
    }

    /// Returns the status of an issuer.
    ///
    /// # Errors
    ///
    /// When there is no such issuer.
    pub async fn issuer_status(&self, issuer: &IssuerName) -> Result<Status> {
        let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", issuer.kind());
        let kind = ApiResource::from_gvk(&kind);
        let client = self.plane.admin().await?;
        let issuers = match &issuer.namespace {
            Some(namespace) => Api::<DynamicObject>::namespaced_with(client, namespace, &kind),
            None => Api::all_with(client, &kind),
        };
        Ok(Status::of(&issuers.get(&issuer.name).await?.data))
    }

    /// Waits until an issuer is ready.
    ///
    /// # Errors
    ///
    /// When it does not become ready; the message quotes its status.
    pub async fn issuer_is_ready(&self, issuer: &IssuerName) -> Result<Status> {
        self.issuer_reaches(issuer, |status| {
            status.ready().is_some_and(|ready| ready.status == "True")
        })
        .await
    }

    /// Waits until the status of an issuer meets a condition.
    ///
    /// # Errors
    ///
    /// When it does not; the message quotes its status.
    pub async fn issuer_reaches(
        &self,
        issuer: &IssuerName,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let what = format!("the status of {issuer} to meet the condition");
        Status::until(&what, async || self.issuer_status(issuer).await, wanted).await
    }

    /// Returns the CertificateRequests of a namespace, with clients of the calling runtime.
    ///
    /// # Errors
    ///
    /// When a kubeconfig cannot be read.
    pub async fn requests(&self, namespace: &str) -> Result<Requests> {
        let requester = self.plane.client(&self.requester).await?;
        let approver = self.plane.client(&self.approver).await?;
        Ok(Requests::new(requester, approver, namespace))
    }

    /// Returns the Kubernetes CSRs of a user, with clients of the calling runtime. `system:serviceaccount:…` is a user too.
    ///
    /// # Errors
    ///
    /// When a kubeconfig cannot be written or read.
    pub async fn signing_requests(&self, user: &str) -> Result<SigningRequests> {
        let requester = self.plane.user(user, Some("rig-requesters"))?;
        let requester = self.plane.client(&requester).await?;
        let approver = self.plane.client(&self.approver).await?;
        Ok(SigningRequests::new(requester, approver))
    }

    /// Applies any object with all rights.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        self.plane.apply(&object.to_string()).await
    }
}

fn kinds() -> [String; 2] {
    ["pkcs11issuers", "pkcs11clusterissuers"].map(|kind| format!("{kind}.{GROUP}"))
}

async fn crds(program: &Path) -> Result<String> {
    let run = Command::new(program)
        .arg("crds")
        .kill_on_drop(true)
        .output();
    let output = run
        .await
        .with_context(|| format!("run {} crds", program.display()))?;
    ensure!(
        output.status.success(),
        "{} crds: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).context("read the CRDs that the program prints")
}
