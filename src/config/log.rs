//! The sinks of the issuance log, as the operator chooses them.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    error::{Problem, Wrong},
    raw::{RawFileSink, RawSinks},
};

/// Placeholder for the name of the replica in the path of a file.
const REPLICA: &str = "{replica}";

/// Shortest age at which a file is rotated.
const MIN_AGE: Duration = Duration::from_secs(60);

/// Octets of a mebibyte.
const MEBIBYTE: u64 = 1 << 20;

/// Sinks of the issuance log, at least one, and what happens if one accepts no lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogSettings {
    /// Whether the lines go to stdout.
    pub stdout: bool,
    /// The file that the lines go to.
    pub file: Option<FileSink>,
    /// Whether to sign while a sink accepts no lines.
    pub on_failure: OnFailure,
}

/// A file with lines of the issuance log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileSink {
    /// Its absolute path.
    pub path: PathBuf,
    /// Octets after which another file begins; `None` for no limit.
    pub rotate_size: Option<NonZeroU64>,
    /// Age at which another file begins; `None` for no limit.
    pub rotate_age: Option<Duration>,
    /// When lines are made to survive a crash of the machine.
    pub fsync: Fsync,
}

/// When lines are made to survive a crash of the machine.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Before a line counts as accepted.
    #[default]
    Always,
    /// At most a second after it was accepted.
    Interval,
    /// When the operating system writes them.
    Never,
}

/// What happens while a sink accepts no lines.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum OnFailure {
    /// Nothing is signed.
    #[default]
    Wait,
    /// Certificates are signed. Lines are dropped while the backlog is full; the log counts them.
    Sign,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            stdout: true,
            file: None,
            on_failure: OnFailure::Wait,
        }
    }
}

impl LogSettings {
    /// Returns the settings with the name of this replica in the path of the file.
    #[must_use]
    pub fn of_replica(&self, replica: &str) -> Self {
        let named = |path: &Path| match path.to_str() {
            Some(text) => PathBuf::from(text.replace(REPLICA, replica)),
            None => path.to_owned(),
        };
        let file = self.file.as_ref().map(|file| FileSink {
            path: named(&file.path),
            ..file.clone()
        });
        Self {
            file,
            ..self.clone()
        }
    }

    /// Checks the settings as they are written.
    ///
    /// # Errors
    /// There is no sink, or a value breaks a rule.
    pub(super) fn checked(
        sinks: Option<Spanned<RawSinks>>,
        on_failure: Option<OnFailure>,
    ) -> Result<Self, Wrong> {
        let on_failure = on_failure.unwrap_or_default();
        let Some(Spanned {
            value: RawSinks { stdout, file },
            referenced: at,
            ..
        }) = sinks
        else {
            return Ok(Self {
                on_failure,
                ..Self::default()
            });
        };
        if !stdout && file.is_none() {
            return Err(Wrong::new("audit.sinks", at, Problem::NoSink));
        }
        let file = file.map(FileSink::try_from).transpose();
        let file = file.map_err(|wrong| wrong.within("audit.sinks.file", at))?;
        Ok(Self {
            stdout,
            file,
            on_failure,
        })
    }
}

impl TryFrom<RawFileSink> for FileSink {
    type Error = Wrong;

    fn try_from(raw: RawFileSink) -> Result<Self, Wrong> {
        let RawFileSink {
            path,
            rotate_mebibytes,
            rotate_age,
            fsync,
        } = raw;
        let Spanned {
            value: path,
            referenced: at,
            ..
        } = path;
        if !path.is_absolute() {
            return Err(Wrong::new("path", at, Problem::RelativePath(path)));
        }
        let rotate_size = rotate_mebibytes.map(|size| {
            let octets = size.value.checked_mul(MEBIBYTE).and_then(NonZeroU64::new);
            let wrong = || Wrong::new("rotateMebibytes", size.referenced, Problem::RotateSize);
            octets.ok_or_else(wrong)
        });
        let rotate_age = rotate_age.map(|age| {
            let long = age.value.unsigned().filter(|age| *age >= MIN_AGE);
            let wrong = || Wrong::new("rotateAge", age.referenced, Problem::RotateAge(age.value));
            long.ok_or_else(wrong)
        });
        Ok(Self {
            path,
            rotate_size: rotate_size.transpose()?,
            rotate_age: rotate_age.transpose()?,
            fsync,
        })
    }
}
