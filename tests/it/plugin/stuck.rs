//! `explain` names the step that holds each of these requests, all made for real.

use std::{cell::RefCell, time::Duration};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::{IssuerName, PATIENCE, csr_for, request_spec, signing_request_spec};
use serde_json::{Value, json};

use super::{
    BARE, SHOP,
    stage::{Stage, stage},
};

/// A CertificateRequest that does not become a certificate.
struct Row {
    name: &'static str,
    issuer: &'static str,
    /// What the approver does: `Approved`, `Denied` or nothing.
    judged: &'static str,
    /// What differs from a good request.
    change: fn(&mut Value),
    held_by: &'static str,
    /// Part of what the step says.
    says: &'static str,
    /// Part of the first command that is recommended.
    next: &'static str,
}

/// A row whose request is good and approved, so that only the issuer holds it.
const fn by(issuer: &'static str, held_by: &'static str, says: &'static str) -> Row {
    Row {
        name: issuer,
        issuer,
        judged: "Approved",
        change: |_| {},
        held_by,
        says,
        next: "kubectl pkcs11-issuer status",
    }
}

const ROWS: &[Row] = &[
    Row {
        name: "not-approved",
        judged: "",
        next: "cmctl approve -n shop not-approved",
        ..by("issuing", "approval", "nobody has approved or denied it")
    },
    Row {
        name: "denied",
        judged: "Denied",
        next: "kubectl describe certificaterequest -n shop denied",
        ..by(
            "issuing",
            "approval",
            "an approver denied it: judged by the rig",
        )
    },
    Row {
        name: "wrong-group",
        change: |spec| {
            spec["issuerRef"] =
                json!({"name": "ca", "kind": "ClusterIssuer", "group": "cert-manager.io"});
        },
        next: "kubectl describe certificaterequest",
        ..by(
            "issuing",
            "request",
            "ClusterIssuer ca of the group cert-manager.io",
        )
    },
    Row {
        name: "wrong-kind",
        // The webhook lets nobody approve it.
        judged: "",
        change: |spec| spec["issuerRef"]["kind"] = json!("PKCS11issuer"),
        next: "kubectl describe certificaterequest",
        ..by(
            "issuing",
            "request",
            "PKCS11issuer issuing of the group pkcs11-issuer.dev",
        )
    },
    Row {
        name: "no-issuer",
        next: "kubectl get pkcs11clusterissuers,pkcs11issuers",
        ..by(
            "missing",
            "issuer",
            "PKCS11ClusterIssuer missing does not exist",
        )
    },
    Row {
        name: "of-another-namespace",
        change: |spec| {
            spec["issuerRef"] = json!({"name": "not-granted", "kind": "PKCS11Issuer", "group": "pkcs11-issuer.dev"});
        },
        next: "kubectl get pkcs11clusterissuers,pkcs11issuers",
        ..by(
            "issuing",
            "issuer",
            "serves only the requests of its own namespace",
        )
    },
    Row {
        next: "kubectl get leases",
        ..by("other-class", "issuer", "no controller has looked")
    },
    by("no-certificate", "issuer", "CertificateMissing"),
    by("expired", "issuer", "CertificateExpired"),
    by("no-key", "token", "KeyNotFound"),
    by("other-key", "token", "KeyMismatch"),
    by("no-token", "token", "TokenUnknown"),
    by("token-gone", "token", "TokenUnavailable"),
    by("pin-not-taken", "token", "PinNotTaken"),
    by("contradicts", "policy", "ProfileInvalid"),
    Row {
        name: "name-not-allowed",
        change: |spec| spec["request"] = request("web.bank.example"),
        next: "kubectl pkcs11-issuer why-refused -n shop name-not-allowed",
        ..by("issuing", "policy", "refused: san-not-allowed")
    },
    Row {
        name: "bad-name",
        change: |spec| spec["request"] = request("*.*.shop.example"),
        next: "kubectl pkcs11-issuer why-refused -n shop bad-name",
        ..by("issuing", "policy", "refused: bad-san")
    },
    Row {
        name: "for-too-long",
        change: |spec| spec["duration"] = json!("100000h"),
        next: "kubectl pkcs11-issuer why-refused -n shop for-too-long",
        ..by("issuing", "policy", "refused: duration-too-long")
    },
    Row {
        name: "for-a-ca",
        change: |spec| {
            spec["isCA"] = json!(true);
            spec["usages"] = json!(["cert sign"]);
        },
        next: "kubectl pkcs11-issuer why-refused -n shop for-a-ca",
        ..by("issuing", "policy", "refused: ca-not-allowed")
    },
    Row {
        next: "kubectl pkcs11-issuer why-refused -n shop selective",
        ..by("selective", "policy", "refused: namespace-not-selected")
    },
    Row {
        name: "ended",
        change: |spec| spec["duration"] = json!("2s"),
        next: "kubectl describe certificaterequest -n shop ended",
        ..by("issuing", "result", "its certificate ended")
    },
];

