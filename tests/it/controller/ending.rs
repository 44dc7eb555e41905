//! A controller that is told to stop exits with success within its drain time. These are the states that need a real API
//! server, a real webhook and a real token; `tests/it/ending.rs` has the states of a broken network.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::{CertManager, Signal, until};
use rig::{PATIENCE, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::Function;

use super::{counted::Counted, issuer};

const DRAIN: Duration = Duration::from_secs(6);
/// Extra time for a machine under load.
const MARGIN: Duration = Duration::from_secs(20);
const BY_FORCE: &str = "ending with work left undone";

/// Tells the controller to stop and checks that it exits with success, by itself and within the drain time.
pub(super) async fn ends(case: &Counted, state: &str) -> Result<Duration> {
    let told = Instant::now();
    let status = case.controller.stop().await?;
    let took = told.elapsed();
    let log = case.controller.process().log()?;
    ensure!(status.success(), "{state}: {status}: {log}");
    ensure!(took < DRAIN + MARGIN, "{state}: after {took:?}: {log}");
    ensure!(!log.contains(BY_FORCE), "{state}: {log}");
    Ok(took)
}

async fn leases(case: &Counted) -> Result<Vec<Value>> {
    let flags = ["get", "leases", "-n", rig::NAMESPACE, "-ojson"];
    let listed = case.cluster.plane().kubectl(&flags).await?;
    let listed: Value = serde_json::from_str(&listed)?;
    Ok(listed["items"].as_array().context("no items")?.clone())
}

/// Stops the controller like [`ends`] and checks that its Lease is gone.
async fn ends_and_gives_its_lease_back(case: &Counted, state: &str) -> Result<Duration> {
    let took = ends(case, state).await?;
    let left = leases(case).await?;
    ensure!(left.is_empty(), "{state}: {left:?}");
    Ok(took)
}

/// Makes a request and approves it.
async fn ask(case: &Counted, name: &str) -> Result<()> {
    let requests = case.cluster.requests("default").await?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    requests.create(name, spec).await?;
    requests.approve(name).await
}

/// Checks that the issuance log says `discarded` for a certificate that was signed but not published before the end.
async fn is_discarded(case: &Counted, name: &str) -> Result<()> {
    let signed = case.controller.logged("signed", "default", name).await?;
    let discarded = case.controller.logged("discarded", "default", name);
    let discarded = discarded.await?;
    assert_eq!(discarded["serial"], signed["serial"], "{name}");
    assert_eq!(discarded["reason"], "stopped", "{name}");
    Ok(())
}

/// Returns the state of the token in the PIN record.
async fn pin_state(case: &Counted) -> Result<Value> {
    let name = "pkcs11-issuer-pin-state";
    let flags = ["get", "secret", name, "-n", rig::NAMESPACE, "-ojson"];
    let secret: Value = serde_json::from_str(&case.cluster.plane().kubectl(&flags).await?)?;
    let prefix = format!("token.{}.", case.authority.token().serial());
    let data = secret["data"].as_object().into_iter().flatten();
    let mut records = data.filter(|(key, _)| key.starts_with(&prefix));
    let entry = records.next().and_then(|(_, entry)| entry.as_str());
    let entry = entry.unwrap_or_default();
    let entry = STANDARD.decode(entry).ok().context("base64")?;
    Ok(serde_json::from_slice::<Value>(&entry)?["state"].clone())
}

/// Restarts the controller and has it issue one certificate, so that each state begins with a healthy controller.
async fn restarted(case: &Counted, state: &str) -> Result<()> {
    case.library.rules("")?;
    case.controller.restart().await?;
    let name = format!("before-{state}");
    ask(case, &name).await?;
    let requests = case.cluster.requests("default").await?;
    requests.reaches(&name, "Issued").await.map(drop)
}

/// Restarts the controller like [`restarted`] and waits until it has signed a certificate that it cannot publish because of
/// `fail`.
async fn has_signed(
    case: &Counted,
    name: &str,
    fail: impl FnOnce(&CertManager) -> Result<()>,
) -> Result<()> {
    restarted(case, name).await?;
    case.controller.process().signal(Signal::STOP)?;
    ask(case, name).await?;
    fail(case.cluster.cert_manager()?)?;
    case.controller.process().signal(Signal::CONT)?;
    let signed = case.controller.logged("signed", "default", name);
    signed.await.map(drop)
}

#[tokio::test]
async fn a_controller_ends_within_its_drain_time_whatever_state_it_is_in() -> Result<()> {
    let drain = format!("{}s", DRAIN.as_secs());
    let flags = ["--drain-timeout", &drain, "--lease-duration", "3s"];
    let mut case = Counted::start(&flags, |_| {}).await?;
    case.is_ready_at(1).await?;
    let took = ends_and_gives_its_lease_back(&case, "healthy").await?;
    ensure!(took < DRAIN, "healthy: after {took:?}");

    just_started(&case).await?;
    the_webhook_is_down(&case).await?;
    the_webhook_hangs(&case).await?;
    the_token_hangs(&case).await?;
    a_reload_waits_for_a_token_that_hangs(&mut case).await?;
    a_login_hangs(&case).await?;
    the_api_server_hangs_or_is_gone(&case).await
}

/// Stops the controller at several moments after its start: it gives back its Lease even if it has just acquired it.
async fn just_started(case: &Counted) -> Result<()> {
    for after in [10, 20, 35, 50, 80, 120, 200, 400] {
        case.controller.process().restart()?;
        // From here on it handles signals.
        case.controller
            .process()
            .line("\"message\":\"started\"", PATIENCE)
            .await?;
        tokio::time::sleep(Duration::from_millis(after)).await;
        ends_and_gives_its_lease_back(case, &format!("started {after} ms ago")).await?;
    }
    Ok(())
}

async fn the_webhook_is_down(case: &Counted) -> Result<()> {
    let fail = |cert_manager: &CertManager| {
        cert_manager.stop_webhook();
        Ok(())
    };
    has_signed(case, "down", fail).await?;
    ends_and_gives_its_lease_back(case, "the webhook is down").await?;
    case.cluster.cert_manager()?.start_webhook().await?;
    is_discarded(case, "down").await
}

async fn the_webhook_hangs(case: &Counted) -> Result<()> {
    has_signed(case, "frozen", CertManager::pause_webhook).await?;
    ends_and_gives_its_lease_back(case, "the webhook hangs").await?;
    case.cluster.cert_manager()?.resume_webhook()?;
    is_discarded(case, "frozen").await
}

/// Makes the token hang in a signature for a request of this name.
async fn hangs_in_a_signature(case: &Counted, name: &str) -> Result<()> {
    restarted(case, name).await?;
    let before = case.signatures()?;
    case.library.rules("C_Sign hang")?;
    ask(case, name).await?;
    until("C_Sign", PATIENCE, async || {
        Ok((case.signatures()? > before).then_some(()))
    })
    .await
}

async fn the_token_hangs(case: &Counted) -> Result<()> {
    hangs_in_a_signature(case, "hanging").await?;
    ends_and_gives_its_lease_back(case, "the token hangs")
        .await
        .map(drop)
}

async fn a_reload_waits_for_a_token_that_hangs(case: &mut Counted) -> Result<()> {
    hangs_in_a_signature(case, "reloaded").await?;
    case.reconfigure(|all| all["tokens"]["issuing"]["sessions"] = json!(2))?;
    let process = case.controller.process();
    process
        .line("the configuration has changed; draining tokens", PATIENCE)
        .await?;
    ends_and_gives_its_lease_back(case, "a reload is running")
        .await
        .map(drop)
}

async fn a_login_hangs(case: &Counted) -> Result<()> {
    let before = case.logins()?;
    case.library.rules("C_Login hang")?;
    case.controller.process().restart()?;
    until("C_Login", PATIENCE, async || {
        Ok((case.library.calls(Function::C_Login)? > before).then_some(()))
    })
    .await?;
    assert_eq!(pin_state(case).await?, "Trying");
    ends_and_gives_its_lease_back(case, "a login hangs").await?;
    assert_eq!(
        pin_state(case).await?,
        "Trying",
        "the controller cannot know how the login ended"
    );
    Ok(())
}

async fn the_api_server_hangs_or_is_gone(case: &Counted) -> Result<()> {
    let plane = case.cluster.plane();
    restarted(case, "silence").await?;
    ask(case, "late").await?;
    plane.api_server().signal(Signal::STOP)?;
    let ended = ends(case, "the API server hangs").await;
    plane.api_server().signal(Signal::CONT)?;
    ended?;
    restarted(case, "outage").await?;
    plane.stop_api_server();
    ends(case, "the API server is gone").await.map(drop)
}
