//! Takes up changes of the operator's configuration without a restart.

use std::{path::Path, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Tokens;
use crate::{config::Config, metrics::Metrics, telemetry::Chain};

/// The file is small, and nothing tells reliably that it has changed: a ConfigMap is mounted through links that the
/// kubelet replaces.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Reads the configuration again and again, until `stop`. What cannot be used is told once and changes nothing.
/// `in_force` is the text that the tokens were started by.
pub async fn follow(
    file: &Path,
    in_force: String,
    tokens: &Tokens,
    metrics: &Metrics,
    stop: &CancellationToken,
) {
    let mut seen = Ok(in_force);
    loop {
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let read = Config::read(file);
        let now = read.as_ref().map(Clone::clone).map_err(ToString::to_string);
        if now == seen {
            continue;
        }
        seen = now;
        match read.and_then(|text| Config::parse(file, &text)) {
            Ok(config) => {
                let change = tokio::select! {
                    change = tokens.take_up(&config) => change,
                    // The tokens that were told to stop end with the others.
                    () = stop.cancelled() => return,
                };
                metrics.config_reloaded(true);
                info!(file = %file.display(), started = ?change.started, stopped = ?change.stopped,
                      regranted = ?change.regranted, "took up the changed configuration");
            }
            Err(why) => {
                metrics.config_reloaded(false);
                error!(error = %Chain(&why), "the changed configuration cannot be used; the one before stays in force");
            }
        }
    }
}
