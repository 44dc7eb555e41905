//! Tests the checkpoints in Leases, and the archive of last checkpoints of replicas that are gone.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use control_plane::{ControlPlane, until};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{Api, ResourceExt as _};
use pkcs11_issuer::audit::SignedHead;
use rig::{CONTROLLER, NAMESPACE, PATIENCE};
use serde_json::json;

use super::{OBJECTS, Running, leases, plane, some_but_not_all};

/// Returns a head of the run with this number. Leases do not verify its signature.
fn head(run: u64, size: u64) -> Result<SignedHead> {
    let root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
    let note = format!("prod/a/{run:016x}\n{size}\n{root}\n\n\u{2014} prod AAAAAAA=\n");
    SignedHead::parse(&note, Some(size)).context("not a head")
}

/// Returns run and size of each checkpoint in the archive.
async fn archived(plane: &ControlPlane) -> Result<BTreeSet<(u64, u64)>> {
    let maps = Api::<ConfigMap>::namespaced(plane.admin().await?, NAMESPACE);
    let map = maps.get("pkcs11-issuer-log-heads").await?;
    let notes = map.data.unwrap_or_default().into_values();
    notes
        .map(|note| {
            let head = SignedHead::parse(&note, None).context("not a head")?;
            Ok((u64::from_str_radix(head.run(), 16)?, head.size()))
        })
        .collect()
}

/// Fails unless a renewal writes the replica's newest checkpoint into its Lease, and another replica sees it.
pub(super) async fn checkpoint_is_shown(plane: &ControlPlane, a: &Running) -> Result<()> {
    // The next renewal writes the checkpoint, and so does every later one.
    let newest = head(1, 7)?;
    a.head.send_replace(Some(newest.clone()));
    until("the checkpoint in the Lease", PATIENCE, async || {
        let lease = super::lease(plane, "a").await?;
        let shown = lease.annotations().get("pkcs11-issuer.dev/checkpoint");
        Ok(shown
            .is_some_and(|note| note == newest.note())
            .then_some(()))
    })
    .await?;
    let lease = super::lease(plane, "a").await?;
    assert_eq!(
        lease.annotations()["pkcs11-issuer.dev/checkpoint-events"],
        "7"
    );
    let b = Running::start(plane, "b", &["issuing"]).await?;
    until("another replica to see it", PATIENCE, async || {
        Ok((b.ownership.heads() == [newest.clone()]).then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_abandoned_lease_is_deleted_a_lease_of_another_program_is_left_alone_and_checkpoints_are_kept()
-> Result<()> {
    let plane = plane().await?;
    let lease = |name: &str, annotations: serde_json::Value| {
        serde_json::json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "namespace": NAMESPACE,
                "name": name,
                "labels": {"pkcs11-issuer.dev/lease": "membership"},
                "annotations": annotations,
            },
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 3},
        })
        .to_string()
    };
    let of_run = |run| {
        Ok::<_, anyhow::Error>(json!({
            "pkcs11-issuer.dev/tokens": "issuing",
            "pkcs11-issuer.dev/checkpoint": head(run, 5)?.note(),
            "pkcs11-issuer.dev/checkpoint-events": "5",
        }))
    };
    plane.apply(&lease("gone", of_run(1)?)).await?;
    plane.apply(&lease("of-a-pod", of_run(2)?)).await?;
    plane
        .apply(&lease("foreign", serde_json::json!({})))
        .await?;
    let a = Running::start(&plane, "a", &["issuing"]).await?;
    a.owns("issuing", some_but_not_all).await?;

    // Kubernetes deletes the Lease of a pod together with the pod.
    let delete = ["-n", NAMESPACE, "delete", "lease", "of-a-pod"];
    plane.kubectl(&delete).await?;
    // One replica stops before a renewal has written its last checkpoint. Another replica crashes and starts again.
    let b = Running::start(&plane, "b", &["issuing"]).await?;
    b.owns("issuing", |owned| owned > 0).await?;
    b.head.send_replace(Some(head(3, 6)?));
    b.leaves().await?;
    let c = Running::start(&plane, "c", &["issuing"]).await?;
    c.head.send_replace(Some(head(4, 7)?));
    until("the checkpoint in the Lease", PATIENCE, async || {
        let lease = super::lease(&plane, "c").await;
        let shows = |lease: Lease| lease.annotations().len() > 1;
        Ok(lease.is_ok_and(shows).then_some(()))
    })
    .await?;
    c.crash().await;
    let c = Running::start(&plane, "c", &["issuing"]).await?;
    c.owns("issuing", |owned| owned > 0).await?;
    assert!(
        archived(&plane)
            .await?
            .is_superset(&[(3, 6), (4, 7)].into())
    );
    c.leaves().await?;

    a.owns("issuing", |owned| owned == OBJECTS).await?;
    until("the abandoned Lease to be deleted", PATIENCE, async || {
        let names: Vec<String> = leases(&plane).await?.iter().map(Lease::name_any).collect();
        Ok((!names.contains(&"gone".to_owned())).then_some(names))
    })
    .await
    .map(|names| assert!(names.contains(&"foreign".to_owned()), "{names:?}"))?;

    // The last checkpoint of a run is kept however its Lease was deleted or reused, and a running replica learns of it.
    let all = BTreeSet::from([(1, 5), (2, 5), (3, 6), (4, 7)]);
    until("every checkpoint to be archived", PATIENCE, async || {
        Ok((archived(&plane).await? == all).then_some(()))
    })
    .await?;
    let seen = |replica: &Running| -> BTreeSet<(u64, u64)> {
        let heads = replica.ownership.heads().into_iter();
        heads
            .filter_map(|head| Some((u64::from_str_radix(head.run(), 16).ok()?, head.size())))
            .collect()
    };
    until("the replica to know them", PATIENCE, async || {
        Ok((seen(&a) == all).then_some(()))
    })
    .await?;
    let refused = plane.audit_log()?.by(CONTROLLER);
    assert!(refused.answered(403).is_empty());
    Ok(())
}
