//! The controller needs every right that the chart gives it, and no other. This compares its requests in the API server's
//! audit log with the chart's RBAC rules. All other tests run under the same rules and so show that they suffice.

mod reissued;
mod revocations;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use control_plane::{AuditEvent, until};
use rig::{
    Authority, CONTROLLER, IssuerName, NAMESPACE, PATIENCE, Rig, csr_for, request_spec,
    signing_request_spec,
};
use serde_json::{Value, json};

use softhsm_test_helpers::KeyKind;

use super::{
    TENANT, issuer, own_rig_with,
    pods::{ask, pods},
    replicas::sealed::verify,
};

const SIGNERS: &str = "signers.certificates.k8s.io";
const BUNDLES: &str = "clustertrustbundles.certificates.k8s.io";

/// The right to use one verb on one resource, in one namespace or everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    resource: String,
    namespace: Option<String>,
}

impl Right {
    fn new(verb: &str, resource: &str, namespace: Option<&str>) -> Self {
        Self {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
        }
    }

    /// Whether this answered request needed the right. The API server asks its authorizer for more than the verb of the
    /// request, and the audit log does not show that; for such rights, match the request that is refused without them.
    fn is_needed_for(&self, event: &AuditEvent) -> bool {
        let Some(object) = &event.object_ref else {
            return false;
        };
        let path = match object.subresource.as_str() {
            "" => object.resource.clone(),
            subresource => format!("{}/{subresource}", object.resource),
        };
        let asked = if object.api_group.is_empty() {
            path
        } else {
            format!("{path}.{}", object.api_group)
        };
        match (self.verb.as_str(), self.resource.as_str()) {
            ("sign", SIGNERS) => [
                "certificatesigningrequests/status.certificates.k8s.io",
                "podcertificaterequests/status.certificates.k8s.io",
            ]
            .contains(&asked.as_str()),
            ("attest", SIGNERS) => asked == BUNDLES && event.is_write(),
            // A server-side apply that creates the object.
            ("create", BUNDLES) => asked == BUNDLES && event.code() == Some(201),
            ("create", "configmaps") => asked == "configmaps" && event.code() == Some(201),
            (verb, resource) => {
                let namespace = self.namespace.as_ref();
                event.verb == verb
                    && asked == resource
                    && namespace.is_none_or(|namespace| *namespace == object.namespace)
            }
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.namespace.as_deref().unwrap_or("every namespace");
        write!(f, "{} {} in {namespace}", self.verb, self.resource)
    }
}

/// Returns the rights of the installed roles.
async fn granted(rig: &Rig) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for (kind, namespace) in [
        ("clusterrole", None),
        ("role", Some(NAMESPACE)),
        ("role", Some(TENANT)),
    ] {
        let mut get = vec!["get", kind, "pkcs11-issuer", "-o", "json"];
        if let Some(namespace) = namespace {
            get.extend(["--namespace", namespace]);
        }
        let role: Value = serde_json::from_str(&rig.cluster().plane().kubectl(&get).await?)?;
        for rule in role["rules"].as_array().context("no rules")? {
            let texts = |field: &str| {
                let all = rule[field].as_array().cloned().unwrap_or_default();
                all.into_iter()
                    .filter_map(|text| text.as_str().map(str::to_owned))
            };
            for group in texts("apiGroups") {
                for resource in texts("resources") {
                    let resource = match group.as_str() {
                        "" => resource,
                        group => format!("{resource}.{group}"),
                    };
                    for verb in texts("verbs") {
                        rights.insert(Right::new(&verb, &resource, namespace));
                    }
                }
            }
        }
    }
    Ok(rights)
}

/// Returns the rights that no answered request has needed so far.
fn unused(rig: &Rig, rights: &BTreeSet<Right>) -> Result<Vec<Right>> {
    let log = rig.cluster().plane().audit_log()?.by(CONTROLLER);
    let log = log.filter(|event| event.code().is_some_and(|code| code < 400 || code == 404));
    let needed = |right: &Right| log.iter().any(|event| right.is_needed_for(event));
    Ok(rights
        .iter()
        .filter(|right| !needed(right))
        .cloned()
        .collect())
}

/// Sends a signal to the workers of the controller.
fn signal_workers(rig: &Rig, signal: &str) -> Result<()> {
    let controller = rig.controller().process().id();
    let mut workers = String::new();
    for thread in std::fs::read_dir(format!("/proc/{controller}/task"))? {
        workers += &std::fs::read_to_string(thread?.path().join("children"))?;
    }
    ensure!(!workers.trim().is_empty(), "the controller has no worker");
    let kill = format!("kill -{signal} {workers}");
    ensure!(Command::new("sh").args(["-c", &kill]).status()?.success());
    Ok(())
}

