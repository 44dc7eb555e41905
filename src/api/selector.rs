//! Schema of a label selector.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::{JsonSchema as _, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// Returns the schema of a label selector, with bounds that the schema of Kubernetes lacks.
pub(super) fn bounded(generator: &mut SchemaGenerator) -> Schema {
    const PARTS: [(&str, &str, u32); 7] = [
        ("/properties/matchLabels", "maxProperties", 64),
        (
            "/properties/matchLabels/additionalProperties",
            "maxLength",
            63,
        ),
        ("/properties/matchExpressions", "maxItems", 64),
        (
            "/properties/matchExpressions/items/properties/key",
            "maxLength",
            317,
        ),
        (
            "/properties/matchExpressions/items/properties/operator",
            "maxLength",
            20,
        ),
        (
            "/properties/matchExpressions/items/properties/values",
            "maxItems",
            64,
        ),
        (
            "/properties/matchExpressions/items/properties/values/items",
            "maxLength",
            63,
        ),
    ];
    let mut schema = Option::<LabelSelector>::json_schema(generator);
    for (at, bound, most) in PARTS {
        if let Some(part) = schema.pointer_mut(at).and_then(Value::as_object_mut) {
            part.insert(bound.to_owned(), json!(most));
        }
    }
    schema
}
