//! The commands of `docs/runbook.md`.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rig::{Controller, csr_for, request_spec};
use serde_json::Value;

use super::{
    super::pages::{POD, commands},
    Stage,
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
        let signed = signed(&self.controller)?;
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
        let desk = self.pages.desk()?;
        fs::copy(
            plane.user("auditor", None)?,
            desk.path("auditor.kubeconfig"),
        )?;
        fs::write(desk.path("audit.vkey"), format!("{key}\n"))?;
        fs::create_dir(desk.path("logs"))?;
        for log in [
            self.controller.issuance_log_path(),
            self.controller.process().log_path(),
        ] {
            let name = log.file_name().context("no name")?;
            fs::copy(log, desk.path("logs").join(name))?;
        }
        let shows: Vec<_> = steps.iter().map(|step| step.command.clone()).collect();
        let said = self.pages.run(&desk, steps).await?;
        for (command, said) in shows.iter().zip(said) {
            let finds = !command.contains("audit verify") && !command.contains("audit compare");
            ensure!(!finds || said.contains(serial), "{command}: {said}");
        }
        Ok(())
    }
}

fn is_for_an_auditor(step: &Step<'_>) -> bool {
    step.command.starts_with("pkcs11-issuer audit ")
}

/// Returns the line of the issuance log about the last certificate with the name.
fn signed(controller: &Controller) -> Result<Value> {
    let lines = controller.issuance_log()?.into_iter().rev();
    let mut lines = lines.filter(|line| line["event"] == "signed");
    let found = lines.find(|line| line["names"].to_string().contains(NAME));
    found.context("no certificate with the name")
}
