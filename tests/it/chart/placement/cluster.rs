//! The cluster that the placement tests share.

use anyhow::Result;
use control_plane::{ControlPlane, ControllerManager, Kwok, Options, Scheduler, install_monitors};
use tokio::sync::OnceCell;

/// The processes of the cluster, which end with the tests.
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
            // A value set names this namespace in `secretNamespaces`.
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
