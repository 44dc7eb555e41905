//! Runs the queries and the commands of the runbooks as they stand on their pages, against the live control plane.
//!
//! The commands run in bash, with our program, the real kubectl and every right. Only the names in capital letters are filled in.
//! What needs a kubelet, which this control plane lacks, is done by a program in front of kubectl: for `kubectl logs` it prints
//! what the controller of this run has written, for each pod that the real kubectl finds by the command's selector; for
//! `kubectl port-forward` it only waits, and curl is told the controller's address. The pod is an object from the chart's
//! template; the controller runs as a process beside it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::{Cluster, Controller, NAMESPACE, PATIENCE};
use serde_json::{Value, json};

use super::{
    super::{prometheus::Prometheus, runbooks},
    expected::Expected,
};
use crate::{
    chart,
    desk::Desk,
    page::{Page, Step},
};

/// Name of the pod, which is also the controller's identity.
pub(super) const POD: &str = "pkcs11-issuer";

/// Beginnings of the commands that change nothing.
const READS: &[&str] = &[
    "kubectl describe ",
    "kubectl get ",
    "kubectl logs ",
    "pkcs11-issuer doctor ",
    "echo ",
];

/// A command that mends a fault: the alert of its page, and how it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MendingCommand(&'static str, &'static str);

/// Removes the record of a PIN that was rejected.
pub(super) const CLEAR_RECORD: MendingCommand =
    MendingCommand("PinBlocked", "kubectl patch secret ");
/// Creates the PIN record.
pub(super) const CREATE_RECORD: MendingCommand =
    MendingCommand("PinBlocked", "kubectl create secret ");

/// Every command of a page that changes something. A fault of the live test is mended by it.
const REMEDIES: &[MendingCommand] = &[CLEAR_RECORD, CREATE_RECORD];

/// What the commands need.
pub(super) struct Pages {
    /// Folder with the program in front of kubectl, and with curl's configuration.
    programs: PathBuf,
    kubeconfig: PathBuf,
    /// The operator's configuration of the controller.
    configuration: String,
}

impl Pages {
    /// Creates the controller's pod and the programs.
    pub(super) async fn prepare(
        cluster: &Cluster,
        controller: &Controller,
        configuration: &Value,
        folder: &Path,
    ) -> Result<Self> {
        let plane = cluster.plane();
        let objects = chart::render(&chart::value_set("softhsm", json!({}))?).await?;
        let template = &chart::workload(&objects)?["spec"]["template"];
        let labels = &template["metadata"]["labels"];
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
            "metadata": {"namespace": NAMESPACE, "name": POD, "labels": labels},
        });
        cluster.apply(&pod).await?;
        let runs = r#"{"status": {"phase": "Running"}}"#;
        let patch = ["patch", "pod", POD, "-n", NAMESPACE, "-p", runs];
        let patch = [&patch[..], &["--subresource=status"]].concat();
        plane.kubectl(&patch).await?;

        let programs = folder.join("programs");
        fs::create_dir(&programs)?;
        let kubectl = programs.join("kubectl");
        let real = plane.tools().program("kubectl")?;
        fs::write(&kubectl, before_kubectl(&real, plane.log_dir()))?;
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755))?;
        let started = controller.process().line("\"started\"", PATIENCE).await?;
        let started: Value = serde_json::from_str(&started)?;
        let address = started["debug"].as_str().context("no address")?;
        let curl = format!("connect-to = \"127.0.0.1:6060:{address}\"\n");
        fs::write(programs.join(".curlrc"), curl)?;
        Ok(Self {
            programs,
            kubeconfig: plane.admin_kubeconfig(),
            configuration: configuration.to_string(),
        })
    }

    /// Runs what the page of an alert says, apart from the remedies. Every query and every command must say something, and
    /// together they show what the page tells its reader to look for.
    pub(super) async fn help(&self, prometheus: &Prometheus, alert: &str) -> Result<()> {
        let text = runbooks::page_of(alert)?;
        let Expected { names, shown, .. } = Expected::of(alert)?;
        let mut said = String::new();
        for query in runbooks::queries(&text) {
            let what = format!("an answer to {query}");
            let answer = until(&what, PATIENCE, async || {
                let samples = prometheus.numbers(&query).await?;
                Ok((!samples.is_empty()).then_some(samples))
            });
            said += &json!(answer.await?).to_string();
        }
        let mut steps = commands(&text, names)?;
        steps.retain(|step| !changes(step));
        for text in self.run(&self.desk()?, steps).await? {
            said += &text;
        }
        for word in *shown {
            ensure!(text.contains(word), "{alert}: the page lacks {word:?}");
            ensure!(said.contains(word), "{alert}: no {word:?} in {said}");
        }
        Ok(())
    }

    /// Runs a remedy as its page has it, and returns the command.
    pub(super) async fn mend(
        &self,
        remedy: &MendingCommand,
        names: &[(&str, &str)],
    ) -> Result<String> {
        let MendingCommand(alert, beginning) = remedy;
        let text = runbooks::page_of(alert)?;
        let mut steps = commands(&text, names)?;
        steps.retain(|step| step.command.starts_with(beginning));
        let [step] = &steps[..] else {
            anyhow::bail!("{remedy:?}: {steps:?}");
        };
        let command = step.command.clone();
        self.run(&self.desk()?, steps).await?;
        Ok(command)
    }

    /// Returns a folder to run commands in. It has the operator's configuration.
    pub(super) fn desk(&self) -> Result<Desk> {
        let desk = Desk::new()?;
        fs::write(desk.path("config.yaml"), &self.configuration)?;
        Ok(desk)
    }

    /// Runs commands, and returns what each has said.
    pub(super) async fn run(&self, desk: &Desk, steps: Vec<Step<'_>>) -> Result<Vec<String>> {
        let path = format!("{}:{}", self.programs.display(), Desk::programs()?);
        let cache = desk.path(".kubectl");
        let env = [
            ("PATH", Path::new(&path)),
            ("KUBECONFIG", &self.kubeconfig),
            ("KUBECACHEDIR", &cache),
            ("CURL_HOME", &self.programs),
        ];
        let page = Page { steps };
        let said = page.run(desk, &env).await?;
        for (step, text) in page.steps.iter().zip(&said) {
            let empty = text.trim().is_empty() || text.starts_with("No resources found");
            let command = &step.command;
            ensure!(!empty || command.ends_with('&'), "{command}: {text}");
        }
        Ok(said)
    }
}

