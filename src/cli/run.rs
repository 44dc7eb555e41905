//! `pkcs11-issuer run`: the controller as a process, from its flags to its last drained request.

use std::{env, fs, sync::Arc};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::version::{COMMIT, VERSION};
use crate::{
    args::Run,
    config::Config,
    metrics::Metrics,
    server::{Readiness, Server},
    telemetry,
};

/// Where Kubernetes tells a pod its namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the configuration, an address or the logging is unusable.
pub async fn run(args: Run) -> anyhow::Result<()> {
    telemetry::start(
        args.log_format,
        &args.log_filter(env::var("RUST_LOG").ok().as_deref()),
    )?;
    let config = Config::load(&args.config)?;
    let namespace =
        args.cluster_resource_namespace(fs::read_to_string(POD_NAMESPACE).ok().as_deref());
    let stop = stop_on_signals().context("failed to wait for signals")?;
    let metrics = Arc::new(Metrics::new(VERSION, COMMIT));
    let readiness = Readiness::default();
    let server = Server::bind(args.health_address, args.metrics_address).await?;
    info!(
        version = VERSION,
        commit = COMMIT,
        namespace,
        tokens = config.tokens().count(),
        "started"
    );
    server.serve(readiness, metrics, stop).await?;
    info!("stopped");
    Ok(())
}

/// A token that the first SIGTERM or SIGINT cancels.
fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(stop)
}
