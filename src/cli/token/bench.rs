//! `token bench`: how fast a key of a token signs, by mechanism and number of sessions. It signs probes only.

mod chart;
mod choice;
mod measure;

use std::{fs, io::IsTerminal as _, time::Duration};

use anyhow::{Context as _, ensure};
use hsm::Uri;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::{
    choice::Choice,
    measure::{Latencies, algorithms, measure},
};
use crate::{
    args::BenchToken,
    cli::{
        find::one,
        output::{columns, print},
        session::{self, Login, start_within},
    },
    message::shown,
    signers::mechanism,
};

/// What was measured, and which number of sessions follows from it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BenchRecord {
    /// URI of the key, as it was given.
    key: String,
    /// Type and size of the key.
    #[serde(rename = "type")]
    kind: String,
    /// How long each point was measured.
    seconds: f64,
    points: Vec<Point>,
    choices: Vec<Choice>,
}

/// One mechanism with one number of sessions.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    mechanism: &'static str,
    /// Sessions that were open, each with one signature at a time. The token may allow fewer than were asked for.
    sessions: u16,
    signatures: u64,
    /// Signatures per second.
    rate: f64,
    /// Milliseconds of the signature in the middle, and of the slowest but one in a hundred.
    p50_ms: f64,
    p99_ms: f64,
}

/// Measures and prints.
///
/// # Errors
/// The library, the token, the PIN or the name of the key must be corrected first, or a signature failed.
pub(super) async fn bench(asked: &BenchToken) -> anyhow::Result<()> {
    let named: Uri = asked
        .key
        .parse()
        .context("the URI of the key is not accepted")?;
    let selector = named.key();
    let token = named.token().map(|token| Uri::of_token(token).to_string());
    let seen = one(&asked.libraries, token.as_deref()).await?;
    let login = Login::find(&seen, &asked.login)?;
    let stop = session::interrupts()?;
    let within = start_within(seen.hang_after);
    let mut sizes = asked.sessions.clone();
    sizes.sort_unstable();
    sizes.dedup();
    let bar = progress(sizes.len());
    let (mut points, mut kind) = (Vec::<Point>::new(), String::new());
    for sessions in sizes {
        let work = async |worker: &hsm::Token| {
            let deadline = || std::time::Instant::now() + within;
            let key = worker.find_key(&selector, deadline()).await?;
            // The token may have no free session for some of them yet.
            let open = worker.stats(deadline()).await?.sessions;
            let mut measured = Vec::new();
            for algorithm in algorithms(&key) {
                let name = mechanism(algorithm).name();
                bar.set_message(format!("{name}, {open} sessions"));
                let done = measure(worker, &key, algorithm, open, asked.duration).await;
                let done = done.with_context(|| format!("{name} failed"))?;
                measured.push(point(name, open, &done));
            }
            Ok((key.algorithm().to_string(), measured))
        };
        let (found, measured) = session::with(&seen, login.clone(), sessions, &stop, work).await?;
        bar.inc(1);
        kind = found;
        let is_full = measured.iter().any(|one| one.sessions < sessions.get());
        points.extend(measured);
        // The token allows no more.
        if is_full {
            break;
        }
    }
    bar.finish_and_clear();
    ensure!(!points.is_empty(), "nothing was measured; give --sessions");
    let record = BenchRecord {
        key: asked.key.clone(),
        kind,
        seconds: asked.duration.as_secs_f64(),
        choices: choice::choices(&points),
        points,
    };
    if let Some(file) = &asked.svg {
        let drawn = chart::draw(&record)?;
        fs::write(file, drawn).with_context(|| format!("failed to write {}", file.display()))?;
    }
    print(asked.libraries.output, &record, || text(&record))
}

fn point(mechanism: &'static str, sessions: u16, done: &Latencies) -> Point {
    Point {
        mechanism,
        sessions,
        signatures: done.signatures(),
        rate: rounded(done.rate()),
        p50_ms: milliseconds(done.quantile(0.5)),
        p99_ms: milliseconds(done.quantile(0.99)),
    }
}

/// Returns a bar on stderr, which shows nothing if that is no terminal.
fn progress(steps: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(steps).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn text(record: &BenchRecord) -> String {
    let head = ["MECHANISM", "SESSIONS", "PER SECOND", "P50", "P99"];
    let mut rows = vec![head.map(str::to_owned)];
    for point in &record.points {
        rows.push([
            point.mechanism.to_owned(),
            point.sessions.to_string(),
            format!("{:.1}", point.rate),
            format!("{:.2} ms", point.p50_ms),
            format!("{:.2} ms", point.p99_ms),
        ]);
    }
    let mut text = columns(&rows);
    for choice in &record.choices {
        text += &format!("\n{}", shown(choice));
    }
    text + "\n"
}

/// Returns the value with three decimals.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn milliseconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1000.0)
}
