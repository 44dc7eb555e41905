//! The directory that a test shares with the shim, from the test's side.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    Function,
    counters::read,
    faults::{CALLS, RULES},
    rules::{Rules, RulesError},
};

/// Directory of rules and counters, from the test's side.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Uses an existing directory that the program under test can write to.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.into())
    }

    /// Replaces all earlier rules by these, which count from zero. An empty text has no rules.
    ///
    /// # Errors
    /// A line is not a rule (the earlier rules then stay), or the file cannot be written.
    pub fn set_rules(&self, text: &str) -> io::Result<()> {
        let checked: Result<Rules, RulesError> = text.parse();
        checked.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let new = self.0.join("rules.new");
        fs::write(&new, text)?;
        fs::rename(new, self.0.join(RULES))
    }

    /// Returns the calls of a function so far, by all processes; zero before the first process starts.
    ///
    /// # Errors
    /// The file of calls cannot be read.
    pub fn calls(&self, function: Function) -> io::Result<u64> {
        self.read(function).map(|(calls, _)| calls)
    }

    /// Returns the calls of a function on which a rule fired.
    ///
    /// # Errors
    /// The file of calls cannot be read.
    pub fn faults(&self, function: Function) -> io::Result<u64> {
        self.read(function).map(|(_, faults)| faults)
    }

    fn read(&self, function: Function) -> io::Result<(u64, u64)> {
        match fs::read(self.0.join(CALLS)) {
            Ok(octets) => Ok(read(&octets, function.name())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((0, 0)),
            Err(error) => Err(error),
        }
    }
}
