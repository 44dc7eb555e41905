//! One SoftHSM store in a temporary directory.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;

use crate::{
    Error, TestToken,
    order::{Report, Task, run},
};

const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// SoftHSM's library: `SOFTHSM2_MODULE`, else where distributions put it.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn module() -> Result<PathBuf, Error> {
    let named = env::var_os("SOFTHSM2_MODULE").map(PathBuf::from);
    let known = MODULES.iter().map(PathBuf::from);
    named
        .into_iter()
        .chain(known)
        .find(|path| path.is_file())
        .ok_or(Error::NotInstalled)
}

/// A SoftHSM store of its own. Its directory is removed with the last token and key of it.
#[derive(Clone, Debug)]
pub struct SoftHsm(Arc<Store>);

#[derive(Debug)]
struct Store {
    directory: TempDir,
    module: PathBuf,
}

impl SoftHsm {
    /// An empty store in the system's temporary directory.
    ///
    /// # Errors
    /// SoftHSM is not installed, or the directory cannot be made.
    pub fn new() -> Result<Self, Error> {
        let module = module()?;
        let temp = env::temp_dir();
        let directory = tempfile::Builder::new().prefix("softhsm-").tempdir();
        let directory = directory.map_err(|source| Error::File { path: temp, source })?;
        let softhsm = Self(Arc::new(Store { directory, module }));
        let tokens = softhsm.tokens();
        fs::create_dir(&tokens).map_err(|source| Error::File {
            path: tokens.clone(),
            source,
        })?;
        let configuration = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            tokens.display()
        );
        softhsm.write("softhsm2.conf", configuration.as_bytes())?;
        Ok(softhsm)
    }

    /// Makes a token with long random PINs.
    ///
    /// # Errors
    /// The helper cannot be found or SoftHSM refuses.
    pub fn make_token(&self, label: &str) -> Result<TestToken, Error> {
        let (so_pin, user_pin) = (pin()?, pin()?);
        let task = Task::Make {
            label: label.into(),
            so_pin,
            user_pin: user_pin.clone(),
        };
        let Report::Made(serial) = run(self.module(), &self.env(), task)? else {
            return Err(Error::OtherAnswer);
        };
        let pin_file = self.write(&format!("{serial}.pin"), user_pin.as_bytes())?;
        Ok(TestToken::new(
            self.clone(),
            label.into(),
            serial,
            user_pin,
            pin_file,
        ))
    }

    /// SoftHSM's library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.0.module
    }

    /// The directory of everything, for files that should go with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.0.directory.path()
    }

    /// What a process must have in its environment to see these tokens.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        let configuration = self.directory().join("softhsm2.conf");
        BTreeMap::from([(
            "SOFTHSM2_CONF".into(),
            configuration.to_string_lossy().into_owned(),
        )])
    }

    /// Takes every token of the store away, as if the device were unplugged.
    ///
    /// # Errors
    /// They are away already.
    pub fn take_away(&self) -> Result<(), Error> {
        rename(&self.tokens(), &self.away())
    }

    /// Puts them back.
    ///
    /// # Errors
    /// They are not away.
    pub fn give_back(&self) -> Result<(), Error> {
        rename(&self.away(), &self.tokens())
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

/// 128 random bits, so that finding it anywhere means something.
fn pin() -> Result<String, Error> {
    let mut octets = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| Error::Random)?;
    Ok(hex::encode(octets))
}
