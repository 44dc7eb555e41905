//! Tests requests of every kind, with every answer that the controller writes to their status.

use anyhow::{Context as _, Result};
use control_plane::until;
use rig::{PATIENCE, csr_for, request_spec, signing_request_spec};
use serde_json::{Value, json};
use x509_parser::{
    certification_request::X509CertificationRequest,
    pem::{Pem, parse_x509_pem},
    prelude::FromDer as _,
};

use super::{
    Meanwhile, meddle, meddle_with_status, metadata_of_new,
    stage::{HERE, Stage, stage},
};
use crate::{
    controller::{issuer, pods},
    whole::{Ours, condition},
};

/// An answer of the controller and the request that gets it.
struct Row {
    /// The answer, which is also the prefix of the request's name.
    answer: &'static str,
    /// The change that makes a valid request get this answer.
    change: fn(&mut Value),
    /// The approver's decision.
    judged: &'static str,
    ours: Ours,
}

const CERTIFICATE_REQUESTS: [Row; 4] = [
    Row {
        answer: "Issued",
        change: |_| {},
        judged: "Approved",
        ours: Ours {
            fields: &["/status/certificate", "/status/ca"],
            conditions: &["Ready"],
        },
    },
    Row {
        answer: "Failed",
        change: |request| request["spec"]["duration"] = json!("-1h"),
        judged: "Approved",
        ours: Ours {
            fields: &["/status/failureTime"],
            conditions: &["Ready"],
        },
    },
    Row {
        answer: "Denied",
        change: |_| {},
        judged: "Denied",
        ours: Ours {
            fields: &["/status/failureTime"],
            conditions: &["Ready"],
        },
    },
    Row {
        answer: "Pending",
        change: |request| request["spec"]["issuerRef"]["name"] = json!("nobody"),
        judged: "Approved",
        ours: Ours {
            fields: &[],
            conditions: &["Ready"],
        },
    },
];

const SIGNING_REQUESTS: [Row; 2] = [
    Row {
        answer: "Issued",
        change: |_| {},
        judged: "Approved",
        ours: Ours {
            fields: &["/status/certificate"],
            conditions: &[],
        },
    },
    Row {
        answer: "Failed",
        change: |request| {
            let duration = "experimental.cert-manager.io/request-duration";
            request["metadata"]["annotations"][duration] = json!("soon");
        },
        judged: "Approved",
        ours: Ours {
            fields: &[],
            conditions: &["Failed"],
        },
    },
];

const POD_REQUESTS: [Row; 2] = [
    Row {
        answer: "Issued",
        change: |_| {},
        judged: "",
        ours: Ours {
            fields: &[
                "/status/certificateChain",
                "/status/notBefore",
                "/status/notAfter",
                "/status/beginRefreshAt",
            ],
            conditions: &["Issued"],
        },
    },
    Row {
        answer: "Denied",
        change: |request| {
            request["spec"]["unverifiedUserAnnotations"] = json!({"example.com/a": "b"});
        },
        judged: "",
        ours: Ours {
            fields: &[],
            conditions: &["Denied"],
        },
    },
];

/// Returns every row for every kind of concurrent edit.
fn cases(rows: &'static [Row]) -> impl Iterator<Item = (String, &'static Row, Meanwhile)> {
    let both = [("alone", Meanwhile::Nothing), ("met", Meanwhile::Noticed)];
    rows.iter().flat_map(move |row| {
        both.map(|(how, meanwhile)| {
            let name = format!("{}-{how}", row.answer.to_lowercase());
            (name, row, meanwhile)
        })
    })
}

#[tokio::test]
async fn answering_a_certificate_request_keeps_the_fields_of_others() -> Result<()> {
    let stage = stage().await?;
    let requests = stage.cluster.requests(HERE).await?;
    for (name, row, meanwhile) in cases(&CERTIFICATE_REQUESTS) {
        let mut request = json!({
            "apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest",
            "metadata": metadata_of_new(Some(HERE), &name),
            "spec": request_spec(&issuer(), &csr_for("web.example")?),
        });
        (row.change)(&mut request);
        stage.cluster.apply(&request).await?;
        let kind = "certificaterequests.cert-manager.io";
        stage.audit(kind, &name).await?;
        let path = format!("/apis/cert-manager.io/v1/namespaces/{HERE}/certificaterequests/{name}");
        watch(stage, &path, meanwhile, meddle_with_status);
        match row.judged {
            "Denied" => requests.deny(&name).await?,
            _ => requests.approve(&name).await?,
        }
        let after = checked(stage, &path, row, meanwhile).await?;
        assert_eq!(condition(&after, "Ready")["reason"], row.answer, "{after}");
    }
    Ok(())
}

