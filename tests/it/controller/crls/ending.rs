//! CRLs of several shards when a replica ends and starts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    http::{StatusCode, Uri},
};
use control_plane::until;
use parking_lot::Mutex;
use pkcs11_issuer::issuance::crl::{CaId, RevocationReason};
use rig::{NAMESPACE, PATIENCE};
use serde_json::json;

use super::outside::{Outsider, Published, ca_of, fetch, serial};
use crate::controller::{counted::Counted, ending::ends, issuer};

const SHARDS: u16 = 4;
/// So many that no shard is without one.
const REVOCATIONS: u32 = 60;

/// What the URL of the CRLs serves, by path.
type Mirror = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Serves a mirror, and returns the URL under which it has CRLs.
async fn serve(mirror: &Mirror) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/crl", listener.local_addr()?);
    let mirror = Arc::clone(mirror);
    let router = Router::new().fallback(async move |uri: Uri| {
        let found = mirror.lock().get(uri.path()).cloned();
        found.ok_or(StatusCode::NOT_FOUND)
    });
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(url)
}

/// Waits until every shard is served, with all of these revocations together, and returns the CRLs.
async fn served(case: &Counted, ca: &CaId, revoked: u32) -> Result<Vec<Published>> {
    let address = case.controller.crl_address().await?;
    let wanted: BTreeSet<_> = (0..revoked).map(serial).collect();
    until("every shard with every revocation", PATIENCE, async || {
        let mut crls = Vec::new();
        for shard in 0..SHARDS {
            let Some(der) = fetch(&address, ca, shard).await.ok().flatten() else {
                return Ok(None);
            };
            crls.push(Published::read(&der)?);
        }
        let found: BTreeSet<_> = crls.iter().flat_map(|crl| crl.serials.clone()).collect();
        Ok((found == wanted).then_some(crls))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_while_it_signs_crls_loses_nothing_and_a_lost_state_is_seen_at_the_url()
-> Result<()> {
    let values = json!({"crl": {"enabled": true}});
    let flags = ["--crl-address=127.0.0.1:0", "--drain-timeout=6s"];
    let case = Counted::start_with(&flags, Some(values), |_| {}).await?;
    let mirror = Mirror::default();
    let ca = ca_of(&case.authority.issuing().pem())?;
    let mut spec = case.authority.issuer_spec();
    spec["crl"] = json!({"url": serve(&mirror).await?, "shards": SHARDS});
    case.cluster.apply_issuer(&issuer(), &spec).await?;
    let first = served(&case, &ca, 0).await?;

    let outsider = Outsider::start(&case.cluster).await?;
    case.library.rules("C_Sign delay_ms=2000")?;
    let before = case.signatures()?;
    for number in 0..REVOCATIONS {
        outsider
            .revoke(&ca, number, RevocationReason::Superseded)
            .await?;
    }
    until("a CRL to be at the token", PATIENCE, async || {
        Ok((case.signatures()? > before).then_some(()))
    })
    .await?;
    ends(&case, "a CRL is being signed").await?;

    case.library.rules("")?;
    case.controller.restart().await?;
    let second = served(&case, &ca, REVOCATIONS).await?;
    for (shard, (one, next)) in first.iter().zip(&second).enumerate() {
        assert!(!next.serials.is_empty(), "shard {shard}");
        assert!(one.number < next.number, "shard {shard}");
    }
    case.controller.verified_issuance_log()?;
    outsider.stop().await?;

    for (shard, crl) in second.iter().enumerate() {
        let path = format!("/crl/{ca}/{shard}.crl");
        mirror.lock().insert(path, crl.der.clone());
    }
    ends(&case, "at rest").await?;
    let lost = ["delete", "configmap", "-n", NAMESPACE, "-l"];
    let lost = [&lost[..], &["pkcs11-issuer.dev/crl"]].concat();
    case.cluster.plane().kubectl(&lost).await?;
    case.controller.restart().await?;
    let status = case
        .cluster
        .issuer_reaches(&issuer(), |status| {
            let condition = status.condition("CRLPublished");
            condition.is_some_and(|condition| condition.reason == "StateOlderThanPublished")
        })
        .await?;
    let condition = status.condition("CRLPublished").context("no condition")?;
    assert!(condition.message.contains("crl import"), "{condition:?}");
    let address = case.controller.crl_address().await?;
    for shard in 0..SHARDS {
        let found = fetch(&address, &ca, shard).await?;
        assert!(found.is_none(), "shard {shard} un-revokes certificates");
    }
    Ok(())
}
