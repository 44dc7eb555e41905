//! Tests that the schema of the values is complete and strict.

use std::fs;

use anyhow::{Context as _, Result};
use rig::chart_path;
use serde_json::{Value, json};

/// The prefix of the description of a Kubernetes type, which the API server checks instead of this schema.
const KUBERNETES: &str = "Kubernetes' own: ";

/// Values that have no default because no template reads them.
const UNREAD: [&str; 2] = ["enabled", "global"];

fn schema() -> Result<Value> {
    let text = fs::read_to_string(chart_path().join("values.schema.json"))?;
    Ok(serde_json::from_str(&text)?)
}

fn resolve<'a>(schema: &'a Value, part: &'a Value) -> &'a Value {
    let name = part["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix("#/$defs/"));
    name.map_or(part, |name| &schema["$defs"][name])
}

#[test]
fn every_default_is_in_the_schema_and_every_key_of_the_schema_has_a_default() -> Result<()> {
    let schema = schema()?;
    let values = fs::read_to_string(chart_path().join("values.yaml"))?;
    let values: Value = serde_saphyr::from_str(&values)?;
    let mut seen = 0;
    compare(&schema, &schema, &values, "", &mut seen)?;
    assert!(seen > 70, "{seen}");
    Ok(())
}

/// Compares recursively where a key always has a default; keys that the user names have none.
fn compare(schema: &Value, part: &Value, value: &Value, at: &str, seen: &mut usize) -> Result<()> {
    *seen += 1;
    let part = resolve(schema, part);
    let (Some(properties), Some(values)) = (part["properties"].as_object(), value.as_object())
    else {
        return Ok(());
    };
    for (key, value) in values {
        let at = format!("{at}/{key}");
        let part = properties
            .get(key)
            .with_context(|| format!("{at} is not in the schema"))?;
        compare(schema, part, value, &at, seen)?;
    }
    // A user gives only some of these; Kubernetes has defaults for the rest.
    let partly = ["resources", "livenessProbe", "readinessProbe"];
    for key in properties.keys() {
        let here = format!("{at}/{key}");
        let known = values.contains_key(key)
            || (at.is_empty() && UNREAD.contains(&key.as_str()))
            || partly.iter().any(|part| at == format!("/{part}"));
        anyhow::ensure!(known, "{here} has no default in values.yaml");
    }
    Ok(())
}

#[test]
fn every_object_of_the_schema_says_whether_it_takes_other_keys() -> Result<()> {
    let mut open = Vec::new();
    objects(&schema()?, "", &mut open);
    // Maps from resources to quantities, which the API server checks.
    let wanted = [
        "/$defs/resources/properties/limits",
        "/$defs/resources/properties/requests",
        "/properties/global",
    ];
    assert_eq!(open, wanted);
    Ok(())
}

fn objects(part: &Value, at: &str, open: &mut Vec<String>) {
    match part {
        Value::Object(fields) => {
            let foreign = fields.get("description").and_then(Value::as_str);
            if foreign.is_some_and(|text| text.starts_with(KUBERNETES)) {
                return;
            }
            let is_object = fields.get("type") == Some(&json!("object"));
            if is_object && !fields.contains_key("additionalProperties") {
                open.push(at.to_owned());
            }
            for (key, part) in fields {
                objects(part, &format!("{at}/{key}"), open);
            }
        }
        Value::Array(parts) => {
            for (index, part) in parts.iter().enumerate() {
                objects(part, &format!("{at}/{index}"), open);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
