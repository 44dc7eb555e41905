//! Tests the chart: what it renders and refuses, whether the API server admits it, the controller that it runs, and the
//! nodes that it runs on.

mod admitted;
mod artifact_hub;
mod containers;
mod crls;
mod image;
mod lifecycle;
mod openshift;
mod placement;
pub(crate) mod pod;
mod refusals;
pub(crate) mod release;
mod rendered;
mod schema;
mod volumes;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use control_plane::Chart;
use rig::chart_path;
use serde_json::Value;

use crate::examples;

/// The release and its namespace as in the chart's README.
pub(crate) const RELEASE: &str = "pkcs11-issuer";
const NAMESPACE: &str = rig::NAMESPACE;

/// Values for the chart from a file.
struct ValueSet {
    name: String,
    path: PathBuf,
    values: Value,
}

/// Returns all values in the chart's folder `ci/`, and all examples.
fn value_sets() -> Result<Vec<ValueSet>> {
    let mut sets = Vec::new();
    for folder in [chart_path().join("ci"), examples::path()] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let file = path.file_name().and_then(|name| name.to_str());
            let Some(name) = file.and_then(|file| file.strip_suffix("-values.yaml")) else {
                continue;
            };
            let values = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
            let name = name.to_owned();
            sets.push(ValueSet { name, path, values });
        }
    }
    sets.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sets)
}

/// Returns one value set with changes.
pub(crate) fn value_set(name: &str, changes: Value) -> Result<Value> {
    let found = value_sets()?.into_iter().find(|set| set.name == name);
    let mut values = found
        .with_context(|| format!("no value set {name}"))?
        .values;
    merge(&mut values, changes);
    Ok(values)
}

/// Merges values as helm does: objects are merged, `null` removes a value, anything else replaces it.
pub(crate) fn merge(values: &mut Value, changes: Value) {
    match (values, changes) {
        (Value::Object(values), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    values.remove(&key);
                } else {
                    merge(values.entry(key).or_insert(Value::Null), change);
                }
            }
        }
        (values, changes) => *values = changes,
    }
}

/// Returns the objects that the chart renders.
pub(crate) async fn render(values: &Value) -> Result<Vec<Value>> {
    let path = chart_path();
    let chart = Chart {
        path: &path,
        release: RELEASE,
        namespace: NAMESPACE,
    };
    chart.render(values).await
}

/// Returns the only object of a kind.
pub(crate) fn only<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().with_context(|| format!("no {kind}"))?;
    anyhow::ensure!(found.next().is_none(), "more than one {kind}");
    Ok(first)
}

/// Returns the Deployment or DaemonSet.
pub(crate) fn workload(objects: &[Value]) -> Result<&Value> {
    only(objects, "Deployment").or_else(|_| only(objects, "DaemonSet"))
}

/// Returns the element of a list with this name.
pub(crate) fn named<'a>(list: &'a Value, name: &str) -> Result<&'a Value> {
    let mut all = list.as_array().into_iter().flatten();
    all.find(|element| element["name"] == name)
        .with_context(|| format!("no {name} in {list}"))
}