/// Creates issuers of each kind with their certificates in a Secret and in a ConfigMap.
async fn issuers_with_objects(rig: &Rig) -> Result<()> {
    let chain = rig.authority().chain();
    for namespace in [NAMESPACE, TENANT] {
        rig.cluster()
            .apply_secret(namespace, "chain", &chain)
            .await?;
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": namespace, "name": "chain"}, "data": chain,
        });
        rig.cluster().apply(&map).await?;
    }
    let with_secret = rig.authority().issuer_spec_with_secret("chain");
    let mut with_map = with_secret.clone();
    with_map["certificate"] = json!({"configMapRef": {"name": "chain"}});
    for (name, spec) in [("secret", &with_secret), ("map", &with_map)] {
        for issuer in [
            IssuerName::cluster(name),
            IssuerName::namespaced(TENANT, name),
        ] {
            rig.cluster().apply_issuer(&issuer, spec).await?;
            rig.cluster().issuer_is_ready(&issuer).await?;
        }
    }
    Ok(())
}

/// Creates requests of every kind for an issuer with a namespace selector. Another client changes each request during its
/// signature, so that the controller's write conflicts and it reads the request again.
async fn requests_of_every_kind(rig: &Rig) -> Result<()> {
    let selective = IssuerName::cluster("selective");
    let mut spec = rig.authority().issuer_spec();
    spec["namespaceSelector"] =
        json!({"matchExpressions": [{"key": "no-such-label", "operator": "DoesNotExist"}]});
    spec["podCertificates"] = pods();
    rig.cluster().apply_issuer(&selective, &spec).await?;
    rig.cluster().issuer_is_ready(&selective).await?;

    let requests = rig.cluster().requests("default").await?;
    let account = "system:serviceaccount:default:builder";
    let csrs = rig.cluster().signing_requests(account).await?;
    signal_workers(rig, "STOP")?;
    requests
        .create(
            "rights-request",
            request_spec(&selective, &csr_for("web.example")?),
        )
        .await?;
    requests.approve("rights-request").await?;
    let spec = signing_request_spec(&selective, &csr_for("web.example")?);
    csrs.create("rights-csr", spec, json!({})).await?;
    csrs.approve("rights-csr").await?;
    ask(
        rig,
        "default",
        "rights-pod",
        &selective.signer_name(),
        json!({}),
    )
    .await?;
    for (kind, name) in [
        ("certificaterequest", "rights-request"),
        ("certificatesigningrequest", "rights-csr"),
        ("podcertificaterequest", "rights-pod"),
    ] {
        until(
            "the signature of the request to begin",
            PATIENCE,
            async || {
                let signing =
                    |line: &Value| line["event"] == "signing" && line["request"]["name"] == name;
                Ok(rig
                    .controller()
                    .issuance_log()?
                    .iter()
                    .any(signing)
                    .then_some(()))
            },
        )
        .await?;
        let label = ["label", "--namespace", "default", kind, name, "touched=yes"];
        rig.cluster().plane().kubectl(&label).await?;
    }
    signal_workers(rig, "CONT")?;
    requests.reaches("rights-request", "Issued").await?;
    csrs.is_issued("rights-csr").await?;

    // The controller asks whether the author of this request may use an issuer of another namespace.
    let foreign = IssuerName::namespaced(TENANT, "secret");
    let spec = signing_request_spec(&foreign, &csr_for("web.example")?);
    csrs.create("rights-foreign", spec, json!({})).await?;
    csrs.approve("rights-foreign").await?;
    csrs.until("rights-foreign", |status| {
        status.condition("Failed").is_some()
    })
    .await?;
    Ok(())
}

/// Creates the trust bundle of an issuer that was deleted long ago: all its anchors have retired.
async fn retired_bundle(rig: &Rig) -> Result<()> {
    let signer = "pkcs11clusterissuers.pkcs11-issuer.dev/long-gone";
    let pem = rig.authority().root().pem();
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes())?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &block.contents);
    let retiring = BTreeMap::from([(hex::encode(digest), "2020-01-01T00:00:00Z")]);
    let bundle = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle",
        "metadata": {
            "name": format!("{}:trust-anchors", signer.replace('/', ":")),
            "labels": {"app.kubernetes.io/managed-by": "pkcs11-issuer"},
            "annotations": {"pkcs11-issuer.dev/retiring": serde_json::to_string(&retiring)?},
        },
        "spec": {"signerName": signer, "trustBundle": pem},
    });
    rig.cluster().apply(&bundle).await?;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "namespace": NAMESPACE, "name": "pkcs11-issuer-trust-long-gone",
            "labels": {"pkcs11-issuer.dev/trust": "roots"},
            "annotations": {
                "pkcs11-issuer.dev/issuer": "long-gone",
                "pkcs11-issuer.dev/retiring": serde_json::to_string(&retiring)?,
            },
        },
        "data": {"ca.crt": pem},
    });
    rig.cluster().apply(&map).await
}

