//! An interrupted run ends whatever it waits for, says so, and leaves nothing behind.

use std::{
    io::{Write as _, pipe},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use futures::future;
use rig::PATIENCE;
use softhsm_test_helpers::Function;

use super::case::{Case, Said};
use crate::ending::takes_signals;

/// Number of octets that a pipe on Linux takes before a write blocks.
const PIPE: usize = 1 << 16;

/// Sends SIGTERM and waits until the run ends.
async fn interrupt(mut running: Child) -> Result<Said> {
    let killed = Command::new("kill")
        .args(["-TERM", &running.id().to_string()])
        .status()?;
    ensure!(killed.success(), "kill: {killed}");
    let ended = until("the run to end", PATIENCE, || {
        future::ready(running.try_wait().map_err(Into::into))
    })
    .await;
    if ended.is_err() {
        running.kill()?;
    }
    let said = Said::of(running.wait_with_output()?)?;
    ended.with_context(|| format!("{said:?}"))?;
    Ok(said)
}

async fn is_called(case: &Case, function: Function, times: u64) -> Result<()> {
    until("the call", PATIENCE, async || {
        Ok((case.library.calls(function)? == times).then_some(()))
    })
    .await
}

#[tokio::test]
async fn an_interrupted_run_ends_in_every_state() -> Result<()> {
    let cases = [
        ("C_Initialize hang", Function::C_Initialize, 1),
        ("C_Login hang", Function::C_Login, 1),
        // The first signature is the probe's.
        ("C_Sign hang", Function::C_Sign, 1),
        ("C_Sign hang skip=1", Function::C_Sign, 2),
    ];
    for (rule, function, times) in cases {
        let case = Case::new()?;
        case.library.rules(rule)?;
        let mut command = case.command(&["--out", "web.pem"])?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let running = command.spawn()?;
        is_called(&case, function, times).await?;
        let said = interrupt(running).await.context(rule)?;
        let error = said.error()?;
        ensure!(
            error.contains("interrupted by a signal"),
            "{rule}: {said:?}"
        );
        assert_eq!(case.names("web.pem")?, [""; 0], "{rule}");
    }
    Ok(())
}

#[tokio::test]
async fn an_interrupted_run_that_waits_for_its_csr_ends_at_once() -> Result<()> {
    let case = Case::new()?;
    let mut command = case.command(&["--csr", "-"])?;
    let (reader, writer) = pipe()?;
    command
        .stdin(reader)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = command.spawn()?;
    takes_signals(running.id()).await?;
    let said = interrupt(running).await?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(said.stdout, "");
    assert_eq!(case.logins()?, 0);
    drop(writer);
    Ok(())
}

#[tokio::test]
async fn an_interrupted_run_ends_even_if_nobody_reads_its_output() -> Result<()> {
    let case = Case::new()?;
    let (reader, mut full) = pipe()?;
    full.write_all(&[b'\n'; PIPE])?;
    let mut command = case.command(&[])?;
    command.stdout(full).stderr(Stdio::piped());
    let running = command.spawn()?;
    // The signatures of the probe and of the certificate. After them, only the pipe can block the run.
    is_called(&case, Function::C_Sign, 2).await?;
    let said = interrupt(running).await?;
    assert_eq!(said.code, Some(1), "{said:?}");
    drop(reader);
    Ok(())
}
