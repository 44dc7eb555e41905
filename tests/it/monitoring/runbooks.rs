//! Tests that every alert has a page, and every page an alert.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use pkcs11_issuer::metrics::Metrics;
use serde_json::json;

use super::{alerts, alerts::PREFIX};
use crate::desk::Desk;

/// The sections of every page, in their order.
const SECTIONS: [&str; 4] = [
    "## What it means",
    "## What is at risk",
    "## Causes",
    "## What to do",
];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbooks"))
}

fn page(name: &str) -> Result<String> {
    let file = folder().join(format!("{name}.md"));
    fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// Returns the page of an alert, whose name is given without the common prefix.
pub(super) fn page_of(alert: &str) -> Result<String> {
    let name = format!("{PREFIX}{alert}");
    let found = alerts()?.into_iter().find(|known| known.name == name);
    page(&found.with_context(|| format!("no alert {name}"))?.page)
}

/// Returns the queries of a page.
pub(super) fn queries(page: &str) -> Vec<String> {
    let blocks = page.split("```promql\n").skip(1);
    blocks
        .filter_map(|block| Some(block.split_once("\n```")?.0.to_owned()))
        .collect()
}

/// Returns every page of an alert, by name.
pub(super) fn pages() -> Result<Vec<(String, String)>> {
    let pages = alerts()?.into_iter();
    pages
        .map(|alert| Ok((alert.page.clone(), page(&alert.page)?)))
        .collect()
}

#[test]
fn every_alert_has_a_severity_a_summary_a_description_and_a_page() -> Result<()> {
    let mut found = BTreeSet::from(["README".to_owned()]);
    let index = page("README")?;
    for alert in alerts()? {
        let rule = &alert.rule;
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        ensure!(
            ["critical", "warning", "info"].contains(&severity),
            "{rule}"
        );
        for text in ["summary", "description"] {
            let text = rule["annotations"][text].as_str().unwrap_or_default();
            ensure!(text.ends_with('.') && text.len() > 20, "{rule}");
        }
        let text = page(&alert.page)?;
        ensure!(
            text.starts_with(&format!("# {}\n", alert.name)),
            "{}: the title is not the alert's name",
            alert.page
        );
        let headings = text.lines().filter(|line| line.starts_with("## "));
        assert_eq!(headings.collect::<Vec<_>>(), SECTIONS, "{}", alert.page);
        ensure!(!queries(&text).is_empty(), "{}: no query", alert.page);
        let row = format!("| [{}]({}.md) | {severity} |", alert.name, alert.page);
        ensure!(
            index.contains(&row),
            "docs/runbooks/README.md: no row {row}"
        );
        found.insert(alert.page);
    }
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(folder())? {
        let name = entry?.file_name().into_string();
        let name = name.ok().context("not UTF-8")?;
        pages.insert(name.trim_end_matches(".md").to_owned());
    }
    assert_eq!(pages, found, "a page without an alert");
    Ok(())
}

#[test]
fn the_lines_that_matter_are_found_in_both_formats_of_the_log() -> Result<()> {
    let page = fs::read_to_string(folder().join("../runbook.md"))?;
    let commands = page
        .lines()
        .filter(|line| line.starts_with("$ kubectl logs "));
    let searches: BTreeSet<_> = commands.filter_map(|line| line.split_once(" | ")).collect();
    let [(_, search)] = searches.into_iter().collect::<Vec<_>>()[..] else {
        anyhow::bail!("the page does not search the log once");
    };
    let desk = Desk::new()?;
    // The API server does not answer, which is a WARN line.
    let server = json!({"server": "http://127.0.0.1:1"});
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [{"name": "none", "cluster": server}], "users": [{"name": "none", "user": {}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    });
    fs::write(desk.path("kubeconfig"), kubeconfig.to_string())?;
    fs::write(
        desk.path("config.yaml"),
        "modules: {m: {path: /m.so}}\ntokens: {t: {module: m, label: t, pinFile: /pin}}\n",
    )?;
    for format in ["json", "text"] {
        let found = desk.ok(&format!(
            "timeout 5 pkcs11-issuer run --log-format {format} --config config.yaml --kubeconfig kubeconfig \
             --health-address 127.0.0.1:0 --metrics-address 127.0.0.1:0 --identity one \
             --cluster-resource-namespace here >log 2>&1 || true\n{search} <log"
        ))?;
        ensure!(
            found.contains("a list or watch has failed") && !found.contains("INFO"),
            "{format}: {found}"
        );
    }
    Ok(())
}

#[test]
fn rules_pages_and_dashboard_name_only_metrics_that_exist() -> Result<()> {
    let metrics = Metrics::new("0", "0");
    let known: BTreeSet<_> = metrics
        .descriptions()
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    let mut texts: Vec<_> = pages()?.into_iter().map(|(_, text)| text).collect();
    texts.push(super::rules()?.to_string());
    texts.push(super::dashboard::text()?);
    texts.push(fs::read_to_string(folder().join("../runbook.md"))?);
    for text in texts {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| word.starts_with("pkcs11_issuer_")) {
            let name = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .filter(|name| known.contains(name))
                .unwrap_or(word);
            ensure!(known.contains(name), "there is no metric {word}");
        }
    }
    Ok(())
}
