//! Bounds on the size of an issuer's specification: checks the bounds of the CRD schema again.
//!
//! The API server checks the installed schema, which may be an older version, and a file on the command line never passes
//! the API server. All further processing of a specification happens after this check, so that its cost is bounded.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::Value;

use super::issuer::IssuerSpec;

/// Longest key of a map, in characters, as long as the key of a label. A schema of Kubernetes cannot bound the keys of maps.
const MAX_KEY: usize = 253 + 1 + 63;

/// Bounds of a specification, the same for both kinds. They are a generated part of the CRD's schema, because making the
/// schema itself takes megabytes.
static SPEC: LazyLock<Option<Bounds>> =
    LazyLock::new(|| serde_json::from_str(include_str!("bounds.json")).ok());

/// The bounds in a JSON schema.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Bounds {
    max_length: Option<usize>,
    max_items: Option<usize>,
    max_properties: Option<usize>,
    maximum: Option<f64>,
    properties: BTreeMap<String, Self>,
    items: Option<Box<Self>>,
    additional_properties: Option<Box<Self>>,
}

/// A part of a specification that is larger than its schema allows.
#[derive(Debug, thiserror::Error)]
pub enum OutOfBounds {
    /// A text, a list or a map that is too large.
    #[error("{path} has {found} {unit}, at most {most} are read; make it smaller")]
    Larger {
        /// Path of the part, such as `spec.profile.sans.allowed.dns`.
        path: String,
        /// Unit of the size, such as `entries`.
        unit: &'static str,
        /// Size of the part.
        found: usize,
        /// Largest size that is allowed.
        most: usize,
    },
    /// A number above its maximum.
    #[error("{path} is {found}, at most {most} is allowed; make it smaller")]
    Above {
        /// Path of the number.
        path: String,
        /// The number.
        found: f64,
        /// Largest number that is allowed.
        most: f64,
    },
    /// A specification that cannot be written as JSON.
    #[error("the specification cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The generated bounds cannot be read.
    #[error("this program has no bounds for issuers; please report this bug")]
    NoSchema,
}

/// Checks the whole specification. Takes time in proportion to its size.
///
/// # Errors
/// The first part that is too large.
pub fn check(spec: &IssuerSpec) -> Result<(), OutOfBounds> {
    let written = serde_json::to_value(spec).map_err(OutOfBounds::Json)?;
    let bounds = SPEC.as_ref().ok_or(OutOfBounds::NoSchema)?;
    within(&written, bounds).map_err(|error| error.below("spec"))
}

fn within(value: &Value, bounds: &Bounds) -> Result<(), OutOfBounds> {
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => match (number.as_f64(), bounds.maximum) {
            (Some(found), Some(most)) if found > most => Err(OutOfBounds::Above {
                path: String::new(),
                found,
                most,
            }),
            (_, _) => Ok(()),
        },
        Value::String(text) => at_most("characters", text.chars().count(), bounds.max_length),
        Value::Array(items) => {
            at_most("entries", items.len(), bounds.max_items)?;
            let Some(bounds) = &bounds.items else {
                return Ok(());
            };
            items.iter().enumerate().try_for_each(|(index, item)| {
                within(item, bounds).map_err(|error| error.below(&format!("[{index}]")))
            })
        }
        Value::Object(fields) => {
            at_most("entries", fields.len(), bounds.max_properties)?;
            fields.iter().try_for_each(|(key, value)| {
                field(key, value, bounds).map_err(|error| error.below(&format!(".{key}")))
            })
        }
    }
}

fn field(key: &str, value: &Value, bounds: &Bounds) -> Result<(), OutOfBounds> {
    match (bounds.properties.get(key), &bounds.additional_properties) {
        (Some(bounds), _) => within(value, bounds),
        (None, Some(bounds)) => {
            at_most("characters in its name", key.chars().count(), Some(MAX_KEY))?;
            within(value, bounds)
        }
        (None, None) => Ok(()),
    }
}

fn at_most(unit: &'static str, found: usize, most: Option<usize>) -> Result<(), OutOfBounds> {
    match most {
        Some(most) if found > most => Err(OutOfBounds::Larger {
            path: String::new(),
            unit,
            found,
            most,
        }),
        Some(_) | None => Ok(()),
    }
}

