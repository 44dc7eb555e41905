//! Tests a Certificate over its life: loss, change, renewal, history, deletion.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use rig::IssuerName;
use serde_json::json;

use super::{
    NAMESPACE, both, domain,
    issued::{Issued, names},
    named,
    objects::{CERTIFICATE, Objects, revision},
    validations,
};

/// Runs a test with an issuer of each kind concurrently.
async fn with_both(
    rule: &str,
    play: impl AsyncFn(Objects, String, IssuerName) -> Result<()>,
) -> Result<()> {
    let [cluster, namespaced] = both();
    let one = async |(kind, issuer): (&str, IssuerName)| {
        play(Objects::new().await?, named(rule, kind), issuer).await
    };
    tokio::try_join!(Box::pin(one(cluster)), Box::pin(one(namespaced)))?;
    Ok(())
}

#[tokio::test]
async fn a_lost_certificate_is_issued_again_for_the_same_key() -> Result<()> {
    let rule = "a_lost_certificate_is_issued_again_for_the_same_key";
    with_both(rule, async |objects, name, issuer| {
        let spec = json!({"dnsNames": [domain(rule)], "privateKey": {"rotationPolicy": "Never"}});
        objects.create_certificate(&name, &issuer, spec).await?;
        let first = Issued::wait(&objects, &name).await?;
        validations::all(&first, &[])?;

        let lost = Patch::Merge(json!({"data": {"tls.crt": ""}}));
        let secrets = objects.known::<Secret>(NAMESPACE);
        secrets.patch(&name, &PatchParams::default(), &lost).await?;
        objects
            .until(&objects.of(CERTIFICATE, NAMESPACE), &name, |certificate| {
                certificate.data["status"]["revision"].as_i64() > Some(1)
            })
            .await?;
        let second = Issued::wait(&objects, &name).await?;
        validations::all(&second, &[])?;
        ensure!(
            first.leaf_der() != second.leaf_der(),
            "the certificate is still the same"
        );
        ensure!(
            first.public_half()? == second.public_half()?,
            "the key has changed"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_new_dns_name_gets_a_new_certificate() -> Result<()> {
    let rule = "a_new_dns_name_gets_a_new_certificate";
    with_both(rule, async |objects, name, issuer| {
        let old = domain(rule);
        let spec = json!({"dnsNames": [old]});
        objects.create_certificate(&name, &issuer, spec).await?;
        validations::all(&Issued::wait(&objects, &name).await?, &[])?;
        let new = format!("new.{old}");
        objects
            .change_certificate(&name, json!({"dnsNames": [old, new]}))
            .await?;
        let second = Issued::wait(&objects, &name).await?;
        validations::all(&second, &[])?;
        ensure!(
            names(&second.leaf()?)?.dns == BTreeSet::from([old, new]),
            "the new name is missing"
        );
        Ok(())
    })
    .await
}

/// cert-manager accepts no duration below an hour. notBefore is a minute in the past, so the certificate ends in 59 minutes
/// and is due for renewal 58 minutes and 57 seconds before its end.
#[tokio::test]
async fn a_certificate_is_renewed_before_it_ends_with_a_new_key() -> Result<()> {
    let rule = "a_certificate_is_renewed_before_it_ends_with_a_new_key";
    with_both(rule, async |objects, name, issuer| {
        let spec = json!({"dnsNames": [domain(rule)], "duration": "1h", "renewBefore": "58m57s"});
        objects.create_certificate(&name, &issuer, spec).await?;
        let first = Issued::wait(&objects, &name).await?;
        let certificates = objects.of(CERTIFICATE, NAMESPACE);
        let renewed = |certificate: &kube::api::DynamicObject| {
            let revision = certificate.data["status"]["revision"].as_i64();
            revision.is_some_and(|revision| revision > 1)
        };
        objects.until(&certificates, &name, renewed).await?;
        // Stop further renewals while the test looks at the certificate.
        objects
            .change_certificate(&name, json!({"renewBefore": "30m"}))
            .await?;
        let second = Issued::wait(&objects, &name).await?;
        validations::all(&second, &[])?;
        let ends = |issued: &Issued| anyhow::Ok(issued.leaf()?.validity().not_after.timestamp());
        ensure!(
            ends(&second)? > ends(&first)?,
            "the new certificate does not end later"
        );
        ensure!(
            first.public_half()? != second.public_half()?,
            "the key is the same"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_revision_history_keeps_the_newest_requests_only() -> Result<()> {
    let rule = "a_revision_history_keeps_the_newest_requests_only";
    with_both(rule, async |objects, name, issuer| {
        let spec = json!({"dnsNames": [domain(rule)], "revisionHistoryLimit": 2});
        objects.create_certificate(&name, &issuer, spec).await?;
        Issued::wait(&objects, &name).await?;
        for change in 1..=3 {
            let names = [domain(rule), format!("change-{change}.{}", domain(rule))];
            objects
                .change_certificate(&name, json!({"dnsNames": names}))
                .await?;
            Issued::wait(&objects, &name).await?;
        }
        control_plane::until("two requests to be left", rig::PATIENCE, async || {
            let certificate = objects.of(CERTIFICATE, NAMESPACE).get(&name).await?;
            let newest = certificate.data["status"]["revision"].as_u64().unwrap_or(0);
            let left = objects.requests_of(&name).await?;
            let revisions: Vec<_> = left.iter().map(revision).collect();
            Ok((newest >= 4 && revisions == [newest - 1, newest]).then_some(()))
        })
        .await?;
        Ok(())
    })
    .await
}

/// cert-manager reuses the name of a deleted request for the next one; our controller tells them apart by UID.
#[tokio::test]
async fn a_certificate_of_the_same_name_as_a_deleted_one_is_issued_anew() -> Result<()> {
    let rule = "a_certificate_of_the_same_name_as_a_deleted_one_is_issued_anew";
    with_both(rule, async |objects, name, issuer| {
        let certificates = objects.of(CERTIFICATE, NAMESPACE);
        let mut requests = Vec::new();
        for _ in 0..2 {
            // Keep the first request, whatever comes after it.
            let spec = json!({"dnsNames": [domain(rule)], "revisionHistoryLimit": 5});
            objects.create_certificate(&name, &issuer, spec).await?;
            validations::all(&Issued::wait(&objects, &name).await?, &[])?;
            let own = objects.requests_of(&name).await?;
            let request = own.first().context("the Certificate has no request")?;
            ensure!(revision(request) == 1, "the first request is gone");
            requests.push((request.metadata.name.clone(), request.metadata.uid.clone()));
            objects.delete(&certificates, &name).await?;
            objects
                .known::<Secret>(NAMESPACE)
                .delete(&name, &Default::default())
                .await?;
            control_plane::until("the requests to be collected", rig::PATIENCE, async || {
                Ok(objects.requests_of(&name).await?.is_empty().then_some(()))
            })
            .await?;
        }
        let [first, second] = requests.as_slice() else {
            anyhow::bail!("expected two requests");
        };
        ensure!(first.0 == second.0, "the second request has another name");
        ensure!(
            first.1.as_ref().context("no UID")? != second.1.as_ref().context("no UID")?,
            "both requests have the same UID"
        );
        Ok(())
    })
    .await
}
