//! Replays the commands of README.md, "In a cluster of your own", on the control plane of the tests.

use std::{os::unix::fs::symlink, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use control_plane::Tools;
use rig::{Cluster, NAMESPACE};
use tempfile::TempDir;
use tokio::process::Command;

const PAGE: &str = include_str!("../../../README.md");
/// The checkout's folders that the commands name.
const NAMED: [&str; 2] = ["charts", "docs"];

/// The commands of the page.
pub(super) struct Walk {
    /// Commands that need a registry, a container engine or a cluster of their own. They are not replayed.
    pub(super) elsewhere: Vec<String>,
    /// Commands that install the chart, the issuer and the Certificate.
    install: Vec<String>,
    /// Commands that wait for the certificate and show it.
    result: Vec<String>,
    folder: TempDir,
}

impl Walk {
    /// Reads the page.
    pub(super) fn read() -> Result<Self> {
        let (_, section) = PAGE
            .split_once("\n## In a cluster of your own\n")
            .context("no section")?;
        let (_, block) = section.split_once("```console\n").context("no commands")?;
        let (block, _) = block.split_once("```").context("no end")?;
        let joined = block.replace("\\\n", " ");
        let mut commands: Vec<_> = joined
            .lines()
            .filter_map(|line| line.strip_prefix("$ "))
            .map(str::to_owned)
            .collect();
        let at = |start: &str| {
            let found = commands.iter().position(|line| line.starts_with(start));
            found.with_context(|| format!("no command {start}"))
        };
        let first = at("openssl rand")?;
        let last = at("kubectl apply -f docs/")?;
        let result = commands.split_off(last + 1);
        let install = commands.split_off(first);
        let folder = tempfile::tempdir()?;
        for name in NAMED {
            let target = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
            symlink(target, folder.path().join(name))?;
        }
        Ok(Self {
            elsewhere: commands,
            install,
            result,
            folder,
        })
    }

    /// Installs chart, issuer and Certificate. The namespace exists already.
    pub(super) async fn install(&self, cluster: &Cluster) -> Result<()> {
        for command in &self.install {
            self.run(cluster, command).await?;
        }
        Ok(())
    }

    /// Waits for the certificate and returns what the last command prints about it.
    pub(super) async fn result(&self, cluster: &Cluster) -> Result<String> {
        let mut printed = String::new();
        for command in &self.result {
            printed = self.run(cluster, command).await?;
        }
        Ok(printed)
    }

    async fn run(&self, cluster: &Cluster, command: &str) -> Result<String> {
        let tools = Tools::locate()?;
        let mut path = std::env::var("PATH")?;
        for tool in ["helm", "kubectl"] {
            let program = tools.program(tool)?;
            let folder = program.parent().context("no folder")?;
            path = format!("{}:{path}", folder.display());
        }
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", cluster.plane().admin_kubeconfig())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Returns the version of a module in a go.mod.
fn version_in(file: &'static str, module: &str) -> Result<&'static str> {
    let start = format!("{module} v");
    let found = file.lines().find_map(|line| {
        let (_, version) = line.trim().split_once(&start)?;
        version.split_whitespace().next()
    });
    found.with_context(|| format!("no {module}"))
}

#[test]
fn the_page_names_the_versions_that_the_tests_run() -> Result<()> {
    for (file, module) in [
        (
            include_str!("../../tools/cert-manager/go.mod"),
            "github.com/cert-manager/cert-manager",
        ),
        (include_str!("../../tools/helm/go.mod"), "helm.sh/helm/v4"),
        (
            include_str!("../../tools/kubernetes/go.mod"),
            "k8s.io/kubernetes",
        ),
    ] {
        let version = version_in(file, module)?;
        let found = PAGE
            .lines()
            .find(|line| line.starts_with('|') && line.contains(version));
        assert!(found.is_some(), "{module} {version}");
    }
    Ok(())
}

#[test]
fn the_commands_that_are_not_replayed_prepare_the_cluster_of_the_tests() -> Result<()> {
    let walk = Walk::read()?;
    let cert_manager = version_in(
        include_str!("../../tools/cert-manager/go.mod"),
        "github.com/cert-manager/cert-manager",
    )?;
    let release = "https://github.com/cert-manager/cert-manager/releases/download";
    let expected = [
        "export IMAGE=".to_owned(),
        "make image ".to_owned(),
        "kind create cluster".to_owned(),
        "kind load docker-image \"$IMAGE\" \"$SOFTHSM_IMAGE\"".to_owned(),
        format!("kubectl apply -f {release}/v{cert_manager}/cert-manager.yaml"),
        "kubectl wait --for=condition=Available ".to_owned(),
        format!("kubectl create namespace {NAMESPACE}"),
    ];
    assert_eq!(
        walk.elsewhere.len(),
        expected.len(),
        "{:#?}",
        walk.elsewhere
    );
    for (command, start) in walk.elsewhere.iter().zip(&expected) {
        assert!(command.starts_with(start), "{command}");
    }
    let last = walk.install.last().context("nothing is installed")?;
    assert!(last.ends_with("-f docs/examples/laptop.yaml"), "{last}");
    // The images that are built are those that the chart and the example run.
    let values = super::text("laptop-values.yaml")?;
    let version = env!("CARGO_PKG_VERSION");
    for (variable, image) in [
        ("IMAGE", "pkcs11-issuer"),
        ("SOFTHSM_IMAGE", "pkcs11-issuer-softhsm"),
    ] {
        let repository = format!("ghcr.io/pkcs11-issuer/{image}");
        let assigned = format!(" {variable}={repository}:{version}");
        assert!(walk.elsewhere[0].contains(&assigned), "{assigned}");
        let defaults = include_str!("../../../charts/pkcs11-issuer/values.yaml");
        let used = values.contains(&repository) || defaults.contains(&repository);
        assert!(used, "{repository}");
    }
    Ok(())
}