fn request(name: &str) -> Value {
    let csr = csr_for(name).unwrap();
    request_spec(&IssuerName::cluster("issuing"), &csr)["request"].clone()
}

/// Waits until this step holds the request, and checks what is said and recommended.
async fn is_held(
    stage: &Stage,
    target: &[&str],
    held_by: &str,
    says: &str,
    next: &str,
) -> Result<()> {
    let admin = stage.admin();
    let words = [&["explain"], target].concat();
    let last = RefCell::new(Value::Null);
    let what = format!("{target:?} to be held");
    let held = until(&what, PATIENCE, async || {
        let (code, explained) = super::json(&admin, &words)?;
        let steps = explained["steps"].as_array().context("no steps")?;
        let held = steps.iter().find(|step| step["state"] == "holds");
        let said = held.and_then(|held| held["says"].as_str());
        let right = explained["heldBy"] == held_by && said.is_some_and(|said| said.contains(says));
        ensure!(!right || code == Some(3), "exit code {code:?}");
        last.replace(explained);
        Ok(right.then_some(()))
    });
    let done = held.await;
    let last = last.into_inner();
    done.with_context(|| format!("expected {held_by}: {says}\n{last:#}"))?;
    let first = last["next"][0].as_str().unwrap_or_default();
    ensure!(first.starts_with(next), "{target:?}: {last:#}");
    ensure!(
        last["advice"]
            .as_str()
            .is_some_and(|advice| !advice.is_empty()),
        "{last:#}"
    );
    ensure!(last["unknown"].is_null(), "{last:#}");
    Ok(())
}

