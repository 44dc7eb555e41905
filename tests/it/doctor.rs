//! `pkcs11-issuer doctor` on installations that are whole, broken on purpose, or partly missing.

mod broken;
mod cluster;
mod evidence;
mod pins;
mod whole;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::sign::case::{Case, Said};

/// Returns the command without flags of its own, but for the worker.
fn command() -> Result<Command> {
    let programs = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
    command.env_clear().arg("doctor");
    command.env("PKCS11_ISSUER_WORKER", programs.worker);
    Ok(command)
}

/// Returns the command for the configuration and the issuer of a case. A flag in `more` replaces the same flag here.
fn command_for(case: &Case, more: &[&str]) -> Result<Command> {
    let config = case.write("config.yaml", case.configuration.to_string())?;
    let issuer = case.write("issuer.yaml", case.issuer.to_string())?;
    let mut command = command()?;
    command.current_dir(case.folder());
    for (flag, file) in [("--config", config), ("--issuer", issuer)] {
        if !more.contains(&flag) {
            command.arg(flag).arg(file);
        }
    }
    command.args(more);
    Ok(command)
}

/// What doctor reported as JSON.
#[derive(Debug)]
struct Reported {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Reported {
    fn of(command: &mut Command) -> Result<Self> {
        let said = Said::of(command.args(["--output", "json"]).output()?)?;
        ensure!(said.stderr.is_empty(), "{said:?}");
        let mut report: Value = serde_json::from_str(&said.stdout)?;
        let checks = report["checks"].take();
        Ok(Self {
            code: said.code,
            checks: checks.as_array().context("no checks")?.clone(),
        })
    }

    fn on(case: &Case, more: &[&str]) -> Result<Self> {
        Self::of(&mut command_for(case, more)?)
    }

    /// Returns the first finding that needs an act.
    fn first(&self) -> Option<&Value> {
        let acts = |finding: &&Value| finding["state"] == "fail" || finding["state"] == "warn";
        self.checks.iter().find(acts)
    }

    /// Returns the only finding of a check.
    fn finding(&self, id: &str) -> Result<&Value> {
        let mut found = self.checks.iter().filter(|finding| finding["id"] == id);
        let finding = found.next().with_context(|| format!("no {id}: {self:?}"))?;
        ensure!(found.next().is_none(), "several {id}: {self:?}");
        Ok(finding)
    }
}
