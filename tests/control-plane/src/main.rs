//! Runs a control plane with cert-manager until it is interrupted, for manual experiments.
//!
//! Prints the path of the administrator's kubeconfig on standard output as soon as everything is ready. Ends all processes
//! and removes its folder when it ends.

use std::time::Instant;

use anyhow::Result;
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let run = async {
        let start = Instant::now();
        let plane = ControlPlane::start(Options::default()).await?;
        eprintln!(
            "the API server is ready after {:.1} s",
            start.elapsed().as_secs_f32()
        );
        let cert_manager = CertManager::start(&plane, CertManagerOptions::default()).await?;
        eprintln!(
            "cert-manager is ready after {:.1} s",
            start.elapsed().as_secs_f32()
        );
        println!("{}", plane.admin_kubeconfig().display());
        std::future::pending::<()>().await;
        drop((cert_manager, plane));
        anyhow::Ok(())
    };
    tokio::select! {
        result = run => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
