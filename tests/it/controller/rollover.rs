//! An issuer rolls over to a new key while clients verify every certificate against the trust that is published at that moment.

mod client;
mod crls;
mod soak;

use std::{
    cell::{Cell, RefCell},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use control_plane::until;
use futures::{StreamExt as _, stream::FuturesUnordered};
use rig::{IssuerName, PATIENCE, Rig, Status, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaCertificate, CaProfile, KeyKind};
use tokio::time::{Instant, interval, sleep};

use self::client::Published;
use super::{openssl_verifies, pods};

/// How much a rollover is loaded.
#[derive(Clone, Copy)]
struct Load {
    /// Requests per second.
    per_second: u32,
    /// How long each step lasts at least.
    step: Duration,
}

/// The root and the issuing certificate of a CA whose issuing key is on the token.
pub(super) struct Ca {
    root: CaCertificate,
    pub(super) issuing: CaCertificate,
    label: String,
}

impl Ca {
    pub(super) fn new(rig: &Rig, name: &str, id: u8) -> Result<Self> {
        // A program of SoftHSM may not find a token whose objects another program creates at the same moment.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let token = rig.authority().token();
        let root = token
            .generate_key(&format!("{name}-root"), &[id], KeyKind::P256)?
            .self_signed(&CaProfile::named(&format!("{name} root")))?;
        let key = token.generate_key(name, &[id, 1], KeyKind::P256)?;
        let issuing = root.issue(&key, &CaProfile::named(name).path_length(0))?;
        Ok(Self {
            root,
            issuing,
            label: name.to_owned(),
        })
    }

    /// Returns the fields of an issuer, or of its `next`, for this CA.
    pub(super) fn fields(&self) -> Value {
        json!({
            "key": {"label": self.label},
            "certificate": {"pem": self.issuing.pem(), "rootPem": self.root.pem()},
        })
    }
}

/// Returns the specification of an issuer that has one CA, and perhaps another one as `next`.
fn spec(present: &Ca, next: Option<(&Ca, Value)>) -> Value {
    let mut spec = present.fields();
    spec["token"] = json!("issuing");
    spec["podCertificates"] = pods::pods();
    if let Some((next, switch)) = next {
        spec["next"] = next.fields();
        spec["next"]["switch"] = switch;
    }
    spec
}

/// Waits until the condition `RollingOver` has this reason.
async fn reaches(rig: &Rig, issuer: &IssuerName, reason: &str) -> Result<Status> {
    let reached = rig.cluster().issuer_reaches(issuer, |status| {
        let condition = status.condition("RollingOver");
        condition.is_some_and(|condition| condition.reason == reason)
    });
    reached.await.with_context(|| format!("not {reason}"))
}

/// Returns the reasons of the Events about an issuer that are about its CA, in order.
async fn told(rig: &Rig, issuer: &IssuerName) -> Result<Vec<String>> {
    let log = rig.cluster().plane().audit_log()?.writes();
    let log = log.by(rig::CONTROLLER).on("events").succeeded();
    let events = log.iter().filter_map(|event| event.request_object.as_ref());
    let about = events.filter(|event| event["regarding"]["name"] == issuer.name());
    let reasons = about.filter_map(|event| event["reason"].as_str().map(str::to_owned));
    Ok(reasons.filter(|reason| reason != "Ready").collect())
}

/// Rolls over under load, from the first root to the second, and moves the next CA into its place. Returns how many
/// certificates each CA has issued.
async fn roll(
    rig: &Rig,
    issuer: &IssuerName,
    [old, new]: [&Ca; 2],
    load: Load,
) -> Result<[usize; 2]> {
    let cluster = rig.cluster();
    cluster.apply_issuer(issuer, &spec(old, None)).await?;
    cluster.issuer_is_ready(issuer).await?;
    let published = Published::of(rig, issuer).await?;
    let done = Cell::new(false);
    let all = RefCell::new(Vec::new());
    let clients = async {
        let requests = cluster.requests("default").await?;
        let create = async |number: usize| {
            let spec = request_spec(issuer, &csr_for("web.example")?);
            let name = format!("{}-{number}", issuer.name());
            requests.create_approved(&name, spec).await
        };
        let mut issued = client::issued(rig, format!("{}-", issuer.name())).await?;
        let (mut creating, mut created, mut answered) = (FuturesUnordered::new(), 0, 0);
        let mut ticks = interval(Duration::from_secs(1) / load.per_second);
        while !done.get() || answered < created {
            tokio::select! {
                _ = ticks.tick(), if !done.get() => {
                    creating.push(create(created));
                    created += 1;
                }
                Some(made) = creating.next() => made?,
                Some(one) = issued.next() => {
                    let one = one?;
                    published.verify(&one)?;
                    answered += 1;
                    all.borrow_mut().push(one);
                }
                () = sleep(PATIENCE) => bail!("{answered} of {created} requests are answered"),
            }
        }
        anyhow::Ok(())
    };
    let step = || sleep(load.step);
    let steps = async {
        step().await;
        let trusted = spec(old, Some((new, Value::Null)));
        cluster.apply_issuer(issuer, &trusted).await?;
        reaches(rig, issuer, "NextTrusted").await?;
        step().await;
        let switched = spec(old, Some((new, json!({"now": true}))));
        cluster.apply_issuer(issuer, &switched).await?;
        reaches(rig, issuer, "SwitchedToNext").await?;
        step().await;
        cluster.apply_issuer(issuer, &spec(new, None)).await?;
        let moved = cluster.issuer_reaches(issuer, |status| {
            let status = status.json();
            status["rollover"].is_null() && status["retiring"][0]["until"].is_string()
        });
        moved.await?;
        step().await;
        done.set(true);
        anyhow::Ok(())
    };
    tokio::try_join!(clients, steps)?;
    let all = all.into_inner();
    // What was issued at first is still verified at the end, by clients that have only what is published now.
    for issued in &all {
        published.verify(issued)?;
    }
    let by = |ca: &Ca| {
        let issuing = ca.issuing.pem();
        all.iter()
            .filter(|issued| issued.chain.contains(&issuing))
            .count()
    };
    Ok([by(old), by(new)])
}

#[tokio::test]
async fn no_client_fails_during_a_rollover_that_verifies_against_what_is_published() -> Result<()> {
    let rig = pods::rig().await?;
    let issuer = IssuerName::cluster("rolls-over");
    let (old, new) = (
        Ca::new(rig, "rolls-old", 0x31)?,
        Ca::new(rig, "rolls-new", 0x32)?,
    );
    let load = Load {
        per_second: 10,
        step: Duration::from_secs(1),
    };
    let [by_old, by_new] = roll(rig, &issuer, [&old, &new], load).await?;
    ensure!(
        by_old > 5 && by_new > 5,
        "{by_old} and {by_new} certificates"
    );
    let expected = ["NextTrusted", "SwitchedToNext", "RolloverFinished"];
    until("the Events of every step", PATIENCE, async || {
        let told = told(rig, &issuer).await?;
        Ok((told.len() >= expected.len()).then_some(told))
    })
    .await
    .map(|told| assert_eq!(told, expected))?;
    let log = rig.controller().issuance_log()?;
    let of_issuer = log
        .iter()
        .filter(|line| line["event"] == "ca-changed" && line["issuer"]["name"] == issuer.name());
    let changes: Vec<_> = of_issuer.map(|line| line["change"].clone()).collect();
    assert_eq!(
        changes,
        ["next-trusted", "switched-to-next", "rollover-finished"]
    );
    Ok(())
}

#[tokio::test]
async fn a_rollover_waits_for_its_key_can_be_withdrawn_and_ends_when_its_time_has_come()
-> Result<()> {
    let rig = pods::rig().await?;
    let cluster = rig.cluster();
    let issuer = IssuerName::cluster("rolls-back");
    let (old, new) = (
        Ca::new(rig, "back-old", 0x33)?,
        Ca::new(rig, "back-new", 0x34)?,
    );
    let mut wrong = spec(&old, Some((&new, json!({"now": true}))));
    wrong["next"]["key"] = json!({"label": "nothing"});
    cluster.apply_issuer(&issuer, &wrong).await?;
    let status = reaches(rig, &issuer, "NextNotProved").await?;
    let condition = status.condition("RollingOver").context("no condition")?;
    ensure!(
        condition.message.starts_with("KeyNotFound: "),
        "{condition:?}"
    );
    cluster.issuer_is_ready(&issuer).await?;

    // Back, before the switch.
    let trusted = spec(&old, Some((&new, Value::Null)));
    cluster.apply_issuer(&issuer, &trusted).await?;
    reaches(rig, &issuer, "NextTrusted").await?;
    cluster.apply_issuer(&issuer, &spec(&old, None)).await?;
    cluster
        .issuer_reaches(&issuer, |status| status.json()["rollover"].is_null())
        .await?;

    // After the switch the former key signs nothing, even if next is removed.
    let switched = spec(&old, Some((&new, json!({"now": true}))));
    cluster.apply_issuer(&issuer, &switched).await?;
    reaches(rig, &issuer, "SwitchedToNext").await?;
    cluster.apply_issuer(&issuer, &spec(&old, None)).await?;
    let undone = cluster.issuer_reaches(&issuer, |status| {
        status
            .ready()
            .is_some_and(|ready| ready.reason == "RolloverUndone")
    });
    undone.await?;
    cluster.apply_issuer(&issuer, &switched).await?;
    cluster.issuer_is_ready(&issuer).await?;

    // A year passes, as far as the status knows.
    let status = cluster.issuer_status(&issuer).await?;
    let mut rollover = status.json()["rollover"].clone();
    let mut retiring = status.json()["retiring"].clone();
    let ended = json!("2026-01-01T00:00:00Z");
    rollover["completeAt"] = ended.clone();
    retiring[0]["until"] = ended;
    let passed = json!({"status": {"rollover": rollover, "retiring": retiring}}).to_string();
    let patch = [
        "patch",
        "pkcs11clusterissuer",
        issuer.name(),
        "--subresource",
        "status",
    ];
    let patch = [&patch[..], &["--type", "merge", "--patch", &passed]].concat();
    cluster.plane().kubectl(&patch).await?;
    let look = [
        "annotate",
        "pkcs11clusterissuer",
        issuer.name(),
        "pkcs11-issuer.dev/look=now",
    ];
    cluster.plane().kubectl(&look).await?;
    reaches(rig, &issuer, "RolloverComplete").await?;
    let requests = cluster.requests("default").await?;
    let csr = csr_for("web.example")?;
    requests
        .create_approved("rolls-back", request_spec(&issuer, &csr))
        .await?;
    let status = requests.reaches("rolls-back", "Issued").await?;
    let (chain, ca) = (
        status.certificate().context("no certificate")?,
        status.ca().context("no CA")?,
    );
    assert_eq!(ca, new.root.pem());
    openssl_verifies(&chain, &ca)
}

#[tokio::test]
async fn a_renewed_certificate_of_the_same_key_is_told_of_and_changes_no_trust() -> Result<()> {
    let rig = pods::rig().await?;
    let cluster = rig.cluster();
    let issuer = IssuerName::cluster("renewed");
    let ca = Ca::new(rig, "renewed-ca", 0x35)?;
    cluster.apply_issuer(&issuer, &spec(&ca, None)).await?;
    let first = cluster.issuer_is_ready(&issuer).await?;
    let key = ca.issuing.key();
    let renewed = Ca {
        issuing: ca
            .root
            .issue(key, &CaProfile::named("renewed-ca").path_length(0))?,
        ..ca
    };
    cluster.apply_issuer(&issuer, &spec(&renewed, None)).await?;
    let now = cluster.issuer_reaches(&issuer, |status| {
        let certificate = &status.json()["certificate"];
        certificate["sha256"] != first.json()["certificate"]["sha256"]
    });
    let now = now.await?;
    assert_eq!(
        now.json()["certificate"]["ca"],
        first.json()["certificate"]["ca"]
    );
    assert_eq!(now.json()["retiring"], Value::Null);
    until("the Event", PATIENCE, async || {
        let told = told(rig, &issuer).await?;
        Ok((told == ["CertificateRenewed"]).then_some(()))
    })
    .await
}
