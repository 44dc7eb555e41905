//! The cluster that the tests of placement share.

use anyhow::Result;
use control_plane::{ControlPlane, ControllerManager, Kwok, Options, Scheduler, install_monitors};
use tokio::sync::OnceCell;

/// What runs: it ends with the tests.
pub(super) struct Cluster {
    pub(super) plane: ControlPlane,
    _controller_manager: ControllerManager,
    _scheduler: Scheduler,
    _kwok: Kwok,
}

pub(super) async fn cluster() -> Result<&'static Cluster> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_try_init(async || {
            let plane = ControlPlane::start(Options::default()).await?;
            install_monitors(&plane).await?;
            // A value set lets Secrets be read there.
            plane
                .apply("{apiVersion: v1, kind: Namespace, metadata: {name: payments}}")
                .await?;
            anyhow::Ok(Cluster {
                _controller_manager: ControllerManager::start(&plane)?,
                _scheduler: Scheduler::start(&plane)?,
                _kwok: Kwok::start(&plane).await?,
                plane,
            })
        })
        .await
}
