//! Measures how well a slow token is used.

use anyhow::{Context as _, Result};
use bench::Row;

use crate::stage::{Stage, first};

/// The default number of sessions of a token.
const SESSIONS: f64 = 4.0;
/// Milliseconds per signature, and number of requests.
const CASES: [(u32, u16); 2] = [(300, 400), (2000, 150)];

/// Drains a backlog at each speed and returns the rate, compared with the rate of the token itself.
pub(crate) async fn measure() -> Result<Vec<Row>> {
    let stage = Stage::start().await?;
    let mut rows = Vec::new();
    for (delay, count) in CASES {
        stage.library.rules(&format!("C_Sign delay_ms={delay}"))?;
        let namespace = format!("slow-{delay}");
        stage.backlog(&namespace, &first(), count.into()).await?;
        stage.records("published", &namespace, count.into()).await?;
        let begun = stage.recorded("signing", &namespace)?;
        let ended = stage.recorded("published", &namespace)?;
        let (begun, ended) = begun
            .first()
            .zip(ended.last())
            .context("the issuance log has no lines")?;
        let seconds = ended.duration_since(*begun).as_secs_f64();
        let rate = f64::from(count) / seconds;
        let own = SESSIONS * 1000.0 / f64::from(delay);
        let name = format!("{count} requests at {} s each", f64::from(delay) / 1000.0);
        rows.push(Row::new(&name, "signatures/s", rate).beside(own));
        for (what, event) in [
            ("recorded as signing", "signing"),
            ("given up", "discarded"),
        ] {
            let lines = u32::try_from(stage.recorded(event, &namespace)?.len())?;
            rows.push(Row::new(
                format!("{name}, {what}"),
                "requests",
                f64::from(lines),
            ));
        }
    }
    Ok(rows)
}
