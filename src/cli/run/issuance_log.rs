//! What the controller does for its issuance log beside the lines about requests.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::{
    audit::{Configuration, IssuanceLog},
    config::Config,
    telemetry::RepeatFilter,
};

/// Time between looks at the state of the sinks.
const LOOK_AT_LOG_EVERY: Duration = Duration::from_secs(1);

/// Reports once a minute that a sink of the issuance log accepts no lines, and once that all accept lines again.
pub(super) async fn report_trouble(log: &IssuanceLog) {
    let mut said = RepeatFilter::default();
    let mut troubled = false;
    loop {
        sleep(LOOK_AT_LOG_EVERY).await;
        match log.trouble() {
            Some(trouble) => {
                let text = trouble.to_string();
                troubled = true;
                if said.is_news(&text, Instant::now()) {
                    let waits = log.check().is_err();
                    error!(error = text, waits, "the issuance log is not written");
                }
            }
            None if troubled => {
                troubled = false;
                said.clear();
                info!("the issuance log is written again");
            }
            None => {}
        }
    }
}

/// Logs a changed configuration. What it says about the log itself counts only at a start.
pub(super) fn applied(changed: &Config, at_start: &Config, log: &IssuanceLog) {
    log.configuration(&in_force(changed));
    let audit = |config: &Config| {
        let checkpoints = config.checkpoints().cloned();
        (
            config.log().clone(),
            config.cluster().to_owned(),
            checkpoints,
        )
    };
    if audit(changed) != audit(at_start) {
        warn!("the issuance log stays as it is; restart the controller for the changes of `audit`");
    }
}

/// Returns what the issuance log says about a configuration.
pub(super) fn in_force(config: &Config) -> Configuration {
    Configuration {
        sha256: config.sha256().to_owned(),
        tokens: config.tokens().count(),
        grants: config.grants(),
    }
}
