//! Selects the fault that a call meets, and brings it about.

use std::{
    env,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process, ptr,
    sync::Arc,
    thread,
};

use parking_lot::RwLock;

use cryptoki_sys::{CK_RV, CK_ULONG};

use crate::{
    Function,
    counters::{Column, Counters},
    rules::{Action, Change, Rule, Rules},
};

/// Environment variable that names the directory of rules and counters.
pub const DIRECTORY: &str = "PKCS11_FAULT_DIRECTORY";
pub(crate) const RULES: &str = "rules";
pub(crate) const CALLS: &str = "calls";

/// Rules of a directory, with counters of calls.
#[derive(Debug)]
pub(crate) struct Faults {
    directory: PathBuf,
    calls: Counters,
    current: RwLock<Arc<Current>>,
}

/// One version of the rules.
#[derive(Debug, Default)]
struct Current {
    version: Option<Version>,
    rules: Rules,
    /// Counters of each rule. `None` without rules.
    seen: Option<Counters>,
}

/// Version of the file of rules: a new file has another inode, an edited one another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    length: u64,
}

impl Version {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            seconds: metadata.ctime(),
            nanoseconds: metadata.ctime_nsec(),
            length: metadata.len(),
        }
    }
}

impl Faults {
    /// Opens the directory that [`DIRECTORY`] names.
    pub(crate) fn from_env() -> Result<Self, String> {
        let directory = env::var_os(DIRECTORY).ok_or_else(|| format!("{DIRECTORY} is not set"))?;
        let directory = PathBuf::from(directory);
        let names = Function::ALL.iter().map(|function| function.name());
        let calls = Counters::open(&directory.join(CALLS), names)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Self {
            directory,
            calls,
            current: RwLock::default(),
        })
    }

    /// Counts a call, then makes it or does what the first rule that fires says. `detail`: the mechanism or the flags in
    /// its arguments.
    pub(crate) fn around(
        &self,
        function: Function,
        detail: Option<CK_ULONG>,
        call: impl FnOnce(Option<&Change>) -> CK_RV,
    ) -> CK_RV {
        self.calls.add(function.index(), Column::Seen);
        let current = self.current();
        let Some(rule) = current.firing(function, detail) else {
            return call(None);
        };
        self.calls.add(function.index(), Column::Fired);
        thread::sleep(rule.delay);
        match &rule.action {
            Action::Pass => call(None),
            Action::Change(change) => call(Some(change)),
            Action::Answer { code, after_call } => {
                if *after_call {
                    call(None);
                }
                *code
            }
            Action::Hang => loop {
                thread::park();
            },
            Action::Segv => {
                // No mapping has this address. It is not null, because debug builds check for null.
                let nowhere = ptr::without_provenance_mut::<u64>(8);
                // SAFETY: the write reaches no memory; it ends the process, as the rule asks for.
                unsafe { nowhere.write_volatile(0) };
                process::abort()
            }
            Action::Abort => process::abort(),
            Action::Exit(code) => process::exit(*code),
        }
    }

    /// Returns the rules, read again if their file has changed.
    fn current(&self) -> Arc<Current> {
        let version = fs::metadata(self.directory.join(RULES))
            .ok()
            .map(|metadata| Version::of(&metadata));
        let known = Arc::clone(&self.current.read());
        if known.version == version {
            return known;
        }
        match Current::load(&self.directory) {
            Ok(loaded) => {
                let mut current = self.current.write();
                *current = Arc::new(loaded);
                Arc::clone(&current)
            }
            // A rule that cannot be parsed must not be mistaken for one that did not fire.
            Err(error) => {
                eprintln!("pkcs11-fault-shim: {}: {error}", self.directory.display());
                process::abort()
            }
        }
    }
}

impl Current {
    fn load(directory: &Path) -> io::Result<Self> {
        let mut file = match File::open(directory.join(RULES)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        // Metadata of the open file: its text has this version even if another file replaces it now.
        let version = Version::of(&file.metadata()?);
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let rules: Rules = text.parse().map_err(io::Error::other)?;
        let Version {
            inode,
            seconds,
            nanoseconds,
            length: _,
        } = version;
        // Each version has its own file of counters, so that a process with older rules counts elsewhere.
        let path = directory.join(format!("seen.{inode}.{seconds}.{nanoseconds}"));
        let names: Vec<_> = (1..=rules.len())
            .map(|place| format!("rule {place}"))
            .collect();
        let seen = if names.is_empty() {
            None
        } else {
            Some(Counters::open(&path, names.iter().map(String::as_str))?)
        };
        Ok(Self {
            version: Some(version),
            rules,
            seen,
        })
    }

    fn firing(&self, function: Function, detail: Option<CK_ULONG>) -> Option<&Rule> {
        let seen = self.seen.as_ref()?;
        let mut about = self.rules.about(function, detail);
        about
            .find(|(place, rule)| {
                let fires = rule.fires(seen.add(*place, Column::Seen));
                if fires {
                    seen.add(*place, Column::Fired);
                }
                fires
            })
            .map(|(_, rule)| rule)
    }
}
