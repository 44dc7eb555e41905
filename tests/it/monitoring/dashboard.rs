//! Tests the dashboard: its shape, and its ConfigMap.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use rig::chart_path;
use serde_json::{Value, json};

use crate::chart;

/// Ends a query that shows zero where there is no data.
pub(super) const OR_ZERO: &str = " or on () vector(0)";

/// Returns the text of the dashboard.
pub(super) fn text() -> Result<String> {
    Ok(fs::read_to_string(
        chart_path().join("files/dashboard.json"),
    )?)
}

/// A query of a panel.
#[derive(Clone, Debug)]
pub(super) struct PanelQuery {
    pub(super) panel: String,
    pub(super) unit: String,
    pub(super) expr: String,
    /// The name of a line, with labels in double braces.
    pub(super) legend: String,
}

/// Returns the panels, without the headings of rows.
fn panels() -> Result<Vec<Value>> {
    let dashboard: Value = serde_json::from_str(&text()?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let panels = panels.iter().filter(|panel| panel["type"] != "row");
    Ok(panels.cloned().collect())
}

/// Returns every query, with the dashboard's variables replaced.
pub(super) fn queries() -> Result<Vec<PanelQuery>> {
    let mut queries = Vec::new();
    for panel in panels()? {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = text(&target["expr"])
                .replace("$namespace", rig::NAMESPACE)
                .replace("$token", ".*")
                .replace("$__rate_interval", "1m");
            ensure!(!expr.contains('$'), "unknown variable: {expr}");
            queries.push(PanelQuery {
                panel: text(&panel["title"]),
                unit: text(&panel["fieldConfig"]["defaults"]["unit"]),
                expr,
                legend: text(&target["legendFormat"]),
            });
        }
    }
    Ok(queries)
}

#[test]
fn the_picture_has_every_panel() -> Result<()> {
    let picture = include_str!("../../../docs/dashboard.svg");
    for panel in panels()? {
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        let (title, unit) = (panel["title"].as_str(), unit.as_str());
        let (title, unit) = (title.context("no title")?, unit.context("no unit")?);
        let heading = format!(">{title} ({unit})<");
        ensure!(picture.contains(&heading), "draw it again: no {heading}");
    }
    Ok(())
}

#[test]
fn every_panel_has_a_unit_a_description_and_the_variable_of_the_data_source() -> Result<()> {
    let dashboard: Value = serde_json::from_str(&text()?)?;
    let variables = &dashboard["templating"]["list"];
    assert_eq!(variables[0]["name"], "datasource");
    assert_eq!(variables[0]["type"], "datasource");
    let all = panels()?;
    assert!(all.len() >= 30, "{}", all.len());
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let mut ids = BTreeSet::new();
    for panel in &all {
        ensure!(ids.insert(panel["id"].to_string()), "the id twice: {panel}");
        for text in [
            &panel["title"],
            &panel["description"],
            &panel["fieldConfig"]["defaults"]["unit"],
        ] {
            ensure!(
                text.as_str().is_some_and(|text| !text.is_empty()),
                "{panel}"
            );
        }
        assert_eq!(panel["datasource"], source);
        let targets = panel["targets"].as_array().context("no targets")?;
        ensure!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_eq!(target["datasource"], source);
            let expr = target["expr"].as_str().unwrap_or_default();
            ensure!(expr.contains("namespace=~\"$namespace\""), "{target}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_chart_has_the_dashboard_with_the_usual_label_only_if_it_is_wanted() -> Result<()> {
    let wanted = json!({"metrics": {"dashboard": {"enabled": true}}});
    let objects = chart::render(&chart::value_set("softhsm", wanted)?).await?;
    let name = json!("pkcs11-issuer-dashboard");
    let is_it = |object: &&Value| object["metadata"]["name"] == name;
    let map = objects.iter().find(is_it).context("no ConfigMap")?;
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let held = map["data"]["pkcs11-issuer.json"].as_str();
    let held: Value = serde_json::from_str(held.context("no dashboard")?)?;
    let file: Value = serde_json::from_str(&text()?)?;
    assert_eq!(held, file);
    let objects = chart::render(&chart::value_set("softhsm", json!({}))?).await?;
    assert!(objects.iter().find(is_it).is_none());
    Ok(())
}
