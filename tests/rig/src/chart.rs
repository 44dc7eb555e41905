//! Our chart, from which the controller has its rights here as in production.

use std::path::PathBuf;

use anyhow::Result;
use control_plane::{Chart, ControlPlane};
use serde_json::{Map, Value, json};

use crate::cluster::NAMESPACE;

/// Kinds by which the controller gets its rights, and the Secret that it has the right to update.
const RIGHTS: [&str; 6] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Secret",
    "ServiceAccount",
];

/// The folder of the chart.
pub fn chart_path() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../charts/pkcs11-issuer"
    ))
}

/// The rights that the chart gives with these values. It demands a token, which gives no rights; who approves is the
/// tests' business.
async fn rights(values: &Value) -> Result<Vec<Value>> {
    let mut all = json!({
        "modules": {"any": {"path": "/any.so"}},
        "tokens": {"any": {"module": "any", "label": "any", "pinFile": "/any"}},
        "approver": {"enabled": false},
    });
    if let (Some(all), Some(values)) = (all.as_object_mut(), values.as_object()) {
        all.extend(values.clone());
    }
    let chart = Chart {
        path: &chart_path(),
        release: "pkcs11-issuer",
        namespace: NAMESPACE,
    };
    let mut objects = chart.render(&all).await?;
    objects.retain(|object| text(object, "kind").is_some_and(|kind| RIGHTS.contains(&kind)));
    Ok(objects)
}

/// Gives the controller the rights that the chart has for these values.
///
/// # Errors
///
/// When the chart refuses the values, or the API server an object.
pub async fn apply_rights(plane: &ControlPlane, values: &Value) -> Result<()> {
    apply(plane, &rights(values).await?).await
}

/// The same for what lies in one namespace.
pub(crate) async fn apply_rights_in(
    plane: &ControlPlane,
    namespace: &str,
    values: &Value,
) -> Result<()> {
    let mut rights = rights(values).await?;
    rights.retain(|object| is_in(object, namespace));
    apply(plane, &rights).await
}

async fn apply(plane: &ControlPlane, objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    plane.apply(&list.to_string()).await
}

/// Whether an object lies in a namespace.
fn is_in(object: &Value, namespace: &str) -> bool {
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    text(metadata, "namespace") == Some(namespace)
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str)
}

/// Values that add nothing to the default ones.
pub(crate) fn no_values() -> Value {
    Value::Object(Map::new())
}
