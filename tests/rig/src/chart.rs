//! Our chart, which gives the controller the same RBAC rights as in production.

use std::path::PathBuf;

use anyhow::Result;
use control_plane::{Chart, ControlPlane};
use serde_json::{Map, Value, json};

use crate::cluster::NAMESPACE;

/// The ConfigMap that the controller may update.
const HEADS: &str = "pkcs11-issuer-log-heads";
/// The kinds that give the controller its rights, and the Secret that it may update.
const RIGHTS: [&str; 6] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Secret",
    "ServiceAccount",
];

/// Returns the folder of the chart.
pub fn chart_path() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../charts/pkcs11-issuer"
    ))
}

/// Returns the RBAC objects that the chart renders with these values. The chart requires a token, which adds no rights; the
/// approver's RBAC is left to the tests.
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
    let is_heads = |object: &Value| {
        let metadata = object.get("metadata").unwrap_or(&Value::Null);
        text(metadata, "name") == Some(HEADS)
    };
    objects.retain(|object| {
        is_heads(object) || text(object, "kind").is_some_and(|kind| RIGHTS.contains(&kind))
    });
    Ok(objects)
}

/// Applies the RBAC objects that the chart renders with these values.
///
/// # Errors
///
/// When the chart refuses the values, or the API server an object.
pub async fn apply_rights(plane: &ControlPlane, values: &Value) -> Result<()> {
    apply(plane, &rights(values).await?).await
}

/// Does the same as [`apply_rights`] for the objects in one namespace only.
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

/// Whether an object is in a namespace.
fn is_in(object: &Value, namespace: &str) -> bool {
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    text(metadata, "namespace") == Some(namespace)
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str)
}

/// Returns empty values, which leave the chart's defaults as they are.
pub(crate) fn no_values() -> Value {
    Value::Object(Map::new())
}
