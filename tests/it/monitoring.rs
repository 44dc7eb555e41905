//! Tests of the metrics, the alerts, their runbooks and the dashboard, with a real Prometheus.

mod alerts;
mod cases;
mod dashboard;
mod drawing;
mod exposition;
mod fired;
mod kube_state;
mod live;
mod prometheus;
mod runbooks;

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result};
use rig::chart_path;
use serde_json::Value;

/// Labels that Prometheus adds to the series of every target.
const SELECTOR: &str = "namespace=\"pkcs11-issuer-system\"";

/// An alert of the chart.
#[derive(Clone, Debug)]
struct Alert {
    name: String,
    /// Name of its page.
    page: String,
    rule: Value,
}

/// Returns the file of rules as the chart renders it.
fn rules() -> Result<Value> {
    let text = fs::read_to_string(chart_path().join("files/alerts.yaml"))?;
    Ok(serde_saphyr::from_str(&text.replace("SELECTOR", SELECTOR))?)
}

/// Returns the counters whose growth an alert watches.
pub(crate) fn counters_of_alerts() -> Result<BTreeSet<String>> {
    let text = rules()?.to_string();
    let grown = ["increase(", "rate("].iter().flat_map(|function| {
        let calls = text.split(function).skip(1);
        calls.map(|rest| rest.split('{').next().unwrap_or_default().to_owned())
    });
    Ok(grown.collect())
}

/// Returns every alert.
fn alerts() -> Result<Vec<Alert>> {
    let rules = rules()?;
    let all = rules["groups"][0]["rules"].as_array().context("no rules")?;
    let alert = |rule: &Value| {
        let url = rule["annotations"]["runbook_url"].as_str()?;
        let (_, file) = url.rsplit_once("/docs/runbooks/")?;
        Some(Alert {
            name: rule["alert"].as_str()?.to_owned(),
            page: file.strip_suffix(".md")?.to_owned(),
            rule: rule.clone(),
        })
    };
    all.iter()
        .map(|rule| alert(rule).with_context(|| format!("no name or page: {rule}")))
        .collect()
}