#[tokio::test]
async fn explain_names_the_step_that_holds_each_stuck_certificate_request() -> Result<()> {
    let stage = stage().await?;
    let requests = stage.cluster.requests(SHOP).await?;
    for row in ROWS {
        let csr = csr_for("web.shop.example")?;
        let mut spec = request_spec(&IssuerName::cluster(row.issuer), &csr);
        (row.change)(&mut spec);
        match row.judged {
            "Approved" => {
                let created = requests.create_approved(row.name, spec).await;
                created.with_context(|| row.name)?;
            }
            "Denied" => {
                requests.create(row.name, spec).await?;
                requests.deny(row.name).await?;
            }
            _ => drop(requests.create(row.name, spec).await?),
        }
    }
    assert!(ROWS.len() >= 20, "{}", ROWS.len());
    let mut wrong = Vec::new();
    for row in ROWS {
        let target = [row.name, "-n", SHOP];
        let held = is_held(stage, &target, row.held_by, row.says, row.next).await;
        wrong.extend(held.err().map(|error| format!("{}: {error:#}", row.name)));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn explain_names_the_missing_grant_and_the_limit() -> Result<()> {
    let stage = stage().await?;
    let bare = stage.cluster.requests(BARE).await?;
    let spec = request_spec(
        &IssuerName::namespaced(BARE, "not-granted"),
        &csr_for("a.example")?,
    );
    bare.create_approved("web", spec).await?;
    is_held(
        stage,
        &["web", "-n", BARE],
        "policy",
        "NotGranted",
        "kubectl pkcs11-issuer status",
    )
    .await?;
    let shop = stage.cluster.requests(SHOP).await?;
    for number in 0..30 {
        let spec = request_spec(&IssuerName::cluster("slow"), &csr_for("web.example")?);
        shop.create_approved(&format!("slow-{number}"), spec)
            .await?;
    }
    is_held(
        stage,
        &["slow-29", "-n", SHOP],
        "limit",
        "it waits for its turn: PKCS11ClusterIssuer slow has 1 signatures a second, 1 at once",
        "kubectl pkcs11-issuer requests --issuer slow",
    )
    .await
}

#[tokio::test]
async fn explain_names_the_step_that_holds_a_kubernetes_csr() -> Result<()> {
    let stage = stage().await?;
    let requests = stage.cluster.signing_requests("stranger").await?;
    let of_shop = IssuerName::namespaced(SHOP, "of-shop");
    let issuing = IssuerName::cluster("issuing");
    for (name, issuer, judged, held_by, says, next) in [
        (
            "node-1",
            &issuing,
            "",
            "approval",
            "nobody has approved",
            "kubectl certificate approve node-1",
        ),
        (
            "node-2",
            &issuing,
            "Denied",
            "approval",
            "judged by the rig",
            "kubectl describe",
        ),
        (
            "node-3",
            &of_shop,
            "Approved",
            "policy",
            "reference-denied",
            "kubectl pkcs11-issuer why-refused csr/node-3",
        ),
        (
            "node-4",
            &IssuerName::cluster("no-key"),
            "Approved",
            "token",
            "KeyNotFound",
            "kubectl pkcs11-issuer status no-key",
        ),
        (
            "node-5",
            &IssuerName::cluster("missing"),
            "Approved",
            "issuer",
            "does not exist",
            "kubectl get",
        ),
    ] {
        let spec = signing_request_spec(issuer, &csr_for("web.shop.example")?);
        requests.create(name, spec, json!({})).await?;
        match judged {
            "Approved" => requests.approve(name).await?,
            "Denied" => requests.deny(name).await?,
            _ => {}
        }
        is_held(stage, &[&format!("csr/{name}")], held_by, says, next).await?;
    }
    Ok(())
}

fn certificate(name: &str, issuer: &Value) -> Value {
    json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"namespace": SHOP, "name": name},
        "spec": {"secretName": name, "dnsNames": ["web.bank.example"], "issuerRef": issuer},
    })
}

#[tokio::test]
async fn explain_follows_a_certificate_to_its_newest_request() -> Result<()> {
    let stage = stage().await?;
    let issuing = IssuerName::cluster("issuing").reference();
    stage.cluster.apply(&certificate("site", &issuing)).await?;
    let target = ["certificate/site", "-n", SHOP];
    is_held(
        stage,
        &target,
        "approval",
        "nobody has approved",
        "cmctl approve -n shop site-1",
    )
    .await?;
    let requests = stage.cluster.requests(SHOP).await?;
    requests.approve("site-1").await?;
    is_held(
        stage,
        &target,
        "policy",
        "san-not-allowed",
        "kubectl pkcs11-issuer why-refused",
    )
    .await?;
    let cas = json!({"name": "ca", "kind": "Issuer", "group": "cert-manager.io"});
    stage.cluster.apply(&certificate("foreign", &cas)).await?;
    is_held(
        stage,
        &["foreign", "-n", SHOP],
        "request",
        "Issuer ca",
        "kubectl describe",
    )
    .await
}

#[tokio::test]
async fn explain_says_that_no_controller_runs_of_ours_or_of_cert_manager() -> Result<()> {
    let stage = Stage::start().await?;
    stage.controller.kill();
    let requests = stage.cluster.requests(SHOP).await?;
    let spec = request_spec(
        &IssuerName::cluster("issuing"),
        &csr_for("web.shop.example")?,
    );
    requests.create_approved("web", spec).await?;
    let says = "no replica of the controller in namespace pkcs11-issuer-system has a live Lease";
    is_held(
        &stage,
        &["web", "-n", SHOP],
        "issuer",
        says,
        "kubectl get pods,leases -n pkcs11-issuer-system",
    )
    .await?;
    let cert_manager = stage.cluster.cert_manager()?.controller();
    cert_manager.kill();
    cert_manager.wait(Duration::from_secs(10)).await?;
    let issuing = IssuerName::cluster("issuing").reference();
    stage.cluster.apply(&certificate("site", &issuing)).await?;
    is_held(
        &stage,
        &["site", "-n", SHOP],
        "certificate",
        "cert-manager has not",
        "kubectl logs -n cert-manager",
    )
    .await
}