#[tokio::test]
async fn answering_a_kubernetes_csr_keeps_the_fields_of_others() -> Result<()> {
    let stage = stage().await?;
    let requests = stage.cluster.signing_requests("others-maker").await?;
    for (name, row, meanwhile) in cases(&SIGNING_REQUESTS) {
        let mut request = json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": metadata_of_new(None, &name),
            "spec": signing_request_spec(&issuer(), &csr_for("web.example")?),
        });
        (row.change)(&mut request);
        stage.cluster.apply(&request).await?;
        let kind = "certificatesigningrequests.certificates.k8s.io";
        stage.audit(kind, &name).await?;
        let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}");
        watch(stage, &path, meanwhile, meddle_with_status);
        requests.approve(&name).await?;
        let after = checked(stage, &path, row, meanwhile).await?;
        let issued = after["status"]["certificate"].is_string();
        assert_eq!(issued, row.answer == "Issued", "{after}");
        assert_eq!(condition(&after, "Failed").is_null(), issued, "{after}");
    }
    Ok(())
}

#[tokio::test]
async fn answering_a_pod_keeps_the_fields_of_others() -> Result<()> {
    let stage = stage().await?;
    for (name, row, meanwhile) in cases(&POD_REQUESTS) {
        let metadata = metadata_of_new(Some(HERE), &name);
        let mut request = pods::request(metadata, &issuer().signer_name(), json!({}))?;
        (row.change)(&mut request);
        let path =
            format!("/apis/certificates.k8s.io/v1/namespaces/{HERE}/podcertificaterequests/{name}");
        watch(stage, &path, meanwhile, meddle);
        stage.cluster.apply(&request).await?;
        let after = checked(stage, &path, row, meanwhile).await?;
        assert_eq!(condition(&after, row.answer)["status"], "True", "{after}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_replaces_another_does_not_get_its_certificate() -> Result<()> {
    let stage = stage().await?;
    let requests = stage.cluster.signing_requests("others-replacer").await?;
    let name = "replaced";
    let (first, second) = (csr_for("web.example")?, csr_for("web.example")?);
    let request = |csr: &str| {
        json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": name}, "spec": signing_request_spec(&issuer(), csr),
        })
    };
    let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}");
    let another = request(&second);
    let replace = Box::new(move |_: &Value| another);
    stage.between.watch(&path, Some(replace));
    stage.cluster.apply(&request(&first)).await?;
    requests.approve(name).await?;
    let refused = stage.between.tried(&path).await?;
    assert_eq!((refused.code, &refused.after), (409, &refused.before));
    requests.approve(name).await?;
    let chain = requests.is_issued(name).await?;
    let (leaf, csr) = (first_pem(chain.as_bytes())?, first_pem(second.as_bytes())?);
    let (_, csr) = X509CertificationRequest::from_der(&csr.contents)?;
    let key = csr.certification_request_info.subject_pki.raw;
    assert_eq!(leaf.parse_x509()?.public_key().raw, key);
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_deleted_before_publication_is_not_created_again() -> Result<()> {
    let stage = stage().await?;
    let requests = stage.cluster.signing_requests("others-deleter").await?;
    let name = "deleted";
    let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}");
    let delete = Box::new(|_: &Value| Value::Null);
    stage.between.watch(&path, Some(delete));
    let spec = signing_request_spec(&issuer(), &csr_for("web.example")?);
    requests.create(name, spec, json!({})).await?;
    requests.approve(name).await?;
    let refused = stage.between.tried(&path).await?;
    assert_eq!((refused.code, &refused.after), (404, &Value::Null));
    until("the certificate to be discarded", PATIENCE, async || {
        let record = stage.controller.issuance_log()?;
        let told = |line: &Value| line["event"] == "discarded" && line["request"]["name"] == name;
        Ok(record.iter().any(told).then_some(()))
    })
    .await
}

fn first_pem(text: &[u8]) -> Result<Pem> {
    Ok(parse_x509_pem(text)?.1)
}

fn watch(stage: &Stage, path: &str, meanwhile: Meanwhile, meddle: fn(&Value) -> Value) {
    stage.between.watch(path, meanwhile.edit(meddle));
}

/// Waits for the write, checks that it changed only our fields, and returns the object after it.
async fn checked(stage: &Stage, path: &str, row: &Row, meanwhile: Meanwhile) -> Result<Value> {
    let writes = stage.between.writes(path).await?;
    let write = meanwhile.check(&writes, row.ours);
    Ok(write.with_context(|| path.to_owned())?.after)
}
