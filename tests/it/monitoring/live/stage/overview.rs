//! The commands of `docs/runbook.md`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use rig::{csr_for, request_spec};
use serde_json::Value;

use super::{
    super::pages::{POD, commands},
    LOGS, Stage,
};
use crate::{controller::issuer, page::Step};

const PAGE: &str = include_str!("../../../../../docs/runbook.md");

/// A name in a certificate that the page's auditor looks for.
const NAME: &str = "shop.example";

/// Rights of the auditor, as the page lists them.
const AUDITOR: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: auditor}
rules:
- {apiGroups: [cert-manager.io], resources: [certificaterequests], verbs: [list]}
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests, podcertificaterequests], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: auditor}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: auditor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: auditor}]
";

impl Stage {
    /// Runs the commands for an operator, during a fault about which the log has lines.
    pub(in super::super) async fn overview_helps(&self) -> Result<()> {
        let mut steps = commands(PAGE, &[("POD", POD)])?;
        steps.retain(|step| !is_for_an_auditor(step));
        let said = self.pages.run(&self.pages.desk()?, steps).await?;
        let state = said.last().context("no command")?;
        let state: Value = serde_json::from_str(state)?;
        ensure!(state["process"]["replica"] == POD, "{state}");
        let said = said.concat();
        for text in ["READY", "TokenUnavailable", "\"level\":\"WARN\""] {
            ensure!(said.contains(text), "no {text}: {said}");
        }
        Ok(())
    }

    /// Ends the controller, and runs the commands for an auditor on what it has logged.
    pub(in super::super) async fn an_auditor_is_answered(&self) -> Result<()> {
        let asked = request_spec(&issuer(), &csr_for(NAME)?);
        self.requests.create_approved("shop", asked).await?;
        self.requests.reaches("shop", "Issued").await?;
        let key = self.controller.verifier_key().await?;
        self.controller.stop().await?;
        let desk = self.pages.desk()?;
        let logs = desk.path("logs");
        self.collect_logs(&logs)?;
        let signed = signed(&logs)?;
        let text = |field: &str| {
            let text = signed[field].as_str();
            text.with_context(|| format!("no {field}: {signed}"))
        };
        let serial = text("serial")?;
        let names = [("SERIAL", serial), ("KEY", text("keyId")?)];
        let mut steps = commands(PAGE, &names)?;
        steps.retain(is_for_an_auditor);

        let plane = self.cluster.plane();
        plane.apply(AUDITOR).await?;
        let kubeconfig = plane.user("auditor", None)?;
        fs::copy(kubeconfig, desk.path("auditor.kubeconfig"))?;
        fs::write(desk.path("audit.vkey"), format!("{key}\n"))?;
        let commands: Vec<_> = steps.iter().map(|step| step.command.clone()).collect();
        let said = self.pages.run(&desk, steps).await?;
        for (command, said) in commands.iter().zip(said) {
            let shows = command.contains("audit show") || command.contains("audit certificate");
            ensure!(!shows || said.contains(serial), "{command}: {said}");
        }
        Ok(())
    }

    /// Copies the log on stderr and all files of the issuance log into a new folder.
    fn collect_logs(&self, folder: &Path) -> Result<()> {
        fs::create_dir(folder)?;
        fs::copy(self.controller.process().log_path(), folder.join("stderr"))?;
        for file in fs::read_dir(self.folder.path().join(LOGS))? {
            let file = file?;
            fs::copy(file.path(), folder.join(file.file_name()))?;
        }
        Ok(())
    }
}

fn is_for_an_auditor(step: &Step<'_>) -> bool {
    step.command.starts_with("pkcs11-issuer audit ")
}

/// Returns the line of the issuance log, whose files are in a folder, about the certificate with the name.
fn signed(logs: &Path) -> Result<Value> {
    for file in fs::read_dir(logs)? {
        let text = fs::read_to_string(file?.path())?;
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let is_it =
            |line: &Value| line["event"] == "signed" && line["names"].to_string().contains(NAME);
        if let Some(found) = lines.into_iter().find(is_it) {
            return Ok(found);
        }
    }
    bail!("no certificate with the name")
}
