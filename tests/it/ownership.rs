//! Tests that replicas divide the work through Leases on a real API server, with the controller's own rights.

mod archive;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use control_plane::{ControlPlane, Options, until};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt as _};
use pkcs11_issuer::{
    audit::SignedHead,
    metrics::Metrics,
    ownership::{Announcement, OwnPod, Ownership, Replica},
};
use rig::{CONTROLLER, NAMESPACE, PATIENCE, apply_rights};
use serde_json::json;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::whole::{Ours, of_others};

const SECONDS: u64 = 3;
/// Number of objects to divide.
const OBJECTS: usize = 200;

/// Starts a control plane with the controller's namespace and rights.
async fn plane() -> Result<ControlPlane> {
    let plane = ControlPlane::start(Options::default()).await?;
    plane.kubectl(&["create", "namespace", NAMESPACE]).await?;
    let checkpoints = json!({"token": "any", "key": "audit"});
    let values = json!({"audit": {"cluster": "prod", "checkpoints": checkpoints}});
    apply_rights(&plane, &values).await?;
    Ok(plane)
}

/// A replica that runs as a task of this process, with its own client.
struct Running {
    identity: String,
    ownership: Arc<Ownership>,
    usable: watch::Sender<BTreeSet<String>>,
    head: watch::Sender<Option<SignedHead>>,
    leave: oneshot::Sender<Instant>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(plane: &ControlPlane, identity: &str, tokens: &[&str]) -> Result<Self> {
        Self::start_in(plane, identity, &format!("uid of {identity}"), tokens).await
    }

    /// Starts a replica in the pod with this UID.
    async fn start_in(
        plane: &ControlPlane,
        identity: &str,
        pod: &str,
        tokens: &[&str],
    ) -> Result<Self> {
        let account = plane.service_account(NAMESPACE, "pkcs11-issuer")?;
        let (usable, seen) = watch::channel(names(tokens));
        let (head, newest) = watch::channel(None);
        let replica = Replica {
            identity: identity.to_owned(),
            namespace: NAMESPACE.to_owned(),
            pod: Some(OwnPod {
                name: identity.to_owned(),
                uid: pod.to_owned(),
            }),
            duration: format!("{SECONDS}s").parse()?,
        };
        let (ownership, membership) = Ownership::new(
            plane.client(&account).await?,
            replica,
            Announcement {
                usable: seen,
                head: Some(newest),
            },
            || Timestamp::UNIX_EPOCH,
            Arc::new(Metrics::new("0.1.0", "unknown")),
        );
        let (leave, told) = oneshot::channel();
        Ok(Self {
            identity: identity.to_owned(),
            ownership,
            usable,
            head,
            task: tokio::spawn(membership.run(told)),
            leave,
        })
    }

    /// Waits until the number of a token's objects that this replica owns meets a condition.
    async fn owns(&self, token: &str, wanted: impl Fn(usize) -> bool) -> Result<()> {
        until(
            "the replica to have the expected share",
            PATIENCE,
            async || Ok(wanted(self.owned(token)).then_some(())),
        )
        .await
        .with_context(|| {
            format!(
                "the replica owns {} of {OBJECTS} objects",
                self.owned(token)
            )
        })
    }

    fn owned(&self, token: &str) -> usize {
        (0..OBJECTS)
            .filter(|number| self.ownership.owns(Some(token), &format!("uid {number}")))
            .count()
    }

    /// Ends the replica like a killed process, without giving back its Lease.
    async fn crash(self) {
        self.task.abort();
        // The result only says that the task was aborted.
        drop(self.task.await);
    }

    async fn leaves(self) -> Result<()> {
        self.leaves_within(PATIENCE).await
    }

    /// Ends the replica like SIGTERM. Fails if that takes longer than `within`.
    async fn leaves_within(self, within: Duration) -> Result<()> {
        let by = Instant::now() + within;
        self.leave.send(by).ok().context("it has ended")?;
        let ended = timeout_at(by, self.task).await;
        Ok(ended.context("it does not leave in time")??)
    }

    /// Returns run and size of each checkpoint that the replica knows, of Leases and of the archive.
    fn knows(&self) -> BTreeSet<(u64, u64)> {
        let heads = self.ownership.heads().into_iter();
        heads
            .filter_map(|head| Some((u64::from_str_radix(head.run(), 16).ok()?, head.size())))
            .collect()
    }

