//! Finds the programs that `make tools` has built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The folders of the programs, in search order.
#[derive(Clone, Debug)]
pub struct Tools {
    folders: Vec<PathBuf>,
}

impl Tools {
    /// Finds the folders with `tests/tools/build --print-path`, which honours `KUBEBUILDER_ASSETS` and builds nothing.
    ///
    /// # Errors
    ///
    /// When a tool set is not built; the message says how to build it.
    pub fn locate() -> Result<Self> {
        Self::ask(&[])
    }

    /// Finds the folder of one set, regardless of `KUBEBUILDER_ASSETS`: for programs that are not in that folder, or that
    /// `make tools` does not build.
    ///
    /// # Errors
    ///
    /// As [`Tools::locate`].
    pub fn of(set: &str) -> Result<Self> {
        Self::ask(&[set])
    }

    fn ask(sets: &[&str]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/build");
        let output = Command::new(&script)
            .arg("--print-path")
            .args(sets)
            .output()
            .with_context(|| format!("run {}", script.display()))?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let path = String::from_utf8(output.stdout).context("read the path of the tools")?;
        Ok(Self {
            folders: std::env::split_paths(path.trim()).collect(),
        })
    }

    /// Returns the full path of a program.
    ///
    /// # Errors
    ///
    /// When no folder has the program.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        self.find(Path::new(name))
    }

    /// Returns the path of other files of a set: `crds`, `chart`, `gateway-api`, `stages`, `rbac`.
    pub(crate) fn share(&self, name: &str) -> Result<PathBuf> {
        self.find(&Path::new("../share").join(name))
    }

    fn find(&self, name: &Path) -> Result<PathBuf> {
        let Some(found) = self
            .folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.exists())
        else {
            bail!(
                "{} is in none of the folders {:?}; run `make tools`",
                name.display(),
                self.folders
            );
        };
        Ok(found)
    }
}
