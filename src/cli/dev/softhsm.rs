//! Makes a SoftHSM token by `softhsm2-util`, which takes PINs from arguments, which everybody on the machine can see, or from a
//! terminal. So it gets a terminal of its own, on which this program types.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use hsm::survey;
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

use crate::{config::Library, signers::launch};

/// The variable that names SoftHSM's configuration.
pub(super) const CONFIGURATION: &str = "SOFTHSM2_CONF";
const PROGRAM: &str = "softhsm2-util";
const LIBRARIES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];
/// Time limit of one call into the library.
const HANG_AFTER: Duration = Duration::from_secs(30);

/// Returns the path of SoftHSM's library: `told`, else where it is usually installed.
pub(super) fn library(told: Option<&Path>) -> anyhow::Result<PathBuf> {
    let known = || LIBRARIES.iter().map(PathBuf::from);
    let found = match told {
        Some(path) => path.is_file().then(|| path.to_owned()),
        None => known().find(|path| path.is_file()),
    };
    found.context(
        "SoftHSM's library is not there; install SoftHSM 2 (on Debian: apt-get install softhsm2), or give --module",
    )
}

/// Returns the text of SoftHSM's configuration for tokens in this folder.
pub(super) fn configuration(tokens: &Path) -> String {
    format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    )
}

/// Makes a token with this label and PIN. Nobody learns the PIN of its security officer.
pub(super) fn make_token(
    configuration: &Path,
    label: &str,
    officer: &str,
    pin: &str,
) -> anyhow::Result<()> {
    let (ours, theirs) = terminal().context("failed to make a terminal for softhsm2-util")?;
    // Each PIN is asked for twice.
    let typed = Zeroizing::new(format!("{officer}\n{officer}\n{pin}\n{pin}\n"));
    (&ours).write_all(typed.as_bytes())?;
    let output = Command::new(PROGRAM)
        .args(["--init-token", "--free", "--label", label])
        .env(CONFIGURATION, configuration)
        .stdin(theirs)
        .output()
        .context(
            "failed to run softhsm2-util; install SoftHSM 2 (on Debian: apt-get install softhsm2)",
        )?;
    if !output.status.success() {
        bail!(
            "softhsm2-util made no token: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Returns both ends of a terminal that shows nothing of what is typed.
fn terminal() -> anyhow::Result<(File, File)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = open(name, flags, Mode::empty())?;
    let mut silent = tcgetattr(&theirs)?;
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&theirs, OptionalActions::Now, &silent)?;
    Ok((ours.into(), theirs.into()))
}

/// Returns the serial number of the token with this label, as the library tells it.
pub(super) async fn serial(
    library: &Library,
    worker: &Path,
    label: &str,
) -> anyhow::Result<String> {
    let launch = launch(library, worker);
    let slots = survey(&launch, HANG_AFTER).await;
    let slots = slots.map_err(|end| anyhow!("the tokens of {launch} cannot be listed: {end}"))?;
    let mut tokens = slots.into_iter().filter_map(|slot| slot.token.ok());
    let token = tokens.find(|token| token.initialized && token.info.label == label);
    let token = token.with_context(|| {
        format!("{launch} does not show the token that softhsm2-util made; give the library of the same SoftHSM with --module")
    })?;
    Ok(token.info.serial)
}
