//! Tests that the configuration for kube-state-metrics names only fields that our kinds have.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use pkcs11_issuer::api;
use rig::chart_path;
use serde_json::Value;

/// Returns the schema of the field at a path below another schema. In a list, a name selects a field of its items.
fn field<'a>(schema: &'a Value, path: &Value) -> Result<&'a Value> {
    let mut schema = schema;
    for name in path.as_array().context("a path is a list")? {
        let name = name.as_str().context("a path has names")?;
        let inner = schema.pointer("/items").unwrap_or(schema);
        schema = &inner["properties"][name];
        ensure!(schema.is_object(), "there is no field {name} of {path}");
    }
    Ok(schema)
}

/// Checks the labels that are taken from fields.
fn check_labels(schema: &Value, labels: &Value) -> Result<usize> {
    let labels = labels.as_object().into_iter().flatten();
    let mut count = 0;
    for (label, path) in labels {
        let found = field(schema, path).with_context(|| format!("label {label}"))?;
        ensure!(found["type"] == "string", "label {label}: {found}");
        count += 1;
    }
    Ok(count)
}

#[test]
fn kube_state_metrics_finds_every_field_in_our_kinds() -> Result<()> {
    let text = fs::read_to_string(chart_path().join("extras/kube-state-metrics.yaml"))?;
    let (head, _) = text.split_once("\nkind:").context("no comment")?;
    let rights: Vec<_> = head.split([' ', ',', '\n']).collect();
    let config: Value = serde_saphyr::from_str(&text)?;
    assert_eq!(config["kind"], "CustomResourceStateMetrics");
    let resources = config["spec"]["resources"]
        .as_array()
        .context("resources")?;
    let mut kinds = BTreeSet::new();
    for definition in api::crds() {
        let definition = serde_json::to_value(definition)?;
        let spec = &definition["spec"];
        let version = &spec["versions"][0];
        let mut schema = version["schema"]["openAPIV3Schema"].clone();
        // The API server adds these to every kind.
        schema["properties"]["metadata"] = serde_json::json!({"properties": {
            "name": {"type": "string"},
            "namespace": {"type": "string"},
        }});
        let kind = &spec["names"]["kind"];
        let is_it = |resource: &&Value| resource["groupVersionKind"]["kind"] == *kind;
        let resource = resources.iter().find(is_it).context("a kind is missing")?;
        let id = &resource["groupVersionKind"];
        assert_eq!(
            (&id["group"], &id["version"]),
            (&spec["group"], &version["name"])
        );
        let plural = spec["names"]["plural"].as_str().context("no plural")?;
        ensure!(rights.contains(&plural), "no right to read {plural}");
        let labels = check_labels(&schema, &resource["labelsFromPath"])?;
        let scoped = spec["scope"] == "Namespaced";
        assert_eq!(labels, if scoped { 2 } else { 1 }, "{kind}");
        for metric in resource["metrics"].as_array().context("metrics")? {
            let name = &metric["name"];
            let each = &metric["each"];
            let is_info = each["type"] == "Info";
            let of = &each[if is_info { "info" } else { "gauge" }];
            let base = match of["path"].is_null() {
                true => &schema,
                false => field(&schema, &of["path"]).with_context(|| name.to_string())?,
            };
            check_labels(base, &of["labelsFromPath"]).with_context(|| name.to_string())?;
            if !is_info {
                let value = field(base, &of["valueFrom"]).with_context(|| name.to_string())?;
                let is_time = value["format"] == "date-time";
                let is_whole = value["type"] == "integer";
                // kube-state-metrics reads the status of a condition as a number.
                let is_status = of["valueFrom"] == serde_json::json!(["status"]);
                ensure!(is_time || is_whole || is_status, "{name}: {value}");
            }
        }
        kinds.insert(kind.to_string());
    }
    assert_eq!(kinds.len(), resources.len());
    Ok(())
}
