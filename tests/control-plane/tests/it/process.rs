//! Tests single processes.

use super::*;

fn shell(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

#[tokio::test]
async fn a_line_is_found_when_it_is_written_and_not_before_the_last_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let process = Process::start("echo", shell("echo run $$; exec sleep 60"), folder.path())?;
    let first = process.line("run", PATIENCE).await?;
    process.restart()?;
    let second = process.line("run", PATIENCE).await?;
    assert_ne!(first, second);
    Ok(())
}

#[tokio::test]
async fn standard_output_can_be_kept_apart_from_the_log() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let process = Process::start(
        "both",
        shell("echo record; echo message >&2").separate_stdout(),
        folder.path(),
    )?;
    assert!(process.wait(PATIENCE).await?.success());
    assert_eq!(
        (process.stdout()?.as_str(), process.log()?.as_str()),
        ("record\n", "message\n")
    );
    Ok(())
}

#[tokio::test]
async fn a_program_that_ends_early_is_reported_with_the_end_of_its_log() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let process = Process::start(
        "early",
        shell("echo no such token >&2; exit 3"),
        folder.path(),
    )?;
    let error = process
        .line("ready", PATIENCE)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("exit status: 3") && error.contains("no such token"),
        "{error}"
    );
    assert!(process.check_running().is_err());
    assert!(process.signal(Signal::STOP).is_err());
    Ok(())
}

#[tokio::test]
async fn a_program_can_handle_sigterm_and_choose_its_exit_code() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let process = Process::start("polite", shell(script), folder.path())?;
    process.line("ready", PATIENCE).await?;
    assert_eq!(process.terminate(PATIENCE).await?.code(), Some(7));
    Ok(())
}

#[tokio::test]
async fn a_dropped_process_takes_its_own_children_with_it_even_when_it_is_frozen() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let process = Process::start(
        "parent",
        shell("sleep 60 & echo child $!; wait"),
        folder.path(),
    )?;
    let line = process.line("child", PATIENCE).await?;
    let child = line.strip_prefix("child ").context("no id")?.to_owned();
    process.signal(Signal::STOP)?;
    let parent = process.id();
    drop(process);
    assert!(!Path::new(&format!("/proc/{parent}")).exists());
    // The child was killed with its parent, but its new parent may not have reaped it yet.
    until("the child to be gone", PATIENCE, async || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        Ok((stat.is_empty() || stat.contains(") Z ")).then_some(()))
    })
    .await
}
