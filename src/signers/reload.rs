//! Applies changes of the operator's configuration without a restart.

use std::{path::Path, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Tokens;
use crate::{config::Config, metrics::Metrics, telemetry::ErrorChain};

/// Interval of polling. The file is small, and no file event is reliable: the kubelet mounts a ConfigMap through symbolic
/// links and replaces them.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Polls the configuration file until `stop`, and applies each change. A file that cannot be used is logged once and
/// changes nothing. `in_force` is the text that the tokens were started with. `applied` is called with each new configuration.
pub async fn follow(
    file: &Path,
    in_force: String,
    tokens: &Tokens,
    metrics: &Metrics,
    applied: &(dyn Fn(&Config) + Sync),
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
                    change = tokens.apply_config(&config) => change,
                    // The shutdown waits for the tokens that are stopping, too.
                    () = stop.cancelled() => return,
                };
                metrics.config_reloaded(true);
                applied(&config);
                info!(file = %file.display(), started = ?change.started, stopped = ?change.stopped,
                      regranted = ?change.regranted, "applied the changed configuration");
            }
            Err(why) => {
                metrics.config_reloaded(false);
                error!(error = %ErrorChain(&why), "the changed configuration cannot be used; the previous configuration stays in force");
            }
        }
    }
}
