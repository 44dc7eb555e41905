//! CRLs during a rollover: both CAs have them, and the former key goes on signing them after the switch.

use anyhow::{Context as _, Result};
use control_plane::until;
use pkcs11_issuer::issuance::crl::{CaId, RevocationReason};
use rig::{IssuerName, PATIENCE};
use serde_json::{Value, json};

use super::{Ca, reaches};
use crate::controller::{
    crls::{
        openssl_reads,
        outside::{Outsider, Published, ca_of, fetch, serial},
    },
    shared_rig,
};

/// Waits until the served CRL of a CA has these revocations, and verifies it under the CA's certificate.
async fn has_crl(address: &str, ca: &Ca, numbers: &[u32]) -> Result<CaId> {
    let pem = ca.issuing.pem();
    let id = ca_of(&pem)?;
    let der = until(&format!("the CRL of {}", ca.label), PATIENCE, async || {
        let Some(der) = fetch(address, &id, 0).await? else {
            return Ok(None);
        };
        let wanted = numbers.iter().map(|number| serial(*number)).collect();
        Ok((Published::read(&der)?.serials == wanted).then_some(der))
    })
    .await?;
    openssl_reads(&der, &pem)?;
    Ok(id)
}

#[tokio::test]
async fn the_former_key_signs_the_crls_of_its_ca_after_the_switch() -> Result<()> {
    let rig = shared_rig().await?;
    let cluster = rig.cluster();
    let issuer = IssuerName::cluster("rolls-crls");
    let (old, new) = (
        Ca::new(rig, "crls-old", 0x36)?,
        Ca::new(rig, "crls-new", 0x37)?,
    );
    let address = rig.controller().crl_address().await?;
    let spec = |switch: Value| {
        let mut spec = super::spec(&old, Some((&new, switch)));
        spec["podCertificates"].take();
        spec["crl"] = json!({"url": format!("http://{address}/crl")});
        spec
    };
    cluster.apply_issuer(&issuer, &spec(Value::Null)).await?;
    reaches(rig, &issuer, "NextTrusted").await?;
    let former = has_crl(&address, &old, &[]).await?;
    let next = has_crl(&address, &new, &[]).await?;

    cluster
        .apply_issuer(&issuer, &spec(json!({"now": true})))
        .await?;
    reaches(rig, &issuer, "SwitchedToNext").await?;
    let outsider = Outsider::start(cluster).await?;
    outsider
        .revoke(&former, 1, RevocationReason::KeyCompromise)
        .await?;
    outsider
        .revoke(&next, 2, RevocationReason::KeyCompromise)
        .await?;
    has_crl(&address, &old, &[1]).await?;
    has_crl(&address, &new, &[2]).await?;
    let status = cluster.issuer_status(&issuer).await?;
    let published = status.condition("CRLPublished").context("no condition")?;
    assert_eq!(published.reason, "CrlPublished");
    outsider.stop().await
}
