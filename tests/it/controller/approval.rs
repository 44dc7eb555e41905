//! A cluster without an approver. Follows its requests in the spans, the logs and the state.

use anyhow::{Context as _, Result, bail};
use control_plane::{Signal, until};
use rig::{IssuerName, PATIENCE, csr_for, request_spec};
use serde_json::{Value, json};

use super::{
    TENANT, issuer,
    seen::{Seen, tree},
    stories,
};
use crate::monitoring::counters_of_alerts;

const INTERNAL: u8 = 1;
const CLIENT: u8 = 3;

fn stage(name: &str, kind: u8, uid: &str, request: &str) -> Value {
    json!({
        "name": name, "kind": kind, "status": {},
        "attributes": {"request": request, "uid": uid},
    })
}

/// Checks that the spans, the log and the issuance log tell the same story of an issued request.
async fn tells_of_an_issued_request(seen: &Seen, uid: &str) -> Result<()> {
    let published = seen
        .rig
        .controller()
        .logged("published", "default", "web")
        .await?;
    let serial = published["serial"].as_str().context("no serial number")?;
    let (request, name) = ("default/web", "PKCS11ClusterIssuer issuing");
    let expected = json!({
        "name": "request", "kind": INTERNAL, "status": {},
        "attributes": {
            "request": request, "uid": uid, "kind": "CertificateRequest", "issuer": name,
            "token": "issuing", "serial": serial, "outcome": "issued",
        },
        "stages": [
            stage("queue", INTERNAL, uid, request),
            stage("turn", INTERNAL, uid, request),
            stage("token", CLIENT, uid, request),
            stage("write", CLIENT, uid, request),
        ],
    });
    assert_eq!(tree(&seen.spans(uid).await?)?, expected);
    let sender = json!({
        "service.name": "pkcs11-issuer", "service.instance.id": "pkcs11-issuer",
        "service.version": env!("CARGO_PKG_VERSION"), "k8s.cluster.name": "test",
        "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "rust",
    });
    assert_eq!(seen.sender()?, sender);
    let line = json!({
        "level": "INFO", "message": "issued", "kind": "CertificateRequest", "request": request, "uid": uid,
        "issuer": name, "serial": serial, "token": "issuing",
    });
    assert_eq!(seen.logged(uid)?, [line]);
    let log = seen.rig.controller().lines_of("default", "web")?;
    let steps: Vec<_> = log
        .iter()
        .map(|line| (&line["event"], &line["request"]["uid"], &line["serial"]))
        .collect();
    let step = |event: &'static str| (json!(event), json!(uid), json!(serial));
    let expected = ["signing", "signed", "published"].map(step);
    let expected: Vec<_> = expected
        .iter()
        .map(|(event, uid, serial)| (event, uid, serial))
        .collect();
    assert_eq!(steps, expected);
    Ok(())
}

/// The whole state of a controller with one token, one issuer and no work.
async fn shows_its_state(seen: &Seen) -> Result<()> {
    let token = seen.rig.authority().token();
    let queue = |kind: &str| {
        json!({
            "kind": kind,
            "queue": {
                "requests": 0, "tombstones": 0, "unpublished": 0, "due": 0, "longestDueSeconds": 0, "looks": 0, "later": 0,
                "nextDueSeconds": null, "window": "number", "isListing": false, "tokens": {"count": 0, "shown": []},
            },
        })
    };
    let expected = json!({
        "time": "text",
        "process": {
            "replica": "pkcs11-issuer", "namespace": "pkcs11-issuer-system", "class": "", "version": "text",
            "commit": "text", "started": "text",
        },
        "ready": true,
        "leaseHeld": true,
        "replicas": {"count": 1, "shown": [
            {"lease": "pkcs11-issuer-pkcs11-issuer", "isOwn": true, "tokens": ["issuing"]},
        ]},
        "tokens": {"count": 1, "shown": [{
            "name": "issuing", "state": "ready", "why": "ready",
            "token": {
                "label": token.label(), "serial": token.serial(), "model": "SoftHSM v2", "firmware": "text",
                "pinCountLow": false, "pinFinalTry": false, "pinLocked": false,
            },
            "replicas": 1,
            "turns": {"taken": 0, "credit": "number", "isSlow": false, "waiting": 0},
            "starts": 1, "entered": {"ready": 1}, "ended": {}, "lastEnd": null,
        }]},
        "issuers": {"count": 1, "shown": [{
            "ready": true, "issuer": "PKCS11ClusterIssuer issuing", "uid": "text", "generation": 1, "token": "issuing",
            "isOurs": true, "isOwn": true, "reason": null, "message": "text", "waiting": 0,
        }]},
        "limits": {"count": 0, "shown": []},
        "queues": [
            queue("CertificateRequest"),
            queue("CertificateSigningRequest"),
            {"kind": "PodCertificateRequest", "queue": null},
        ],
        "eventsWaiting": 0,
        "lastErrors": {"count": 0, "shown": []},
    });
    // The watch has to report the end of the request first, and the Event has to be written.
    let state = until("the controller to be idle", PATIENCE, async || {
        let mut state = seen.state().await?;
        let errors = &mut state["lastErrors"];
        // A busy API server that has just started may have forgotten the version at which a watch begins.
        let forgotten = |error: &Value| error.to_string().contains("too old resource version");
        let shown = errors["shown"].as_array_mut().context("no errors")?;
        shown.retain(|error| !forgotten(error));
        errors["count"] = json!(shown.len());
        let busy = [
            &state["queues"][0]["queue"]["tombstones"],
            &state["eventsWaiting"],
        ];
        Ok((busy == [&json!(0); 2]).then_some(state))
    });
    assert_eq!(state.await?, expected);
    Ok(())
}

