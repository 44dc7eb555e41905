//! A token whose library fails by rules.

use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
};

use pkcs11_fault_shim::{DEVICES, DIRECTORY, Device, Directory, Function, MODULE};
use tempfile::TempDir;

use crate::{Description, Error, TestKey, TestToken, program::library};

/// Library that passes every call on to the token's own, or fails by rules that a test may change at any time.
/// `tests/shim/README.md` describes the language of the rules.
///
/// ```
/// use softhsm_test_helpers::{Function, KeyKind, Store};
///
/// let token = Store::new()?.make_token("broken")?;
/// let key = token.generate_key("ca", &[1], KeyKind::P256)?;
/// let faulty = token.with_faults()?;
/// faulty.rules("C_Sign rv=CKR_DEVICE_ERROR count=1")?;
/// assert!(faulty.sign_message(&key, b"message").is_err());
/// assert!(faulty.sign_message(&key, b"message").is_ok());
/// assert_eq!(faulty.calls(Function::C_Sign)?, 2);
/// # Ok::<(), softhsm_test_helpers::Error>(())
/// ```
#[derive(Debug)]
pub struct FaultyModule {
    token: TestToken,
    shim: PathBuf,
    directory: TempDir,
    faults: Directory,
}

impl TestToken {
    /// Puts a library that fails by rules before the token; without rules it behaves like the token's own. Each such
    /// library has its own rules, which do not affect programs that use the token directly.
    ///
    /// # Errors
    /// The library cannot be found or built, or the directory for its rules cannot be created.
    pub fn with_faults(&self) -> Result<FaultyModule, Error> {
        let store = self.store().directory();
        let directory = tempfile::Builder::new()
            .prefix("faults-")
            .tempdir_in(store)
            .map_err(|source| Error::File {
                path: store.into(),
                source,
            })?;
        Ok(FaultyModule {
            token: self.clone(),
            shim: library("pkcs11-fault-shim", "libpkcs11_fault_shim.so")?,
            faults: Directory::new(directory.path()),
            directory,
        })
    }
}

impl FaultyModule {
    /// Returns the library for a program under test.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.shim
    }

    /// Returns the environment that a process needs to use the library and see the token.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut env = self.token.env();
        env.insert(MODULE.into(), text(self.token.module()));
        env.insert(DIRECTORY.into(), text(self.directory.path()));
        env
    }

    /// Replaces all earlier rules by these, from the next call on. With an empty text nothing fails.
    ///
    /// # Errors
    /// A line is not a rule.
    pub fn rules(&self, rules: &str) -> Result<(), Error> {
        self.faults
            .set_rules(rules)
            .map_err(|error| self.error(error))
    }

    /// Returns the calls of a function so far, by every process that used this library.
    ///
    /// # Errors
    /// The counts cannot be read.
    pub fn calls(&self, function: Function) -> Result<u64, Error> {
        self.faults
            .calls(function)
            .map_err(|error| self.error(error))
    }

    /// Returns the calls of a function on which a rule fired.
    ///
    /// # Errors
    /// The counts cannot be read.
    pub fn faults(&self, function: Function) -> Result<u64, Error> {
        self.faults
            .faults(function)
            .map_err(|error| self.error(error))
    }

    /// Signs as [`TestKey::sign_message`], but through this library, in a process of its own.
    ///
    /// # Errors
    /// A rule caused an error, or the token refuses.
    pub fn sign_message(&self, key: &TestKey, message: &[u8]) -> Result<Vec<u8>, Error> {
        key.sign_through(self.module(), &self.env(), message)
    }

    /// Describes the token as [`TestToken::describe`], but through this library.
    ///
    /// # Errors
    /// A rule caused an error, or the token cannot be found.
    pub fn describe(&self) -> Result<Description, Error> {
        self.token.describe_through(self.module(), &self.env())
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Faults {
            path: self.directory.path().into(),
            source,
        }
    }
}

/// Returns the device that the variable `TEST_DEVICE` names; `None` if it is not set. It lets parts of a suite run with
/// that device.
///
/// # Errors
/// [`Error::Device`] when no device has this name.
pub fn device_from_env() -> Result<Option<&'static Device>, Error> {
    let Some(name) = env::var_os("TEST_DEVICE") else {
        return Ok(None);
    };
    let found = DEVICES.iter().find(|device| name == device.name);
    found.map(Some).ok_or(Error::Device)
}
