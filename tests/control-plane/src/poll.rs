//! Polls for a condition.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(500);

/// Calls `probe` until it returns a value, and returns that value. Pauses for a twentieth of the time that it has waited,
/// from 50 to 500 ms, so that many long waits do not keep busy what they wait for.
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
        let pause = (start.elapsed() / 20).clamp(SHORTEST, LONGEST);
        tokio::time::sleep(pause).await;
    }
}
