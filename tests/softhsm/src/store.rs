//! Tokens in a temporary directory.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use tempfile::TempDir;

use crate::{
    Error, Provider, TestToken,
    order::{Report, Task, run},
};

/// Tokens of one provider in a directory of their own. The directory is removed when the store and its tokens and keys are
/// dropped.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: TempDir,
    provider: Provider,
    module: PathBuf,
    /// Number of tokens made.
    made: Mutex<usize>,
}

impl Store {
    /// Creates an empty store of the provider that the variable `TEST_TOKEN` names, else SoftHSM.
    ///
    /// # Errors
    /// The variable names no provider, the provider is not installed, or the directory cannot be created.
    pub fn new() -> Result<Self, Error> {
        Self::of(Provider::from_env()?)
    }

    /// Creates an empty store of this provider in the system's temporary directory.
    ///
    /// # Errors
    /// The provider is not installed, or the directory cannot be created.
    pub fn of(provider: Provider) -> Result<Self, Error> {
        let module = provider.module()?;
        let temp = env::temp_dir();
        let directory = tempfile::Builder::new().prefix("softhsm-").tempdir();
        let directory = directory.map_err(|source| Error::File { path: temp, source })?;
        let store = Self(Arc::new(Inner {
            directory,
            provider,
            module,
            made: Mutex::new(0),
        }));
        let tokens = store.tokens();
        fs::create_dir(&tokens).map_err(|source| Error::File {
            path: tokens.clone(),
            source,
        })?;
        store.configure(0)?;
        Ok(store)
    }

    /// Makes a token with long random PINs.
    ///
    /// # Errors
    /// The helper cannot be found or the library refuses.
    pub fn make_token(&self, label: &str) -> Result<TestToken, Error> {
        let (so_pin, user_pin) = (pin()?, pin()?);
        let mut made = self.0.made.lock();
        self.configure(*made + 1)?;
        let task = Task::Make {
            label: label.into(),
            so_pin,
            user_pin: user_pin.clone(),
        };
        let Report::Made(serial) = run(self.module(), &self.env(), task)? else {
            return Err(Error::OtherAnswer);
        };
        *made += 1;
        let pin_file = self.write(&format!("{serial}.pin"), user_pin.as_bytes())?;
        Ok(TestToken::new(
            self.clone(),
            label.into(),
            serial,
            user_pin,
            pin_file,
        ))
    }

    /// Returns the provider of the tokens.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.0.provider
    }

    /// Returns the provider's library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.0.module
    }

    /// Returns the store's directory, for files that should be removed with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.0.directory.path()
    }

    /// Returns the environment that a process needs to see these tokens.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        let configuration = self.configuration().to_string_lossy().into_owned();
        BTreeMap::from([(self.0.provider.variable().into(), configuration)])
    }

    /// Takes every token of the store away, as if the device were unplugged. A process that has opened a Kryoptic token
    /// keeps it, because the token is one open file; only processes that start later do not find it.
    ///
    /// # Errors
    /// The tokens have been taken away already.
    pub fn take_away(&self) -> Result<(), Error> {
        rename(&self.tokens(), &self.away())
    }

    /// Gives the tokens back.
    ///
    /// # Errors
    /// The tokens have not been taken away.
    pub fn give_back(&self) -> Result<(), Error> {
        rename(&self.away(), &self.tokens())
    }

    fn configure(&self, tokens: usize) -> Result<(), Error> {
        let path = self.configuration();
        let text = self.0.provider.configuration(&self.tokens(), tokens);
        fs::write(&path, text).map_err(|source| Error::File { path, source })
    }

    fn configuration(&self) -> PathBuf {
        self.directory().join("token.conf")
    }

    fn tokens(&self) -> PathBuf {
        self.directory().join("tokens")
    }

    fn away(&self) -> PathBuf {
        self.directory().join("tokens.away")
    }

    /// Writes a file that only its owner can read.
    fn write(&self, name: &str, octets: &[u8]) -> Result<PathBuf, Error> {
        let path = self.directory().join(name);
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let written = file.and_then(|mut file| file.write_all(octets));
        written.map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|source| Error::File {
        path: from.into(),
        source,
    })
}

/// Generates a PIN of 128 random bits, so that a test that finds it in some output has found the PIN and no coincidence.
fn pin() -> Result<String, Error> {
    let mut octets = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| Error::Random)?;
    Ok(hex::encode(octets))
}
