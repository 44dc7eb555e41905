//! Tests the checkpoints in Leases, and the archive of last checkpoints of replicas that are gone.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result};
use control_plane::{ControlPlane, until};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{Api, ResourceExt as _, api::Patch};
use pkcs11_issuer::audit::SignedHead;
use rig::{CONTROLLER, NAMESPACE, PATIENCE};
use serde_json::json;

use super::{OBJECTS, Running, leases, plane, some_but_not_all};

const ARCHIVE: &str = "pkcs11-issuer-log-heads";

/// Returns a head of the run with this number. Leases do not verify its signature.
fn head(run: u64, size: u64) -> Result<SignedHead> {
    let root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
    let note = format!("prod/a/{run:016x}\n{size}\n{root}\n\n\u{2014} prod AAAAAAA=\n");
    SignedHead::parse(&note, Some(size)).context("not a head")
}

/// Returns run and size of each checkpoint in the archive.
async fn archived(plane: &ControlPlane) -> Result<BTreeSet<(u64, u64)>> {
    let maps = Api::<ConfigMap>::namespaced(plane.admin().await?, NAMESPACE);
    let map = maps.get(ARCHIVE).await?;
    let notes = map.data.unwrap_or_default().into_values();
    notes
        .map(|note| {
            let head = SignedHead::parse(&note, None).context("not a head")?;
            Ok((u64::from_str_radix(head.run(), 16)?, head.size()))
        })
        .collect()
}

impl Running {
    /// Waits until the replica's Lease shows this checkpoint of its own.
    async fn shows(&self, plane: &ControlPlane, newest: SignedHead) -> Result<()> {
        self.head.send_replace(Some(newest.clone()));
        shown(plane, &self.identity, &newest).await
    }
}

/// Waits until a replica's Lease shows this checkpoint.
async fn shown(plane: &ControlPlane, identity: &str, newest: &SignedHead) -> Result<()> {
    until("the checkpoint in the Lease", PATIENCE, async || {
        let Ok(lease) = super::lease(plane, identity).await else {
            return Ok(None);
        };
        let shown = lease.annotations().get("pkcs11-issuer.dev/checkpoint");
        Ok(shown
            .is_some_and(|note| note == newest.note())
            .then_some(()))
    })
    .await
}

/// Deletes the ConfigMap, and returns it.
async fn without_archive(plane: &ControlPlane) -> Result<ConfigMap> {
    let maps = Api::<ConfigMap>::namespaced(plane.admin().await?, NAMESPACE);
    let mut map = maps.get(ARCHIVE).await?;
    maps.delete(ARCHIVE, &Default::default()).await?;
    map.metadata.resource_version = None;
    map.metadata.uid = None;
    Ok(map)
}

