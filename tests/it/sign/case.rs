//! A folder with a configuration, an issuer and a CSR, a token, and runs of the program on them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rig::{Authority, csr_for};
use serde_json::{Value, json};
use softhsm_test_helpers::{FaultyModule, Function, KeyKind};

/// Everything that one run needs. A test changes the part that it is about.
pub(crate) struct Case {
    pub(crate) authority: Authority,
    /// The token's library. It counts its calls and fails when the test says so.
    pub(crate) library: FaultyModule,
    pub(crate) configuration: Value,
    pub(crate) issuer: Value,
    folder: tempfile::TempDir,
}

/// The output and the exit code of a run.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Case {
    /// Creates a cluster issuer with inline certificates, a CSR for `web.example`, and a file with the right PIN.
    pub(crate) fn new() -> Result<Self> {
        let authority = Authority::new(KeyKind::P256)?;
        let library = authority.token().with_faults()?;
        let folder = tempfile::tempdir()?;
        let mut configuration = authority.configuration(&[]);
        configuration["modules"]["softhsm"] =
            json!({"path": library.module(), "env": library.env()});
        configuration["tokens"]["issuing"]["pinFile"] = json!(folder.path().join("pin"));
        let issuer = json!({
            "apiVersion": "pkcs11-issuer.dev/v1alpha1",
            "kind": "PKCS11ClusterIssuer",
            "metadata": {"name": "issuing"},
            "spec": authority.issuer_spec(),
        });
        let case = Self {
            library,
            configuration,
            issuer,
            folder,
            authority,
        };
        case.write("web.csr", csr_for("web.example")?)?;
        case.write_pin(case.authority.token().user_pin())?;
        Ok(case)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file atomically, because an earlier run may be reading it.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
        let (path, new) = (self.path(name), self.path(&format!("new-{name}")));
        fs::write(&new, text)?;
        fs::rename(new, &path)?;
        Ok(path)
    }

    pub(crate) fn write_pin(&self, pin: &str) -> Result<()> {
        self.write("pin", pin).map(drop)
    }

    /// Returns the token in the configuration.
    pub(crate) fn token(&mut self) -> &mut Value {
        &mut self.configuration["tokens"]["issuing"]
    }

    /// Returns the spec of the issuer.
    pub(crate) fn spec(&mut self) -> &mut Value {
        &mut self.issuer["spec"]
    }

    /// Returns the command for the files in this folder. A flag in `more` replaces the same flag here.
    pub(crate) fn command(&self, more: &[&str]) -> Result<Command> {
        let config = self.write("config.yaml", self.configuration.to_string())?;
        let issuer = self.write("issuer.yaml", self.issuer.to_string())?;
        let csr = self.path("web.csr");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
        command.arg("sign").env_clear().current_dir(&self.folder);
        for (flag, file) in [("--config", config), ("--issuer", issuer), ("--csr", csr)] {
            if !more.contains(&flag) {
                command.arg(flag).arg(file);
            }
        }
        if !more.contains(&"--worker") {
            let programs = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
            command.arg("--worker").arg(programs.worker);
        }
        command.args(more).stdin(Stdio::null());
        Ok(command)
    }

    pub(crate) fn sign(&self, more: &[&str]) -> Result<Said> {
        Said::of(self.command(more)?.output()?)
    }

    /// Returns how often a PIN was tried.
    pub(crate) fn logins(&self) -> Result<u64> {
        Ok(self.library.calls(Function::C_Login)?)
    }

    /// Returns the names in the folder that begin with `start`, with or without a leading dot.
    pub(crate) fn names(&self, start: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder.path())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.trim_start_matches('.').starts_with(start) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Said {
    pub(crate) fn of(output: Output) -> Result<Self> {
        Ok(Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Returns the chain on stdout of a run that signed.
    pub(crate) fn chain(&self) -> Result<&str> {
        ensure!(self.code == Some(0), "{self:?}");
        Ok(&self.stdout)
    }

    /// Returns the one error of a run that neither signed nor refused.
    pub(crate) fn error(&self) -> Result<&str> {
        ensure!(self.code == Some(1) && self.stdout.is_empty(), "{self:?}");
        let mut errors = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error") || line.contains(" ERROR "));
        let error = errors.next().and_then(|line| line.strip_prefix("error: "));
        ensure!(errors.next().is_none(), "more than one error: {self:?}");
        error.with_context(|| format!("no error: {self:?}"))
    }

    /// Returns the lines of the issuance log about the request: all but *started*, *stopped* and the last checkpoint.
    pub(crate) fn issuance_log(&self) -> Result<Vec<Value>> {
        let lines = self.stderr.lines().filter(|line| line.starts_with('{'));
        let mut lines: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        if lines.is_empty() {
            return Ok(lines);
        }
        let end = lines.split_off(lines.len().saturating_sub(2));
        let frame = [lines.remove(0)].into_iter().chain(end);
        let frame: Vec<_> = frame.map(|line| line["event"].clone()).collect();
        ensure!(frame == ["started", "stopped", "checkpoint"], "{self:?}");
        Ok(lines)
    }

    /// Returns the events of the issuance log, in order.
    pub(crate) fn events(&self) -> Result<Vec<String>> {
        let log = self.issuance_log()?;
        Ok(log
            .iter()
            .filter_map(|line| Some(line["event"].as_str()?.to_owned()))
            .collect())
    }
}
