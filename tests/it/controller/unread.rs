//! A controller whose stdout nobody reads while many requests come: signing waits for the log, and nothing else does.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::{
    Authority, Cluster, Controller, ControllerOptions, Options, PATIENCE, csr_for, request_spec,
};
use serde_json::json;
use softhsm_test_helpers::{Function, KeyKind};
use tokio::time::timeout;

use super::{issuer, programs, readers};

/// Many more than a pipe has room for: each request writes 2 KiB or more.
const REQUESTS: usize = 300;
/// Renewals of a Lease of three seconds in more than twice the time that a line may take.
const RENEWALS: f64 = 12.0;
/// As the kubelet has it by default for a probe, but for a machine under load.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

async fn metric(controller: &Controller, name: &str) -> Result<f64> {
    Ok(controller.metrics().await?.sum(name, &[]))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_reads_stdout_300_requests_wait_livez_answers_and_the_token_is_not_asked()
-> Result<()> {
    let authority = Authority::new(KeyKind::P256)?;
    let library = authority.token().with_faults()?;
    let mut configuration = authority.configuration(&[]);
    configuration["modules"]["softhsm"] = json!({"path": library.module(), "env": library.env()});
    let mut programs = programs()?;
    let cluster = Cluster::start(&programs, Options::default().cert_manager).await?;
    cluster
        .apply_issuer(&issuer(), &authority.issuer_spec())
        .await?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("controller");
    readers::write_program(&program, &programs.controller)?;
    programs.controller = program;
    let options = ControllerOptions {
        args: ["--lease-duration", "3s"].map(str::to_owned).into(),
        ..ControllerOptions::new(configuration.to_string(), &programs)
    };
    let controller = Controller::start(&cluster, &options).await?;
    cluster.issuer_is_ready(&issuer()).await?;

    readers::stop(&controller)?;
    let requests = cluster.requests("default").await?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    for number in 0..REQUESTS {
        requests
            .create_approved(&format!("web-{number}"), spec.clone())
            .await?;
    }
    until("the log to fail", PATIENCE, async || {
        let failing = metric(&controller, "pkcs11_issuer_log_failing").await?;
        Ok((failing > 0.5).then_some(()))
    })
    .await?;
    // No line has been accepted for five seconds, so nobody waits for a token any more.
    let signatures = library.calls(Function::C_Sign)?;
    let renewals = metric(&controller, "pkcs11_issuer_lease_renewals_total").await?;
    let waiting = "pkcs11_issuer_waiting_requests";
    until("the Lease to be renewed many times", PATIENCE, async || {
        let alive = timeout(ANSWERS_WITHIN, controller.says_alive()).await;
        ensure!(alive.context("/livez")??, "/livez");
        ensure!(controller.says_ready().await?, "/readyz");
        let now = metric(&controller, "pkcs11_issuer_lease_renewals_total").await?;
        Ok((now > renewals + RENEWALS).then_some(()))
    })
    .await?;
    assert_eq!(
        library.calls(Function::C_Sign)?,
        signatures,
        "signatures while the log is not written"
    );
    let waiting = metric(&controller, waiting).await?;
    assert!(waiting >= 100.0, "{waiting}");

    readers::go_on(&controller)?;
    for number in 0..REQUESTS {
        requests.reaches(&format!("web-{number}"), "Issued").await?;
    }
    let lines = controller.issuance_log()?;
    let told = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!(told("signed"), REQUESTS);
    // Those that were announced when the sink stopped.
    assert!(told("discarded") > 0);
    for line in lines.iter().filter(|line| line["event"] == "discarded") {
        assert_eq!(line["reason"], "not-logged", "{line}");
    }
    assert_eq!(told("signing"), REQUESTS + told("discarded"));
    assert!(controller.stop().await?.success());
    controller.verified_issuance_log()?;
    let text = fs::read_to_string(controller.issuance_log_path())?;
    let last = text.lines().last().context("no line")?;
    assert!(last.contains(r#""event":"checkpoint""#), "{last}");
    Ok(())
}