/// Fails unless a renewal writes the replica's newest checkpoint into its Lease, and another replica sees it.
pub(super) async fn checkpoint_is_shown(plane: &ControlPlane, a: &Running) -> Result<()> {
    // The next renewal writes the checkpoint, and so does every later one.
    let newest = head(1, 7)?;
    a.shows(plane, newest.clone()).await?;
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
    c.shows(&plane, head(4, 7)?).await?;
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
    a.learns(&all).await?;
    let refused = plane.audit_log()?.by(CONTROLLER);
    assert!(refused.answered(403).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_process_that_takes_over_a_lease_learns_the_last_checkpoint_of_the_crashed_one()
-> Result<()> {
    let plane = plane().await?;
    let first = Running::start(&plane, "a", &["issuing"]).await?;
    first.shows(&plane, head(1, 5)?).await?;
    first.crash().await;
    let second = Running::start(&plane, "a", &["issuing"]).await?;
    second.learns(&[(1, 5)].into()).await?;
    assert_eq!(archived(&plane).await?, [(1, 5)].into());
    Ok(())
}

#[tokio::test]
async fn without_its_archive_the_last_checkpoint_of_a_crashed_process_stays_in_the_lease_and_is_known()
-> Result<()> {
    let plane = plane().await?;
    let first = Running::start(&plane, "a", &["issuing"]).await?;
    first.shows(&plane, head(1, 5)?).await?;
    first.crash().await;
    let map = without_archive(&plane).await?;
    let second = Running::start(&plane, "a", &["issuing"]).await?;
    second.owns("issuing", |owned| owned == OBJECTS).await?;
    second.learns(&[(1, 5)].into()).await?;
    shown(&plane, "a", &head(1, 5)?).await?;
    // A third process still finds it there.
    second.crash().await;
    let third = Running::start(&plane, "a", &["issuing"]).await?;
    third.owns("issuing", |owned| owned == OBJECTS).await?;
    // Another replica that has seen it archives it once the Lease shows another run.
    let b = Running::start(&plane, "b", &["issuing"]).await?;
    b.learns(&[(1, 5)].into()).await?;
    third.shows(&plane, head(2, 3)?).await?;
    third.crash().await;
    let maps = Api::<ConfigMap>::namespaced(plane.admin().await?, NAMESPACE);
    maps.create(&Default::default(), &map).await?;
    until("the checkpoint to be archived", PATIENCE, async || {
        let archived = archived(&plane).await?;
        Ok(archived.contains(&(1, 5)).then_some(()))
    })
    .await?;
    assert_eq!(b.knows(), [(1, 5), (2, 3)].into());
    Ok(())
}

#[tokio::test]
async fn a_replica_that_stops_without_its_archive_leaves_its_last_checkpoint_in_a_lease_without_tokens()
-> Result<()> {
    let plane = plane().await?;
    let a = Running::start(&plane, "a", &["issuing"]).await?;
    let b = Running::start(&plane, "b", &["issuing"]).await?;
    b.owns("issuing", some_but_not_all).await?;
    let map = without_archive(&plane).await?;
    // No renewal has written this checkpoint when the replica stops.
    b.head.send_replace(Some(head(2, 9)?));
    b.leaves_within(Duration::from_secs(4)).await?;
    let left = super::lease(&plane, "b").await?;
    assert_eq!(left.annotations()["pkcs11-issuer.dev/tokens"], "");
    shown(&plane, "b", &head(2, 9)?).await?;
    // The other replica has all the work at once, as if the Lease were deleted.
    a.owns("issuing", |owned| owned == OBJECTS).await?;
    let maps = Api::<ConfigMap>::namespaced(plane.admin().await?, NAMESPACE);
    maps.create(&Default::default(), &map).await?;
    until("the checkpoint to be archived", PATIENCE, async || {
        Ok((archived(&plane).await? == [(2, 9)].into()).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_replica_that_stops_tries_to_archive_its_last_checkpoint_until_it_must_leave()
-> Result<()> {
    let plane = plane().await?;
    let a = Running::start(&plane, "a", &["issuing"]).await?;
    a.owns("issuing", |owned| owned == OBJECTS).await?;
    let map = without_archive(&plane).await?;
    a.head.send_replace(Some(head(1, 9)?));
    let mended = async {
        until("the replica to try in vain", PATIENCE, async || {
            let log = plane.audit_log()?.by(CONTROLLER);
            let missed = log.answered(404);
            let mut missed = missed.iter().map(|event| &event.request_uri);
            Ok(missed.any(|uri| uri.contains(ARCHIVE)).then_some(()))
        })
        .await?;
        let maps = Api::<ConfigMap>::namespaced(plane.admin().await?, NAMESPACE);
        maps.create(&Default::default(), &map).await?;
        anyhow::Ok(())
    };
    tokio::try_join!(a.leaves(), mended)?;
    assert_eq!(archived(&plane).await?, [(1, 9)].into());
    assert_eq!(leases(&plane).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_running_replica_learns_of_checkpoints_that_others_archive() -> Result<()> {
    let plane = plane().await?;
    let a = Running::start(&plane, "a", &["issuing"]).await?;
    a.owns("issuing", |owned| owned == OBJECTS).await?;
    assert_eq!(a.knows(), BTreeSet::new());
    let data = json!({"data": {"20260101T000000Z.0000000000000007": head(7, 4)?.note()}});
    let maps = Api::<ConfigMap>::namespaced(plane.admin().await?, NAMESPACE);
    maps.patch(ARCHIVE, &Default::default(), &Patch::Merge(data))
        .await?;
    a.learns(&[(7, 4)].into()).await
}
