//! Providers of software tokens: their libraries, and the configuration that tells them where their tokens are.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Error;

/// Provider of software tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// SoftHSM 2: RSA, ECDSA and Ed25519. Its PINs never lock.
    SoftHsm,
    /// Kryoptic: the same and ML-DSA. The tenth wrong PIN in a row locks the token. `tests/kryoptic/build` builds it.
    Kryoptic,
}

const SOFTHSM: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

impl Provider {
    /// Returns the provider that the variable `TEST_TOKEN` names, `softhsm` or `kryoptic`; SoftHSM if it is not set. So a
    /// whole suite can run with another token.
    ///
    /// # Errors
    /// [`Error::Provider`] when the variable names another one.
    pub fn from_env() -> Result<Self, Error> {
        match env::var("TEST_TOKEN").as_deref() {
            Ok("softhsm") | Err(env::VarError::NotPresent) => Ok(Self::SoftHsm),
            Ok("kryoptic") => Ok(Self::Kryoptic),
            Ok(_) | Err(env::VarError::NotUnicode(_)) => Err(Error::Provider),
        }
    }

    /// Returns the provider's library: the one that `SOFTHSM2_MODULE` or `KRYOPTIC_MODULE` names, else SoftHSM's where
    /// distributions put it, or Kryoptic's where `tests/kryoptic/build` puts it.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] or [`Error::NotBuilt`].
    pub fn module(self) -> Result<PathBuf, Error> {
        let named = env::var_os(match self {
            Self::SoftHsm => "SOFTHSM2_MODULE",
            Self::Kryoptic => "KRYOPTIC_MODULE",
        });
        let candidates = match (self, named) {
            (_, Some(named)) => vec![named.into()],
            (Self::SoftHsm, None) => SOFTHSM.iter().map(PathBuf::from).collect(),
            (Self::Kryoptic, None) => built_kryoptic().into_iter().collect(),
        };
        let found = candidates.into_iter().find(|path| path.is_file());
        found.ok_or(match self {
            Self::SoftHsm => Error::NotInstalled,
            Self::Kryoptic => Error::NotBuilt,
        })
    }

    /// Returns the environment variable that names the provider's configuration.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::SoftHsm => "SOFTHSM2_CONF",
            Self::Kryoptic => "KRYOPTIC_CONF",
        }
    }

    /// Returns a configuration for `count` tokens in a directory. SoftHSM ignores the count and finds all tokens itself.
    pub(crate) fn configuration(self, tokens: &Path, count: usize) -> String {
        match self {
            Self::SoftHsm => format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
                tokens.display()
            ),
            Self::Kryoptic => (0..count)
                .map(|slot| {
                    let file = tokens.join(format!("{slot}.sql"));
                    format!("[[slots]]\nslot = {slot}\ndbtype = \"sqlite\"\ndbargs = {file:?}\n")
                })
                .collect(),
        }
    }
}

fn built_kryoptic() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kryoptic/build");
    let output = Command::new(script).arg("--print-path").output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(path.trim_end()))
}
