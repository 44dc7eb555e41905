//! PINs for commands: where one comes from, and where its tries are recorded (ADR 2).

use std::{
    io::{self, IsTerminal as _},
    num::NonZeroU8,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, bail, ensure};

use super::machine;
use crate::{
    config::{PIN_RECORD, PinSource, TokenConfig},
    pins::{
        TokenPin,
        source::PinOrigin,
        store::{FileStore, PinStore},
    },
};

/// Returns the PIN of `--pin-file`. Reads it at once if the path is not a regular file, such as a pipe.
///
/// # Errors
/// The path cannot be read, or its content is not a PIN.
pub(super) fn given(path: &Path) -> anyhow::Result<PinOrigin> {
    let path = std::path::absolute(path).context("--pin-file is not a path")?;
    Ok(PinOrigin::given(path)?)
}

/// Asks for the PIN on the terminal, without an echo. Blocks until it is entered.
///
/// # Errors
/// stdin is no terminal, or what was entered is not a PIN.
pub(super) fn prompt(token: &str) -> anyhow::Result<PinOrigin> {
    ensure!(
        io::stdin().is_terminal(),
        "there is no terminal to ask for the PIN on; give --pin-file, or --no-login"
    );
    let entered = rpassword::prompt_password(format!("PIN of token {token}: "))
        .context("failed to read the PIN from the terminal")?;
    Ok(PinOrigin::entered(entered)?)
}

/// Returns the file with the record of tries. If the configuration names a pinFile, its record also counts for a PIN of the
/// command line.
///
/// # Errors
/// `asked` contradicts the configuration, or no file is known.
pub(super) fn record(
    token: Option<&TokenConfig>,
    asked: Option<&Path>,
    pin: &PinOrigin,
) -> anyhow::Result<PathBuf> {
    let asked = asked.map(std::path::absolute);
    let asked = asked.transpose().context("--pin-record is not a path")?;
    let configured = token.and_then(|token| match token.pin() {
        PinSource::File { record, .. } => Some((token.name(), record)),
        PinSource::None
        | PinSource::Secret { .. }
        | PinSource::ClusterIssuers
        | PinSource::IssuersIn(_) => None,
    });
    match (configured, asked, pin) {
        (Some((name, record)), Some(_), _) => bail!(
            "the configuration keeps the PIN record of token {name:?} in {}; remove --pin-record",
            record.display()
        ),
        (Some((_, record)), None, _) => Ok(record.clone()),
        (None, Some(asked), _) => Ok(asked),
        (None, None, PinOrigin::File(path)) => Ok(path.with_file_name(PIN_RECORD)),
        (None, None, _) => {
            bail!("no PIN record can be kept beside {pin}; name a file for it with --pin-record")
        }
    }
}

/// Returns the gate of logins with this PIN.
///
/// # Errors
/// The name of this host is unknown.
pub(super) fn gate(
    pin: PinOrigin,
    record: PathBuf,
    max_rejected: NonZeroU8,
) -> anyhow::Result<TokenPin> {
    Ok(TokenPin::new(
        PinStore::File(FileStore::new(record)),
        pin,
        format!("{}/{}", machine::host_name()?, process::id()),
        max_rejected.get().into(),
    ))
}
