//! Revocation with cert-manager, from the CertificateRevocation to verifiers that fetch the CRL from the URL in the certificate.
//! These tests prove the claims of `docs/revocation.md`.

mod tools;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::api::{DynamicObject, Patch, PatchParams};
use rig::{IssuerName, NAMESPACE as OPERATORS, csr_for};
use serde_json::{Value, json};

use self::tools::{Checked, proof, run_audit_certificate, verdicts};
use super::{
    NAMESPACE,
    issued::Issued,
    objects::{CERTIFICATE, Objects, REQUEST, condition},
    stage::{REVOKING, stage},
};

const REVOCATION: (&str, &str) = ("pkcs11-issuer.dev/v1alpha1", "CertificateRevocation");

fn issuer() -> IssuerName {
    IssuerName::cluster(REVOKING)
}

/// The Certificates of this module, issued at the same time.
struct World {
    objects: Objects,
    issued: BTreeMap<&'static str, Issued>,
}

impl World {
    async fn of(names: &[&'static str]) -> Result<Self> {
        let objects = Objects::new().await?;
        for name in names {
            let spec = json!({"dnsNames": [format!("{name}.example")], "privateKey": {"algorithm": "ECDSA"}});
            objects.create_certificate(name, &issuer(), spec).await?;
        }
        let mut issued = BTreeMap::new();
        for name in names {
            issued.insert(*name, Issued::wait(&objects, name).await?);
        }
        Ok(Self { objects, issued })
    }

    fn get(&self, name: &str) -> Result<&Issued> {
        self.issued.get(name).with_context(|| name.to_owned())
    }

    fn pem(&self, name: &str) -> Result<String> {
        Ok(String::from_utf8(self.get(name)?.data("tls.crt")?)?)
    }

    fn serial(&self, name: &str) -> Result<String> {
        let leaf = self.get(name)?.leaf()?;
        Ok(hex::encode(leaf.raw_serial()))
    }

    /// Returns the name of the last CertificateRequest of a Certificate.
    async fn request(&self, name: &str) -> Result<String> {
        let requests = self.objects.requests_of(name).await?;
        let last = requests.last().context("no request")?;
        last.metadata.name.clone().context("no name")
    }

    /// Creates a revocation by this issuer.
    async fn revoke(
        &self,
        namespace: &str,
        name: &str,
        issuer: &IssuerName,
        spec: Value,
    ) -> Result<()> {
        let mut spec = spec;
        spec["issuerRef"] = issuer.reference();
        if spec["reason"].is_null() {
            spec["reason"] = "KeyCompromise".into();
        }
        self.objects
            .create(json!({
                "apiVersion": REVOCATION.0,
                "kind": REVOCATION.1,
                "metadata": {"namespace": namespace, "name": name},
                "spec": spec,
            }))
            .await?;
        Ok(())
    }

    /// Waits until a condition of a revocation has this reason.
    async fn reaches(
        &self,
        namespace: &str,
        name: &str,
        type_: &str,
        reason: &str,
    ) -> Result<DynamicObject> {
        let api = self.objects.of(REVOCATION, namespace);
        let reached = self
            .objects
            .until(&api, name, |one| condition(one, type_)["reason"] == reason);
        reached.await.with_context(|| format!("{name}: {reason}"))
    }
}

#[tokio::test]
async fn a_certificate_is_revoked_in_each_allowed_way_and_verifiers_refuse_it_and_no_other()
-> Result<()> {
    let revoked = [
        "rv-request",
        "rv-proof",
        "rv-certificate",
        "rv-serial",
        "rv-any",
        "rv-deleted",
    ];
    let names: Vec<_> = revoked.into_iter().chain(["rv-good"]).collect();
    let (world, stage) = (World::of(&names).await?, stage().await?);
    let all: Vec<_> = names
        .iter()
        .map(|name| Checked::new(name, world.get(name)?))
        .collect::<Result<_>>()?;
    for (name, verdict) in verdicts(&all, stage.root()).await? {
        ensure!(verdict.is_good(), "{name} before: {verdict:?}");
    }

    let request = world.request("rv-request").await?;
    let by_request = json!({"certificateRequestRef": {"name": request}});
    let secret = world.get("rv-proof")?;
    let proof = proof(&secret.data("tls.crt")?, &secret.data("tls.key")?)?;
    let by_proof = json!({"certificate": world.pem("rv-proof")?, "proof": proof});
    let by_certificate = json!({"certificate": world.pem("rv-certificate")?});
    let by_serial = json!({"serialNumber": world.serial("rv-serial")?});
    // The issuer of this namespace has the key of the cluster issuer, and its grant says revokeAny.
    let by_any = json!({"serialNumber": world.serial("rv-any")?});
    let own = IssuerName::namespaced(NAMESPACE, REVOKING);
    for (name, namespace, issuer, spec) in [
        ("rv-request", NAMESPACE, issuer(), by_request),
        ("rv-proof", NAMESPACE, issuer(), by_proof),
        ("rv-certificate", OPERATORS, issuer(), by_certificate),
        ("rv-serial", OPERATORS, issuer(), by_serial),
        ("rv-any", NAMESPACE, own, by_any),
    ] {
        world.revoke(namespace, name, &issuer, spec).await?;
        let published = world.reaches(namespace, name, "Published", "OnCrl").await?;
        ensure!(
            published.data["status"]["serialNumber"] == world.serial(name)?,
            "{}",
            published.data
        );
    }
    let uid = world.get("rv-deleted")?.certificate.metadata.uid.clone();
    let certificates = world.objects.of(CERTIFICATE, NAMESPACE);
    world.objects.delete(&certificates, "rv-deleted").await?;
    let deleted = format!("deleted-{}", uid.context("no UID")?);
    world
        .reaches(OPERATORS, &deleted, "Published", "OnCrl")
        .await?;

    for (name, verdict) in verdicts(&all, stage.root()).await? {
        match name.as_str() {
            "rv-good" => ensure!(verdict.is_good(), "{name}: {verdict:?}"),
            _ => ensure!(verdict.is_revoked(), "{name}: {verdict:?}"),
        }
    }
    let told = run_audit_certificate(
        &world.serial("rv-request")?,
        stage.controller().issuance_log_path(),
    )?;
    for step in ["signed", "revoked", "revocation-published"] {
        ensure!(told.contains(step), "{step} is missing: {told}");
    }
    ensure!(
        told.contains(&format!("revocation {NAMESPACE}/rv-request")),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn a_hold_ends_only_by_its_own_object_and_the_certificate_is_good_again() -> Result<()> {
    let (world, stage) = (World::of(&["rv-hold", "rv-final"]).await?, stage().await?);
    let request = world.request("rv-hold").await?;
    let hold = json!({"certificateRequestRef": {"name": request}, "reason": "CertificateHold"});
    world
        .revoke(NAMESPACE, "rv-hold", &issuer(), hold.clone())
        .await?;
    world
        .reaches(NAMESPACE, "rv-hold", "Published", "OnCrl")
        .await?;
    let checked = [Checked::new("rv-hold", world.get("rv-hold")?)?];
    for (_, verdict) in verdicts(&checked, stage.root()).await? {
        ensure!(verdict.is_revoked(), "{verdict:?}");
    }

    let mut others = hold;
    others["release"] = true.into();
    world
        .revoke(NAMESPACE, "rv-others-hold", &issuer(), others)
        .await?;
    world
        .reaches(NAMESPACE, "rv-others-hold", "Accepted", "HeldByOthers")
        .await?;
    let revocations = world.objects.of(REVOCATION, NAMESPACE);
    let change = |spec: Value| Patch::Merge(json!({"spec": spec}));
    let params = PatchParams::default();
    revocations
        .patch("rv-hold", &params, &change(json!({"release": true})))
        .await?;
    world
        .reaches(NAMESPACE, "rv-hold", "Accepted", "Released")
        .await?;
    tools::until_good(&checked, stage.root()).await?;

    // Nothing else changes, and nothing else can be released.
    for spec in [
        json!({"release": false}),
        json!({"reason": "Superseded"}),
        json!({"certificateRequestRef": {"name": "other"}}),
    ] {
        let changed = revocations.patch("rv-hold", &params, &change(spec)).await;
        ensure!(changed.is_err(), "{changed:?}");
    }
    let request = world.request("rv-final").await?;
    let by_request = json!({"certificateRequestRef": {"name": request}});
    world
        .revoke(NAMESPACE, "rv-final", &issuer(), by_request.clone())
        .await?;
    world
        .reaches(NAMESPACE, "rv-final", "Published", "OnCrl")
        .await?;
    let mut other = by_request;
    other["reason"] = "Superseded".into();
    world
        .revoke(NAMESPACE, "rv-other-reason", &issuer(), other)
        .await?;
    world
        .reaches(NAMESPACE, "rv-other-reason", "Accepted", "AlreadyRevoked")
        .await?;
    // Deleting the object un-revokes nothing.
    world.objects.delete(&revocations, "rv-final").await?;
    let checked = [Checked::new("rv-final", world.get("rv-final")?)?];
    for (_, verdict) in verdicts(&checked, stage.root()).await? {
        ensure!(verdict.is_revoked(), "{verdict:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_replaced_before_it_is_revoked() -> Result<()> {
    let (world, stage) = (World::of(&["rv-renewed"]).await?, stage().await?);
    let request = world.request("rv-renewed").await?;
    let spec =
        json!({"certificateRequestRef": {"name": request}, "renew": true, "reason": "Superseded"});
    world
        .revoke(NAMESPACE, "rv-renewed", &issuer(), spec)
        .await?;
    world
        .reaches(NAMESPACE, "rv-renewed", "Published", "OnCrl")
        .await?;
    let renewed = Issued::wait(&world.objects, "rv-renewed").await?;
    ensure!(renewed.leaf()?.raw_serial() != world.get("rv-renewed")?.leaf()?.raw_serial());
    let checked = [
        Checked::new("old", world.get("rv-renewed")?)?,
        Checked::new("new", &renewed)?,
    ];
    for (name, verdict) in verdicts(&checked, stage.root()).await? {
        match name.as_str() {
            "new" => ensure!(verdict.is_good(), "{verdict:?}"),
            _ => ensure!(verdict.is_revoked(), "{verdict:?}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_tenant_revokes_what_it_does_not_hold() -> Result<()> {
    let (world, stage) = (
        World::of(&["rv-victim", "rv-tenant"]).await?,
        stage().await?,
    );
    let victim = world.pem("rv-victim")?;
    // A request of the tenant, in whose status somebody has put the certificate of the victim.
    let csr = STANDARD.encode(csr_for("tenant.example")?.as_bytes());
    let request = json!({
        "apiVersion": REQUEST.0, "kind": REQUEST.1,
        "metadata": {"namespace": NAMESPACE, "name": "rv-forged"},
        "spec": {
            "request": csr, "issuerRef": issuer().reference(),
            "usages": ["digital signature", "server auth"],
        },
    });
    world.objects.create(request).await?;
    let requests = world.objects.of(REQUEST, NAMESPACE);
    let is_issued = |one: &DynamicObject| condition(one, "Ready")["reason"] == "Issued";
    world
        .objects
        .until(&requests, "rv-forged", is_issued)
        .await?;
    let forged = json!({"status": {"certificate": STANDARD.encode(victim.as_bytes())}});
    let params = PatchParams::default();
    requests
        .patch_status("rv-forged", &params, &Patch::Merge(forged))
        .await?;

    let tenant = world.get("rv-tenant")?;
    let (chain, key) = (tenant.data("tls.crt")?, tenant.data("tls.key")?);
    let own_proof = proof(&chain, &key)?;
    let mut attempts = vec![
        (
            json!({"certificateRequestRef": {"name": "rv-forged"}}),
            "KeyMismatch",
        ),
        (
            json!({"certificateRequestRef": {"name": "of-nobody"}}),
            "RequestNotFound",
        ),
        (json!({"certificate": victim}), "ProofMissing"),
        (
            json!({"certificate": victim, "proof": own_proof}),
            "ProofWrong",
        ),
        (
            json!({"serialNumber": world.serial("rv-victim")?}),
            "SerialNotAllowed",
        ),
        (
            json!({"certificate": world.pem("rv-tenant")?, "proof": own_proof, "invalidityDate": "2999-01-01T00:00:00Z"}),
            "InvalidityDateInvalid",
        ),
    ];
    attempts.push((
        json!({"certificate": stage.root(), "proof": own_proof}),
        "ProofWrong",
    ));
    for (number, (spec, reason)) in attempts.into_iter().enumerate() {
        let name = format!("rv-attempt-{number}");
        world.revoke(NAMESPACE, &name, &issuer(), spec).await?;
        world.reaches(NAMESPACE, &name, "Accepted", reason).await?;
    }
    // An issuer without CRLs, and none at all.
    for (name, issuer, reason) in [
        ("rv-no-crl", super::LIKE_THE_CA_ISSUER, "CrlNotEnabled"),
        ("rv-no-issuer", "of-nobody", "IssuerNotFound"),
    ] {
        let spec = json!({"certificateRequestRef": {"name": "rv-forged"}});
        let issuer = IssuerName::cluster(issuer);
        world.revoke(NAMESPACE, name, &issuer, spec).await?;
        world.reaches(NAMESPACE, name, "Accepted", reason).await?;
    }
    let checked = [
        Checked::new("rv-victim", world.get("rv-victim")?)?,
        Checked::new("rv-tenant", tenant)?,
    ];
    for (name, verdict) in verdicts(&checked, stage.root()).await? {
        ensure!(verdict.is_good(), "{name}: {verdict:?}");
    }
    Ok(())
}
