//! What each alert says in the fault of its case: its labels and its texts, as somebody on call reads them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::alerts;

/// An alert while it fires: its name without the common prefix, its labels besides the namespace and the severity, and the value
/// in its texts, if they have one.
struct Fired(
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const A: (&str, &str) = ("instance", "a");
const K: (&str, &str) = ("kind", "k");
const T: (&str, &str) = ("token", "t");

const FIRED: &[Fired] = &[
    Fired("NoReplicaReady", &[], ""),
    Fired("ShareWithoutOwner", &[T], ""),
    Fired("LeaseLost", &[A], ""),
    Fired("TokenDown", &[A, T, ("state", "ready")], ""),
    Fired("PinBlocked", &[A, T], ""),
    Fired("WorkerRestarting", &[A, T], "18"),
    Fired("RequestsWaiting", &[K, ("reason", "retry")], "14m 0s"),
    Fired("RequestsUndecided", &[K], "1h 10m 0s"),
    Fired("RefusalRate", &[], "28"),
    Fired("VerificationFailed", &[T], ""),
    Fired("LintFailed", &[("lint", "l")], ""),
    Fired("Bug", &[("bug", "b")], ""),
    Fired("CaEndsSoon", &[T], "29d 23h 50m 0s"),
    Fired("CaTooShort", &[T], "1"),
    Fired("IssuersNotReady", &[K, ("reason", "KeyNotFound")], "1"),
    Fired("Clash", &[], ""),
    Fired("LogFailing", &[A], ""),
    Fired("CheckpointLate", &[A], ""),
    Fired("LogLinesDropped", &[A], ""),
    Fired("ConfigurationRefused", &[A], ""),
    Fired("ClockOff", &[A], "40s"),
    Fired("ApiErrors", &[A], ""),
    Fired("WatchFailing", &[A, K], ""),
    Fired("CrlLate", &[("ca", "c")], ""),
    Fired("CrlPublishingFailed", &[A, ("step", "sign")], ""),
    Fired("CrlBundleIncomplete", &[], "1"),
    Fired("RevocationWaiting", &[A], "14m 0s"),
];

/// Returns promtool's test of what an alert, whose name is given without the common prefix, says in a minute in which it fires.
pub(super) fn fires(alert: &str, minute: u32, namespace: &str) -> Result<Value> {
    let mut all = FIRED.iter();
    let found = all.find(|Fired(name, ..)| *name == alert);
    let Fired(_, labels, value) = found.with_context(|| format!("{alert} says nothing"))?;
    let name = format!("{}{alert}", alerts::PREFIX);
    let known = alerts()?.into_iter().find(|known| known.name == name);
    let rule = known.with_context(|| format!("no {name}"))?.rule;
    let severity = rule["labels"]["severity"].as_str();
    let mut labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    labels.insert("namespace", namespace);
    labels.insert("severity", severity.context("no severity")?);
    let texts = rule["annotations"].as_object().context("no texts")?;
    let mut said = BTreeMap::new();
    for (which, text) in texts {
        let text = text.as_str().context("no text")?;
        let text = filled(text, &labels, value);
        said.insert(which, text.with_context(|| format!("{which} of {name}"))?);
    }
    Ok(json!({
        "eval_time": format!("{minute}m"), "alertname": name,
        "exp_alerts": [{"exp_labels": labels, "exp_annotations": said}],
    }))
}

/// Fills in the text of an alert.
fn filled(text: &str, labels: &BTreeMap<&str, &str>, value: &str) -> Result<String> {
    let mut parts = text.split("{{ ");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" }}").context("a name does not end")?;
        filled += match name.strip_prefix("$labels.") {
            Some(label) => labels
                .get(label)
                .copied()
                .with_context(|| format!("no {label}"))?,
            None => {
                ensure!(name.starts_with("$value") && !value.is_empty(), "{name}");
                value
            }
        };
        filled += rest;
    }
    Ok(filled)
}
