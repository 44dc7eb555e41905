//! Polls for a condition.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const INTERVAL: Duration = Duration::from_millis(50);

/// Calls `probe` every 50 ms until it returns a value, and returns that value.
///
/// # Errors
///
/// When the probe itself fails, which ends the wait at once, and after the timeout, with a message that says what was
/// waited for.
pub async fn until<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if start.elapsed() > timeout {
            bail!("waited {timeout:?} without success for {what}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