impl OutOfBounds {
    /// Prefixes the path with `part`, which contains the part at fault.
    fn below(mut self, part: &str) -> Self {
        match &mut self {
            Self::Larger { path, .. } | Self::Above { path, .. } => path.insert_str(0, part),
            Self::Json(_) | Self::NoSchema => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    };
    use serde_json::json;

    use super::*;

    /// Returns the schema of the specification of a kind.
    fn schema_of(kind: &str) -> Option<JSONSchemaProps> {
        let mut crds = super::super::crds().into_iter();
        let mut crd = crds.find(|crd| crd.spec.names.kind == kind)?;
        let schema = crd.spec.versions.pop()?.schema?.open_api_v3_schema?;
        schema.properties?.remove("spec")
    }

    /// Leaves only the bounds of a schema.
    fn bounds_of(schema: &Value) -> Value {
        let mut bounds = serde_json::Map::new();
        for (key, value) in schema.as_object().unwrap() {
            let kept = match key.as_str() {
                "maxLength" | "maxItems" | "maxProperties" | "maximum" => value.clone(),
                "items" | "additionalProperties" if value.is_object() => bounds_of(value),
                "properties" => {
                    let parts = value.as_object().unwrap().iter();
                    parts
                        .map(|(name, part)| (name.clone(), bounds_of(part)))
                        .collect()
                }
                _ => continue,
            };
            bounds.insert(key.clone(), kept);
        }
        bounds.into()
    }

    #[test]
    fn the_generated_bounds_match_the_schemas_of_both_kinds() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/bounds.json");
        for kind in ["PKCS11ClusterIssuer", "PKCS11Issuer"] {
            let schema = serde_json::to_value(schema_of(kind).unwrap()).unwrap();
            let text = serde_json::to_string_pretty(&bounds_of(&schema)).unwrap() + "\n";
            if env::var_os("UPDATE_GENERATED").is_some() {
                fs::write(&file, &text).unwrap();
            }
            assert!(
                fs::read_to_string(&file).unwrap() == text,
                "src/api/bounds.json differs from the CRD: run `make generated` and review the difference"
            );
        }
        assert!(SPEC.as_ref().unwrap().properties.len() > 9);
    }

    /// Collects every part of the schema without a bound.
    fn unbounded(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
        let bound = match schema.type_.as_deref() {
            Some("string") => schema.enum_.is_some() || schema.max_length.is_some(),
            Some("array") => schema.max_items.is_some() && schema.items.is_some(),
            Some("object") if schema.properties.is_none() => schema.max_properties.is_some(),
            Some("object" | "boolean") => true,
            Some("integer") => schema.maximum.is_some(),
            _ => false,
        };
        if !bound {
            found.push(path.to_owned());
        }
        for (name, schema) in schema.properties.iter().flatten() {
            unbounded(&format!("{path}.{name}"), schema, found);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
            unbounded(&format!("{path}[]"), schema, found);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(schema)) = &schema.additional_properties {
            unbounded(&format!("{path}.*"), schema, found);
        }
    }

    #[test]
    fn every_part_of_a_specification_has_a_bound_in_its_schema() {
        let kinds = super::super::crds();
        assert_eq!(kinds.len(), 3);
        for kind in kinds {
            let mut found = Vec::new();
            let schema = schema_of(&kind.spec.names.kind).unwrap();
            assert!(schema.properties.as_ref().unwrap().len() > 9);
            unbounded("spec", &schema, &mut found);
            assert_eq!(found, [""; 0], "{}", kind.spec.names.kind);
        }
    }

    fn message(spec: Value) -> String {
        let spec = serde_json::from_value(spec).unwrap();
        check(&spec).map_or_else(|error| error.to_string(), |()| "well".to_owned())
    }

    #[test]
    fn the_error_names_the_path_of_a_part_that_is_too_large() {
        let spec = |part: &str, value: Value| {
            let mut spec = json!({"token": "t", "certificate": {"pem": "-"}});
            spec[part] = value;
            message(spec)
        };
        let many = |count: usize| vec!["a"; count];
        let long = |count: usize| "a".repeat(count);
        for (part, value, expected) in [
            ("token", json!(long(253)), "well"),
            (
                "token",
                json!(long(254)),
                "spec.token has 254 characters, at most 253 are read",
            ),
            // Characters, not octets, as the API server counts them.
            ("token", json!("ü".repeat(253)), "well"),
            (
                "profile",
                json!({"usages": {"allowed": many(31)}}),
                "spec.profile.usages.allowed has 31 entries, at most 30 are read",
            ),
            (
                "profile",
                json!({"subject": {"fixed": {"O": many(100)}}}),
                "spec.profile.subject.fixed.O has 100 entries",
            ),
            (
                "profile",
                json!({"subject": {"fixed": {long(1000): many(1)}}}),
                &format!(
                    "spec.profile.subject.fixed.{} has 1000 characters in its name",
                    long(1000)
                ),
            ),
            (
                "profile",
                json!({"sans": {"max": 1001}}),
                "spec.profile.sans.max is 1001, at most 1000 is allowed",
            ),
            (
                "profile",
                json!({"extensions": {"policies": [{"oid": "1.2.3"}, {"oid": long(1000)}]}}),
                "spec.profile.extensions.policies[1].oid has 1000 characters",
            ),
            (
                "namespaceSelector",
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": many(65)}]}),
                "spec.namespaceSelector.matchExpressions[0].values has 65 entries",
            ),
            (
                "podCertificates",
                json!({"uris": many(11)}),
                "spec.podCertificates.uris has 11",
            ),
            (
                "crl",
                json!({"children": vec![json!({"kind": "Secret", "name": "a", "key": "b"}); 65]}),
                "spec.crl.children has 65 entries, at most 64 are read",
            ),
            (
                "crl",
                json!({"shards": 257}),
                "spec.crl.shards is 257, at most 256 is allowed",
            ),
            (
                "key",
                json!({"uri": long(1025)}),
                "spec.key.uri has 1025 characters",
            ),
            (
                "maxPending",
                json!(long(21)),
                "spec.maxPending has 21 characters",
            ),
        ] {
            let message = spec(part, value);
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
