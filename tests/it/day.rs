//! An operator's day: the commands of its page are run as they stand, and say what the page shows.

use std::{net::TcpListener, os::unix::fs::symlink, path::Path};

use anyhow::Result;
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options};
use rig::chart_path;

use crate::{desk::Desk, page::Page};

const PAGE: &str = include_str!("../../docs/operators-day.md");

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_day_goes_as_its_page_shows() -> Result<()> {
    let desk = Desk::new()?;
    // The page begins in a checkout.
    let charts = chart_path();
    symlink(charts.parent().unwrap_or(&charts), desk.path("charts"))?;
    let plane = ControlPlane::start(Options::default()).await?;
    // Approval comes from the rights of our chart.
    let options = CertManagerOptions {
        approve_signer_names: Vec::new(),
        ..CertManagerOptions::default()
    };
    let _cert_manager = CertManager::start(&plane, options).await?;
    let kubeconfig = plane.admin_kubeconfig();
    let [kubectl, helm] = ["kubectl", "helm"].map(|name| desk.path(&format!("{name}-home")));
    let free = Path::new("127.0.0.1:0");
    // The certificates name the address of the CRLs, so it must be known before the controller runs.
    let crls = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let env = [
        ("KUBECONFIG", kubeconfig.as_path()),
        ("KUBECACHEDIR", kubectl.as_path()),
        ("HELM_CONFIG_HOME", helm.as_path()),
        ("HELM_CACHE_HOME", helm.as_path()),
        ("HELM_DATA_HOME", helm.as_path()),
        ("PKCS11_ISSUER_HEALTH_ADDRESS", free),
        ("PKCS11_ISSUER_METRICS_ADDRESS", free),
        ("CRLS", Path::new(&crls)),
    ];
    Page::parse(PAGE)?.run(&desk, &env).await.map(drop)
}