/// Creates an issuer with a CRL, and makes another CRL due. The second one replaces the octets of the first.
async fn two_crls(rig: &Rig) -> Result<()> {
    let issuer = IssuerName::cluster("with-crls");
    let mut spec = rig.authority().issuer_spec();
    for validity in ["168h", "24h"] {
        spec["crl"] = json!({"validity": validity});
        rig.cluster().apply_issuer(&issuer, &spec).await?;
        let what = format!("a CRL that is valid for {validity}");
        let hours: i64 = validity.trim_end_matches('h').parse()?;
        until(&what, PATIENCE, async || {
            let lasts = |line: &Value| {
                let time = |of: &str| line["crl"][of].as_str()?.parse::<jiff::Timestamp>().ok();
                let ends = time("nextUpdate")?;
                Some(time("thisUpdate")?.duration_until(ends).as_hours())
            };
            let log = rig.controller().issuance_log()?;
            let mut signed = log.iter().filter(|line| line["event"] == "crl-signed");
            Ok(signed.any(|line| lasts(line) == Some(hours)).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Runs the controller with checkpoints that an Ed25519 key on its token signs, until the last one is archived.
async fn signed_checkpoints(rig: &Rig) -> Result<()> {
    rig.authority().generate_checkpoint_key(KeyKind::Ed25519)?;
    let configuration = rig.authority().configuration_with_checkpoints(&[TENANT]);
    rig.controller().configure(&configuration.to_string())?;
    rig.controller().restart().await?;
    rig.cluster().issuer_is_ready(&issuer()).await?;
    let key = rig.controller().verifier_key().await?;
    rig.controller().stop().await?;
    let (code, told) = verify(&key, &[rig.controller().issuance_log_path().to_owned()])?;
    ensure!(code == Some(0), "{told}");
    ensure!(
        told.contains(&format!(
            "the key {key} signed the checkpoint over the first"
        )),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn every_right_that_the_chart_gives_is_used_and_none_is_missing() -> Result<()> {
    let flags = [
        "--pod-certificate-requests",
        "--cluster-trust-bundles",
        "--crl-address=127.0.0.1:0",
        "--revoke-deleted-certificates",
        "--trust-config-maps",
        "--reissue",
    ];
    let values = json!({
        "podCertificateRequests": true,
        "clusterTrustBundles": true,
        "trustConfigMaps": true,
        "reissue": true,
        "audit": Authority::checkpoints(),
        "crl": {"enabled": true, "onDelete": true},
    });
    let rig = own_rig_with(&flags, values).await?;
    issuers_with_objects(&rig).await?;
    requests_of_every_kind(&rig).await?;
    reissued::reissued(&rig).await?;
    two_crls(&rig).await?;
    revocations::revocations(&rig).await?;
    // The controller deletes its Lease when it stops.
    rig.controller().stop().await?;
    signed_checkpoints(&rig).await?;
    // It must not be stopped while it deletes these: the API server's log would not say that it succeeded.
    retired_bundle(&rig).await?;
    rig.controller().restart().await?;
    rig.cluster().issuer_is_ready(&issuer()).await?;

    let rights = granted(&rig).await?;
    ensure!(rights.len() > 35, "{rights:?}");
    let rest = until("every right to be used", PATIENCE, async || {
        Ok(unused(&rig, &rights)?.is_empty().then_some(()))
    });
    if let Err(error) = rest.await {
        let unused: Vec<_> = unused(&rig, &rights)?
            .iter()
            .map(Right::to_string)
            .collect();
        return Err(error.context(format!("never used: {unused:?}")));
    }
    let log = rig.cluster().plane().audit_log()?.by(CONTROLLER);
    let refused: Vec<_> = log
        .answered(403)
        .iter()
        .map(|event| event.request_uri.clone())
        .collect();
    ensure!(refused.is_empty(), "missing: {refused:?}");

    // The check itself detects an unused right.
    let idle = Right::new("list", "secrets", None);
    let more = rights.into_iter().chain([idle.clone()]).collect();
    assert_eq!(unused(&rig, &more)?, [idle]);
    Ok(())
}
