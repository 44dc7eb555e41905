//! A token whose library fails as told.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use pkcs11_fault_shim::{DIRECTORY, Directory, Function, MODULE};
use tempfile::TempDir;

use crate::{Description, Error, TestKey, TestToken, program::library};

/// A library that passes every call on to the token's own, or fails by rules that a test may change at any time.
/// `tests/shim/README.md` has the language of the rules.
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
    /// The token behind a library that fails as told; without rules it is the token's own. Each has its own rules, and
    /// programs that use the token directly meet none.
    ///
    /// # Errors
    /// The library cannot be found or built, or there is no room for its rules.
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
    /// The library for a program under test.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.shim
    }

    /// What a process must have in its environment to use the library and see the token.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut env = self.token.env();
        env.insert(MODULE.into(), text(self.token.module()));
        env.insert(DIRECTORY.into(), text(self.directory.path()));
        env
    }

    /// Puts these rules in the place of all earlier ones, from the next call on. No text: nothing fails any more.
    ///
    /// # Errors
    /// A line is no rule.
    pub fn rules(&self, rules: &str) -> Result<(), Error> {
        self.faults
            .set_rules(rules)
            .map_err(|error| self.error(error))
    }

    /// Calls of a function so far, by every process that used this library.
    ///
    /// # Errors
    /// The counts cannot be read.
    pub fn calls(&self, function: Function) -> Result<u64, Error> {
        self.faults
            .calls(function)
            .map_err(|error| self.error(error))
    }

    /// How many of them met a rule that fired.
    ///
    /// # Errors
    /// The counts cannot be read.
    pub fn faults(&self, function: Function) -> Result<u64, Error> {
        self.faults
            .faults(function)
            .map_err(|error| self.error(error))
    }

    /// [`TestKey::sign_message`] through this library, in a process of its own.
    ///
    /// # Errors
    /// A rule forced one, or the token refuses.
    pub fn sign_message(&self, key: &TestKey, message: &[u8]) -> Result<Vec<u8>, Error> {
        key.sign_through(self.module(), &self.env(), message)
    }

    /// [`TestToken::describe`] through this library.
    ///
    /// # Errors
    /// A rule forced one, or the token cannot be found.
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
