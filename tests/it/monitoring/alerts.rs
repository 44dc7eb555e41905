//! Tests the rules of the alerts with promtool, on recorded series.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use rig::NAMESPACE;
use serde_json::{Value, json};

use super::{
    SELECTOR, alerts,
    cases::{CASES, Case, WELL},
    fired::fires,
    rules,
};
use crate::chart;

/// Common prefix of the alerts' names.
pub(super) const PREFIX: &str = "Pkcs11Issuer";

fn promtool(folder: &Path, args: &[&str]) -> Result<()> {
    let ran = Command::new("promtool")
        .args(args)
        .current_dir(folder)
        .output()
        .context("run promtool: tests/setup/packages installs it")?;
    ensure!(
        ran.status.success(),
        "promtool {args:?}: {}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    Ok(())
}

fn series((series, values): &(&str, &str)) -> Value {
    let series = series.replacen('{', &format!("{{{SELECTOR},"), 1);
    json!({"series": format!("pkcs11_issuer_{series}"), "values": values})
}

fn firing(alert: &str, minute: u32, count: usize) -> Value {
    let expr = format!("count(ALERTS{{alertname=~\"{PREFIX}{alert}\",alertstate=\"firing\"}})");
    let samples = match count {
        0 => json!([]),
        _ => json!([{"labels": "{}", "value": count}]),
    };
    json!({"expr": expr, "eval_time": format!("{minute}m"), "exp_samples": samples})
}

fn test(
    Case {
        alert,
        series: all,
        minutes: [before, during, after],
    }: &Case,
) -> Result<Value> {
    Ok(json!({
        "interval": "1m",
        "input_series": all.iter().map(series).collect::<Vec<_>>(),
        "promql_expr_test": [
            firing(alert, *before, 0),
            firing(alert, *during, 1),
            firing(alert, *after, 0),
        ],
        "alert_rule_test": [fires(alert, *during, NAMESPACE)?],
    }))
}

#[test]
fn every_alert_fires_with_its_texts_and_clears_and_none_fires_if_all_is_well() -> Result<()> {
    let tested: BTreeSet<_> = CASES
        .iter()
        .map(|case| format!("{PREFIX}{}", case.alert))
        .collect();
    let all: BTreeSet<_> = alerts()?.into_iter().map(|alert| alert.name).collect();
    assert_eq!(tested, all, "every alert has a case");

    let folder = tempfile::tempdir()?;
    let mut tests = CASES.iter().map(test).collect::<Result<Vec<_>>>()?;
    let quiet = (0..200).step_by(10).map(|minute| firing(".*", minute, 0));
    tests.push(json!({
        "interval": "1m",
        "input_series": WELL.iter().map(series).collect::<Vec<_>>(),
        "promql_expr_test": quiet.collect::<Vec<_>>(),
    }));
    let file = json!({
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": tests,
    });
    // JSON is YAML.
    fs::write(folder.path().join("rules.yaml"), rules()?.to_string())?;
    fs::write(folder.path().join("tests.yaml"), file.to_string())?;
    promtool(folder.path(), &["check", "rules", "rules.yaml"])?;
    promtool(folder.path(), &["test", "rules", "tests.yaml"])
}

#[tokio::test]
async fn the_chart_has_the_alerts_only_if_they_are_wanted() -> Result<()> {
    let wanted =
        json!({"metrics": {"prometheusRule": {"enabled": true, "labels": {"release": "p"}}}});
    let objects = chart::render(&chart::value_set("softhsm", wanted)?).await?;
    let rule = chart::only(&objects, "PrometheusRule")?;
    assert_eq!(rule["spec"], rules()?);
    assert_eq!(rule["metadata"]["labels"]["release"], "p");
    let other = json!({"metrics": {"prometheusRule": {"enabled": true, "selector": "job=\"a\""}}});
    let objects = chart::render(&chart::value_set("softhsm", other)?).await?;
    let text = chart::only(&objects, "PrometheusRule")?.to_string();
    assert!(text.contains("lease_held{job=\\\"a\\\"}") && !text.contains("SELECTOR"));
    let objects = chart::render(&chart::value_set("softhsm", json!({}))?).await?;
    assert!(
        !objects
            .iter()
            .any(|object| object["kind"] == "PrometheusRule")
    );
    Ok(())
}
