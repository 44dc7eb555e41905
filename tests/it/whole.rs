//! Compares whole objects to see what a write changed, and that it changed nothing else.

use serde_json::{Map, Value, json};

/// Our name in `metadata.managedFields`.
const FIELD_MANAGER: &str = "pkcs11-issuer";

/// The fields and conditions of an object that our controller may write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ours {
    /// Fields as JSON pointers. A last part that ends with `*` stands for every name with this prefix.
    pub(crate) fields: &'static [&'static str],
    /// Types of conditions.
    pub(crate) conditions: &'static [&'static str],
}

/// Returns the object without the fields that every write changes.
pub(crate) fn lasting(object: &Value) -> Value {
    let mut object = object.clone();
    remove(&mut object, "/metadata/resourceVersion");
    remove(&mut object, "/metadata/managedFields");
    object
}

/// Returns the object without our fields. `metadata.managedFields` keeps the entries of other clients.
pub(crate) fn of_others(object: &Value, ours: Ours) -> Value {
    let mut object = object.clone();
    remove(&mut object, "/metadata/resourceVersion");
    let managed = object.pointer_mut("/metadata/managedFields");
    if let Some(entries) = managed.and_then(Value::as_array_mut) {
        entries.retain(|entry| entry["manager"] != FIELD_MANAGER);
    }
    for pointer in ours.fields {
        remove(&mut object, pointer);
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(all) = status.get_mut("conditions").and_then(Value::as_array_mut) {
            all.retain(|one| !ours.conditions.iter().any(|type_| one["type"] == *type_));
            if all.is_empty() {
                status.remove("conditions");
            }
        }
        if status.is_empty() {
            object.as_object_mut().and_then(|all| all.remove("status"));
        }
    }
    object
}

/// Returns the condition that the rig's approver writes.
pub(crate) fn judged(type_: &str) -> Value {
    json!({"type": type_, "status": "True", "reason": "rig", "message": "judged by the rig"})
}

/// Returns the condition of this type.
pub(crate) fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let mut conditions = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let found = conditions.find(|condition| condition["type"] == type_);
    found.unwrap_or(&Value::Null)
}

/// Returns the object with this status, as after one status write.
pub(crate) fn with_status(object: &Value, status: Value) -> Value {
    let mut object = lasting(object);
    object["status"] = status;
    object
}

fn remove(object: &mut Value, pointer: &str) {
    let Some((path, name)) = pointer.rsplit_once('/') else {
        return;
    };
    let name = name.replace("~1", "/");
    let fields: Option<&mut Map<_, _>> = object.pointer_mut(path).and_then(Value::as_object_mut);
    if let Some(fields) = fields {
        match name.strip_suffix('*') {
            Some(prefix) => fields.retain(|field, _| !field.starts_with(prefix)),
            None => drop(fields.remove(&name)),
        }
    }
}
