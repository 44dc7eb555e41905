//! Objects that may not match their kind. One malformed object must not stop a watch for all.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// An object, or the metadata of an object that cannot be read.
///
/// `metadata.managedFields` is skipped. The controller does not use it, and in memory it needs a map for every field of the
/// object that it names.
#[derive(Clone, Debug)]
pub struct Tolerant<K>(pub Result<K, Unreadable>);

/// An object that does not match its kind.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// Why it cannot be read.
    pub error: String,
    /// Metadata of the object, without `managedFields`.
    pub metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Tolerant<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Without(&["metadata", "managedFields"]).deserialize(deserializer)?;
        let error = match K::deserialize(&object) {
            Ok(read) => return Ok(Self(Ok(read))),
            Err(error) => error.to_string(),
        };
        let metadata = object.get("metadata").map(ObjectMeta::deserialize);
        let metadata = metadata.transpose().map_err(D::Error::custom)?;
        Ok(Self(Err(Unreadable {
            error,
            metadata: metadata.unwrap_or_default(),
        })))
    }
}

impl<K: Resource> Resource for Tolerant<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

/// Reads an object without the field at this path.
struct Without(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Without {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Without {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = match self.0 {
                [field] if *field == name => {
                    fields.next_value::<IgnoredAny>()?;
                    continue;
                }
                [field, path @ ..] if *field == name => fields.next_value_seed(Self(path))?,
                _ => fields.next_value()?,
            };
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::certificate_request::CertificateRequest;

    fn read(spec: Value) -> Tolerant<CertificateRequest> {
        let object = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "CertificateRequest",
            "metadata": {
                "name": "web",
                "labels": {"managedFields": "kept"},
                "managedFields": [{"manager": "somebody", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": spec,
        });
        serde_json::from_str(&object.to_string()).unwrap()
    }

    #[test]
    fn an_object_is_read_without_its_managed_fields() {
        let read = read(json!({"request": "YQ==", "issuerRef": {"name": "issuing"}}));
        assert_eq!(read.meta().managed_fields, None);
        assert_eq!(
            read.meta().labels.as_ref().unwrap()["managedFields"],
            "kept"
        );
        let object = read.0.unwrap();
        assert_eq!(object.spec.request.0, b"a");
        assert_eq!(object.spec.issuer_ref.name, "issuing");
    }

    #[test]
    fn a_malformed_object_keeps_its_metadata_and_the_reason() {
        let read = read(json!({"usages": "all"}));
        assert_eq!(read.meta().name.as_deref(), Some("web"));
        assert_eq!(read.meta().managed_fields, None);
        let unreadable = read.0.unwrap_err();
        assert!(unreadable.to_string().contains("\"all\""), "{unreadable}");
    }

    #[test]
    fn a_malformed_object_does_not_break_a_list() {
        let list = json!([{"metadata": {"name": "web"}, "spec": 1}, {"spec": {}, "metadata": {}}, {"spec": {}}]);
        let read: Vec<Tolerant<CertificateRequest>> = serde_json::from_value(list).unwrap();
        let readable: Vec<_> = read.iter().map(|one| one.0.is_ok()).collect();
        assert_eq!(readable, [false, true, false]);
    }
}