    /// Waits until the replica knows these checkpoints and no other.
    async fn learns(&self, expected: &BTreeSet<(u64, u64)>) -> Result<()> {
        until("the checkpoints to be known", PATIENCE, async || {
            Ok((self.knows() == *expected).then_some(()))
        })
        .await
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn leases(plane: &ControlPlane) -> Result<Vec<Lease>> {
    let leases = Api::<Lease>::namespaced(plane.admin().await?, NAMESPACE);
    Ok(leases.list(&Default::default()).await?.items)
}

async fn lease(plane: &ControlPlane, identity: &str) -> Result<Lease> {
    let leases = Api::<Lease>::namespaced(plane.admin().await?, NAMESPACE);
    Ok(leases.get(&format!("pkcs11-issuer-{identity}")).await?)
}

fn some_but_not_all(owned: usize) -> bool {
    (1..OBJECTS).contains(&owned)
}

#[tokio::test]
async fn a_lease_says_who_holds_it_for_how_long_with_which_tokens_and_the_newest_checkpoint()
-> Result<()> {
    let plane = plane().await?;
    let a = Running::start(&plane, "a", &["issuing", "payments"]).await?;
    a.owns("issuing", |owned| owned == OBJECTS).await?;
    let lease = lease(&plane, "a").await?;
    assert_eq!(lease.labels()["pkcs11-issuer.dev/lease"], "membership");
    assert_eq!(
        lease.annotations()["pkcs11-issuer.dev/tokens"],
        "issuing,payments"
    );
    let owner = &lease.owner_references()[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("Pod", "a"));
    let spec = lease.spec.context("no spec")?;
    assert_eq!(spec.holder_identity.as_deref(), Some("a"));
    assert_eq!(spec.lease_duration_seconds, Some(3));
    archive::checkpoint_is_shown(&plane, &a).await
}

#[tokio::test]
async fn every_object_has_one_owner_and_a_replica_that_leaves_hands_over_at_once() -> Result<()> {
    let plane = plane().await?;
    let a = Running::start(&plane, "a", &["issuing"]).await?;
    a.owns("issuing", |owned| owned == OBJECTS).await?;
    let b = Running::start(&plane, "b", &["issuing"]).await?;
    b.owns("issuing", some_but_not_all).await?;
    a.owns("issuing", some_but_not_all).await?;
    assert_eq!(a.owned("issuing") + b.owned("issuing"), OBJECTS);
    assert_eq!(a.ownership.share("issuing").get(), 2);
    b.leaves().await?;
    assert_eq!(leases(&plane).await?.len(), 1);
    // The replica deleted its Lease: an abandoned Lease is kept for ten lease durations.
    a.owns("issuing", |owned| owned == OBJECTS).await?;
    let refused = plane.audit_log()?.by(CONTROLLER);
    assert!(refused.answered(403).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_token_that_becomes_usable_or_unusable_moves_only_its_objects() -> Result<()> {
    let plane = plane().await?;
    let a = Running::start(&plane, "a", &["issuing", "payments"]).await?;
    let b = Running::start(&plane, "b", &["issuing", "payments"]).await?;
    a.owns("payments", some_but_not_all).await?;
    b.owns("payments", some_but_not_all).await?;
    b.usable.send_replace(names(&["issuing"]));
    a.owns("payments", |owned| owned == OBJECTS).await?;
    assert_eq!(b.owned("payments"), 0);
    assert!(some_but_not_all(b.owned("issuing")));
    a.usable.send_replace(names(&["issuing"]));
    // A replica must own these objects to report that no replica can sign.
    b.owns("payments", some_but_not_all).await?;
    b.usable.send_replace(names(&["issuing", "payments"]));
    b.owns("payments", |owned| owned == OBJECTS).await?;
    Ok(())
}

#[tokio::test]
async fn the_share_of_a_replica_that_crashed_moves_when_its_lease_expires_and_back_when_it_starts()
-> Result<()> {
    let plane = plane().await?;
    let a = Running::start(&plane, "a", &["issuing"]).await?;
    let b = Running::start(&plane, "b", &["issuing"]).await?;
    b.owns("issuing", some_but_not_all).await?;
    a.owns("issuing", some_but_not_all).await?;
    b.crash().await;
    a.owns("issuing", |owned| owned == OBJECTS).await?;
    let b = Running::start(&plane, "b", &["issuing"]).await?;
    b.owns("issuing", some_but_not_all).await?;
    a.owns("issuing", some_but_not_all).await?;
    let spec = lease(&plane, "b").await?.spec.context("no spec")?;
    assert_eq!(
        spec.lease_transitions,
        Some(1),
        "the new process took over the Lease"
    );
    Ok(())
}

#[tokio::test]
async fn a_lease_that_is_taken_over_keeps_what_others_wrote() -> Result<()> {
    let plane = plane().await?;
    let first = Running::start_in(&plane, "a", "first", &["issuing"]).await?;
    first.owns("issuing", |owned| owned == OBJECTS).await?;
    first.crash().await;
    let mut owners = serde_json::to_value(lease(&plane, "a").await?.owner_references())?;
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "other"});
    owners.as_array_mut().context("no list")?.push(other);
    let others = json!({"metadata": {
        "labels": {"example.com/team": "others"},
        "annotations": {"example.com/note": "kept"},
        "finalizers": ["example.com/hold"],
        "ownerReferences": owners,
    }});
    let words = ["-n", NAMESPACE, "patch", "lease", "pkcs11-issuer-a"];
    let others = others.to_string();
    let patch = ["--type=merge", "-p", &others];
    plane.kubectl(&[&words[..], &patch].concat()).await?;
    let before = serde_json::to_value(lease(&plane, "a").await?)?;

    let second = Running::start_in(&plane, "a", "second", &["payments"]).await?;
    second.owns("payments", |owned| owned == OBJECTS).await?;
    let after = serde_json::to_value(lease(&plane, "a").await?)?;
    let ours = Ours {
        fields: &[
            "/spec/leaseTransitions",
            "/metadata/annotations/pkcs11-issuer.dev~1tokens",
            "/metadata/ownerReferences",
        ],
        conditions: &[],
    };
    assert_eq!(of_others(&after, ours), of_others(&before, ours));
    let owner = |uid: &str| {
        let owners = after["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|all| all.iter().any(|owner| owner["uid"] == uid))
    };
    assert!(owner("other") && owner("second"), "{after:#}");
    Ok(())
}

#[tokio::test]
async fn of_two_processes_with_one_identity_the_later_one_signs() -> Result<()> {
    let plane = plane().await?;
    let earlier = Running::start(&plane, "a", &["issuing"]).await?;
    earlier.owns("issuing", |owned| owned == OBJECTS).await?;
    let later = Running::start(&plane, "a", &["issuing"]).await?;
    later.owns("issuing", |owned| owned == OBJECTS).await?;
    earlier.owns("issuing", |owned| owned == 0).await?;
    let mut held = earlier.ownership.held();
    held.wait_for(|held| !held).await?;
    // The earlier process signs again once the later one has left.
    later.leaves().await?;
    earlier.owns("issuing", |owned| owned == OBJECTS).await?;
    Ok(())
}

#[tokio::test]
async fn without_an_api_server_no_replica_signs_and_afterwards_each_has_its_share_back()
-> Result<()> {
    let plane = plane().await?;
    let a = Running::start(&plane, "a", &["issuing"]).await?;
    let b = Running::start(&plane, "b", &["issuing"]).await?;
    a.owns("issuing", some_but_not_all).await?;
    b.owns("issuing", some_but_not_all).await?;
    let before = (a.owned("issuing"), b.owned("issuing"));
    plane.stop_api_server();
    a.owns("issuing", |owned| owned == 0).await?;
    b.owns("issuing", |owned| owned == 0).await?;
    let mut changes = a.ownership.changes();
    plane.start_api_server().await?;
    a.owns("issuing", |owned| owned > 0).await?;
    b.owns("issuing", |owned| owned > 0).await?;
    assert_eq!(before, (a.owned("issuing"), b.owned("issuing")));
    // Objects that were skipped during the outage are looked at again.
    changes.changed().await?;
    Ok(())
}

#[tokio::test]
async fn a_lease_that_somebody_deletes_or_edits_is_written_again() -> Result<()> {
    let plane = plane().await?;
    let a = Running::start(&plane, "a", &["issuing"]).await?;
    a.owns("issuing", |owned| owned == OBJECTS).await?;
    let before = lease(&plane, "a").await?.uid();
    plane
        .kubectl(&["-n", NAMESPACE, "delete", "lease", "pkcs11-issuer-a"])
        .await?;
    until("another Lease", PATIENCE, async || {
        let leases = leases(&plane).await?;
        Ok(leases
            .iter()
            .any(|lease| lease.uid().is_some() && lease.uid() != before)
            .then_some(()))
    })
    .await?;
    let edit = "pkcs11-issuer.dev/tokens=none";
    let words = ["-n", NAMESPACE, "annotate", "--overwrite", "lease"];
    plane
        .kubectl(&[&words[..], &["pkcs11-issuer-a", edit]].concat())
        .await?;
    until("the tokens again", PATIENCE, async || {
        let lease = lease(&plane, "a").await?;
        Ok((lease.annotations()["pkcs11-issuer.dev/tokens"] == "issuing").then_some(()))
    })
    .await?;
    assert_eq!(a.owned("issuing"), OBJECTS);
    Ok(())
}