/// Has a request deleted after its certificate was signed and before it could be published. Returns the UID of the request.
async fn discarded_request(seen: &Seen) -> Result<String> {
    let rig = &seen.rig;
    let requests = rig.cluster().requests("default").await?;
    rig.controller().process().signal(Signal::STOP)?;
    let uid = requests
        .create("deleted", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    rig.cluster().cert_manager()?.stop_webhook();
    rig.controller().process().signal(Signal::CONT)?;
    let controller = rig.controller();
    controller.logged("signed", "default", "deleted").await?;
    requests.delete("deleted").await?;
    controller.logged("discarded", "default", "deleted").await?;
    Ok(uid)
}

/// Asserts that every counter is there whose growth an alert watches: with the first event it would be too late.
async fn counts_what_alerts_watch(seen: &Seen) -> Result<()> {
    let metrics = seen.rig.controller().metrics().await?;
    let counters = counters_of_alerts()?;
    assert!(counters.contains("pkcs11_issuer_requests_total"));
    for counter in counters {
        assert!(
            metrics.has(&counter),
            "{counter} appears with its first event"
        );
    }
    Ok(())
}

/// Asserts that issuing a certificate writes exactly one line at *info* and above, of all that the controller writes.
async fn is_one_line(seen: &Seen) -> Result<()> {
    let before = seen.lines()?.len();
    let requests = seen.rig.cluster().requests("default").await?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    let uid = requests.create("counted", spec).await?;
    requests.reaches("counted", "Issued").await?;
    // The spans are sent after everything else.
    seen.spans(&uid).await?;
    let lines = seen.lines()?;
    let lines = lines.get(before..).context("the log became shorter")?;
    let [line] = lines else {
        bail!("not one line: {lines:?}");
    };
    assert_eq!(
        (&line["message"], &line["uid"]),
        (&json!("issued"), &json!(uid))
    );
    Ok(())
}

/// Adds a token that nobody has and an issuer on it, and waits until the state says what is wrong.
async fn shows_what_is_wrong(seen: &Seen) -> Result<()> {
    let rig = &seen.rig;
    let mut configuration = rig.authority().configuration(&[TENANT]);
    let mut away = configuration["tokens"]["issuing"].clone();
    away["label"] = json!("away");
    configuration["tokens"]["away"] = away;
    rig.controller().configure(&configuration.to_string())?;
    let mut spec = rig.authority().issuer_spec();
    spec["token"] = json!("away");
    let stuck = IssuerName::cluster("stuck");
    rig.cluster().apply_issuer(&stuck, &spec).await?;
    let state = until("the state to say what is wrong", PATIENCE, async || {
        let state = rig.controller().state().await?;
        let is_there = state["tokens"]["count"] == 2
            && state["tokens"]["shown"][0]["state"] == "awaiting-token"
            && state["issuers"]["shown"][0]["reason"] == "TokenUnavailable";
        Ok(is_there.then_some(state))
    });
    let state = state.await?;
    let token = &state["tokens"]["shown"][0];
    assert_eq!(
        (&token["name"], &token["token"]),
        (&json!("away"), &Value::Null)
    );
    let why = token["why"].as_str().context("no reason")?;
    assert!(why.contains("no such token"), "{why}");
    assert_eq!(
        token["ended"]["no-token"].as_u64().map(|ends| ends > 0),
        Some(true)
    );
    // Issuers that are not ready come first.
    let wrong = &state["issuers"]["shown"][0];
    assert_eq!(wrong["issuer"], "PKCS11ClusterIssuer stuck");
    assert_eq!(wrong["ready"], false);
    let message = wrong["message"].as_str().context("no message")?;
    assert!(message.contains("away"), "{message}");
    assert_eq!(state["issuers"]["shown"][1]["ready"], true);
    let errors = state["lastErrors"]["shown"].to_string();
    assert!(errors.contains("awaiting-token"), "{errors}");
    Ok(())
}

#[tokio::test]
async fn approval_can_be_turned_off_and_a_denial_still_counts_as_spans_log_and_state_tell()
-> Result<()> {
    let seen = Seen::start(&["--enforce-approval=false"]).await?;
    let rig = &seen.rig;
    counts_what_alerts_watch(&seen).await?;
    let requests = rig.cluster().requests("default").await?;
    let uid = requests
        .create("web", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    requests.reaches("web", "Issued").await?;
    tells_of_an_issued_request(&seen, &uid).await?;
    stories::of_an_issued_request(&seen, &uid).await?;
    shows_its_state(&seen).await?;
    is_one_line(&seen).await?;
    shows_what_is_wrong(&seen).await?;
    let mut ca = request_spec(&issuer(), &csr_for("web.example")?);
    ca["isCA"] = json!(true);
    let uid = requests.create("refused", ca).await?;
    requests.reaches("refused", "Failed").await?;
    stories::of_a_refused_request(&seen, &uid).await?;
    rig.controller().kill();
    let uid = requests
        .create("denied", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    requests.deny("denied").await?;
    rig.controller().restart().await?;
    requests.reaches("denied", "Denied").await?;
    stories::of_a_denied_request(&seen, &uid).await?;
    let discarded = discarded_request(&seen).await?;
    stories::of_a_discarded_request(&seen, &discarded).await?;
    seen.tells_no_secret().await?;
    // The last spans are sent before the process ends.
    assert!(rig.controller().stop().await?.success());
    let denied = seen.spans(&uid).await?;
    assert_eq!(tree(&denied)?["attributes"]["outcome"], "denied");
    Ok(())
}
