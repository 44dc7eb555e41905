//! A controller whose stdout and stderr go through pipes, and the readers of those pipes, which can stop reading.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Result, ensure};
use rig::Controller;

/// Writes a program that becomes `controller`, with a reader behind each of its streams.
pub(crate) fn write_program(program: &Path, controller: &Path) -> Result<()> {
    let script = format!(
        "#!/usr/bin/env bash\nexec '{}' \"$@\" > >(exec cat) 2> >(exec cat >&2)\n",
        controller.display()
    );
    fs::write(program, script)?;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Stops the readers of a controller that such a program started.
pub(crate) fn stop(controller: &Controller) -> Result<()> {
    signal("STOP", controller)
}

/// Has the readers of a controller go on.
pub(crate) fn go_on(controller: &Controller) -> Result<()> {
    signal("CONT", controller)
}

fn signal(name: &str, controller: &Controller) -> Result<()> {
    let readers = of(controller)?;
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .args(&readers)
        .status()?;
    ensure!(sent.success(), "kill -{name} {readers:?}");
    Ok(())
}

/// Returns the process ids of the readers.
fn of(controller: &Controller) -> Result<Vec<String>> {
    let parent = format!("PPid:\t{}", controller.process().id());
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")?.flatten() {
        // A process may end meanwhile.
        let status = fs::read_to_string(process.path().join("status")).unwrap_or_default();
        let mut lines = status.lines();
        if lines.next() == Some("Name:\tcat") && lines.any(|line| line == parent) {
            found.extend(process.file_name().into_string());
        }
    }
    ensure!(
        found.len() == 2,
        "the readers of stdout and stderr: {found:?}"
    );
    Ok(found)
}