/// Returns the program in front of kubectl.
fn before_kubectl(kubectl: &Path, logs: &Path) -> String {
    let (kubectl, logs) = (kubectl.display(), logs.display());
    format!(
        r#"#!/usr/bin/env bash
set -euo pipefail
case ${{1-}} in
port-forward)
    [[ $* == 'port-forward --namespace '*' '*' 6060' ]]
    '{kubectl}' get pod "${{@:2:3}}" --output name
    exec sleep infinity
    ;;
logs) ;;
*) exec '{kubectl}' "$@" ;;
esac
shift
selected=()
while (($#)); do
    case $1 in
    --namespace | --selector) selected+=("$1" "$2") && shift ;;
    --tail=-1 | --all-containers) ;;
    *) echo "unknown: $1" >&2 && exit 1 ;;
    esac
    shift
done
for pod in $('{kubectl}' get pods "${{selected[@]}}" --output name); do
    cat '{logs}'/"${{pod#pod/}}".{{log,out}}
done
"#
    )
}

/// Returns the commands of a page, with the names filled in.
pub(super) fn commands<'a>(text: &'a str, names: &[(&str, &str)]) -> Result<Vec<Step<'a>>> {
    if !text.contains("```console\n") {
        return Ok(Vec::new());
    }
    let mut steps = Page::parse(text)?.steps;
    for step in &mut steps {
        step.command = filled(&step.command, names);
    }
    Ok(steps)
}

/// Replaces whole words in capital letters.
fn filled(command: &str, names: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for piece in command.split_inclusive(|c: char| !c.is_ascii_uppercase()) {
        let word = piece.trim_end_matches(|c: char| !c.is_ascii_uppercase());
        let name = names.iter().find(|(name, _)| *name == word);
        text += name.map_or(word, |(_, value)| value);
        text += &piece[word.len()..];
    }
    text
}

/// Whether a command changes something.
fn changes(step: &Step<'_>) -> bool {
    !READS.iter().any(|reads| step.command.starts_with(reads))
}

#[test]
fn every_command_of_a_page_that_changes_something_is_a_remedy_of_the_live_test() -> Result<()> {
    let mut found = Vec::new();
    for alert in super::super::alerts()? {
        let name = alert.name.trim_start_matches(super::super::alerts::PREFIX);
        let text = runbooks::page_of(name)?;
        let expected = Expected::of(name)?;
        for step in commands(&text, expected.names)?
            .iter()
            .filter(|step| changes(step))
        {
            let command = step.command.clone();
            let is_it = |MendingCommand(alert, beginning): &&MendingCommand| {
                *alert == name && command.starts_with(beginning)
            };
            let remedy = REMEDIES.iter().find(is_it);
            found.push(remedy.with_context(|| format!("{name}: nobody runs {command}"))?);
        }
    }
    assert_eq!(found, REMEDIES.iter().collect::<Vec<_>>());
    Ok(())
}

#[test]
fn only_whole_words_in_capital_letters_are_filled_in() {
    let names = [("NAME", "web"), ("NAMESPACE", "shop")];
    let command = "get --namespace NAMESPACE NAME 'NAME' RENAME name";
    let expected = "get --namespace shop web 'web' RENAME name";
    assert_eq!(filled(command, &names), expected);
}
