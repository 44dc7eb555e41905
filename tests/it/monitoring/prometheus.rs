//! A real Prometheus that scrapes controllers and evaluates the chart's alerts.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use control_plane::{Process, Program, until};
use rig::PATIENCE;
use serde_json::{Value, json};

use super::{alerts::PREFIX, rules};

/// A Prometheus process, which ends when this is dropped.
pub(super) struct Prometheus {
    address: String,
    _process: Process,
}

/// Divides every duration of the rules: how long an alert waits, and the ranges of its query. The thresholds stay.
fn quick(rules: &mut Value, factor: u32) -> Result<()> {
    let all = rules.pointer_mut("/groups/0/rules");
    let all = all.and_then(Value::as_array_mut).context("no rules")?;
    for rule in all {
        let wait = rule["for"].as_str().context("no for")?.to_owned();
        rule["for"] = json!(format!("{}s", divided(&wait, factor)?));
        let expr = rule["expr"].as_str().context("no query")?;
        let mut parts = expr.split('[');
        let mut quick = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (range, rest) = part.split_once(']').context("a range has no end")?;
            let seconds = divided(range, factor)?;
            // A range needs several samples.
            ensure!(seconds >= 4, "{range} becomes too short");
            quick.push_str(&format!("[{seconds}s]{rest}"));
        }
        rule["expr"] = json!(quick);
    }
    Ok(())
}

/// Divides a duration such as `15m`; the result is in seconds.
fn divided(text: &str, factor: u32) -> Result<u32> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let count: u32 = text.trim_end_matches(unit).parse()?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => anyhow::bail!("unit of {text}"),
    };
    Ok(count * seconds / factor)
}

impl Prometheus {
    /// Starts a Prometheus that scrapes this address every second. Every duration in the rules is divided by `factor`.
    pub(super) async fn start(folder: &Path, target: &str, factor: u32) -> Result<Self> {
        let mut rules = rules()?;
        quick(&mut rules, factor)?;
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [folder.join("rules.yaml")],
            "scrape_configs": [{
                "job_name": "pkcs11-issuer",
                "static_configs": [
                    {"targets": [target], "labels": {"namespace": rig::NAMESPACE}},
                ],
            }],
        });
        // JSON is YAML.
        fs::write(folder.join("rules.yaml"), rules.to_string())?;
        let file = folder.join("prometheus.yaml");
        fs::write(&file, config.to_string())?;
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let program = Program::new("prometheus").args([
            flag("config.file", &file),
            flag("storage.tsdb.path", &folder.join("prometheus")),
            "--web.listen-address=127.0.0.1:0".to_owned(),
        ]);
        let process = Process::start("prometheus", program, folder)?;
        let line = process.line("Listening on", PATIENCE).await?;
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("address="));
        Ok(Self {
            address: format!("http://{}", address.context("no address")?),
            _process: process,
        })
    }

    /// Returns the result of a query as a list of samples.
    pub(super) async fn query(&self, expr: &str) -> Result<Vec<Value>> {
        self.run(&["query", "instant", "-o", "json"], expr)
    }

    /// Returns the samples of a query that are numbers. A quantile of nothing is none.
    pub(super) async fn numbers(&self, expr: &str) -> Result<Vec<Value>> {
        let mut samples = self.query(expr).await?;
        samples.retain(|sample| {
            let value = sample["value"][1].as_str();
            value.is_some_and(|value| value.parse::<f64>().is_ok_and(|value| !value.is_nan()))
        });
        Ok(samples)
    }

    fn run(&self, args: &[&str], expr: &str) -> Result<Vec<Value>> {
        let asked = Command::new("promtool")
            .args(args)
            .args([self.address.as_str(), expr])
            .output()?;
        ensure!(
            asked.status.success(),
            "{expr}: {}",
            String::from_utf8_lossy(&asked.stderr)
        );
        let samples: Value = serde_json::from_slice(&asked.stdout)
            .with_context(|| String::from_utf8_lossy(&asked.stdout).into_owned())?;
        let samples = samples.as_array().cloned();
        samples.with_context(|| format!("{expr} is not a list"))
    }

    /// Returns the result of a query over these minutes before now, a sample every six seconds, as a list of series.
    pub(super) async fn history(&self, expr: &str, minutes: u32) -> Result<Vec<Value>> {
        let now = self.query("vector(time())").await?;
        let now = now.first().and_then(|now| now["value"][1].as_str());
        let now: f64 = now.context("no time")?.parse()?;
        let start = format!("--start={}", now - f64::from(minutes) * 60.0);
        let end = format!("--end={now}");
        let range = ["query", "range", "-o", "json", "--step=6s", &start, &end];
        self.run(&range, expr)
    }

    /// Waits until there is a sample of this counter. Prometheus sees growth only after the first one.
    pub(super) async fn has_sampled(&self, counter: &str) -> Result<()> {
        until(counter, PATIENCE, async || {
            let samples = self.query(counter).await?;
            Ok((!samples.is_empty()).then_some(()))
        })
        .await
    }

    /// Returns the names of the alerts that fire, without the common prefix.
    pub(super) async fn firing(&self) -> Result<BTreeSet<String>> {
        let samples = self.query("ALERTS{alertstate=\"firing\"}").await?;
        let names = samples.iter().filter_map(|sample| {
            let name = sample["metric"]["alertname"].as_str()?;
            Some(name.strip_prefix(PREFIX).unwrap_or(name).to_owned())
        });
        Ok(names.collect())
    }

    /// Waits until all of these alerts fire.
    pub(super) async fn fire(&self, wanted: &[&str], within: Duration) -> Result<()> {
        let what = format!("{wanted:?} to fire");
        until(&what, within, async || {
            let firing = self.firing().await?;
            Ok(wanted
                .iter()
                .all(|name| firing.contains(*name))
                .then_some(()))
        })
        .await
    }

    /// Waits until none of these alerts fires.
    pub(super) async fn clear(&self, wanted: &[&str], within: Duration) -> Result<()> {
        let what = format!("{wanted:?} to clear");
        until(&what, within, async || {
            let firing = self.firing().await?;
            let still = wanted.iter().any(|name| firing.contains(*name));
            Ok((!still).then_some(()))
        })
        .await
    }
}
