//! The folder for support or an auditor: the report and what it is about, without PINs, Secrets and the environments of
//! libraries, which may hold passwords.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

/// What stands for a value that is left out.
const REDACTED: &str = "<redacted>";

/// A folder that did not exist before. Only its owner can read it.
#[derive(Debug)]
pub(super) struct Evidence(PathBuf);

impl Evidence {
    /// Creates the folder.
    ///
    /// # Errors
    /// It exists already, or cannot be created.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let created = DirBuilder::new().mode(0o700).create(path);
        created.with_context(|| {
            format!(
                "failed to create the folder {}; name one that does not exist, in a folder that does",
                path.display()
            )
        })?;
        Ok(Self(path.to_owned()))
    }

    /// Writes a new file with a record as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&self, name: &str, record: &impl Serialize) -> anyhow::Result<()> {
        let path = self.0.join(name);
        let text = serde_json::to_string_pretty(record)? + "\n";
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("failed to write {}", path.display()))
    }
}

/// Returns the text of a configuration that was accepted, without the values of its environments; `None` if it is not YAML.
pub(super) fn configuration(text: &str) -> Option<Value> {
    let mut values: Value = serde_saphyr::from_str(text).ok()?;
    let modules = values.get_mut("modules").and_then(Value::as_object_mut);
    let environments = modules
        .into_iter()
        .flat_map(|modules| modules.values_mut())
        .filter_map(|module| module.get_mut("env")?.as_object_mut());
    for value in environments.flat_map(|env| env.values_mut()) {
        *value = Value::from(REDACTED);
    }
    Some(values)
}
