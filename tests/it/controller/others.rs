//! Every write of the controller changes only our fields, whatever other clients have written to the object before, or write
//! to it between our read and our write.

mod many;
mod requests;
mod stage;
mod standing;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use self::stage::LATER;
use super::between::{Edit, Write};
use crate::whole::{Ours, of_others};

/// Returns metadata that other clients may put on any object.
fn metadata() -> Value {
    json!({
        "labels": {"example.com/team": "others"},
        "annotations": {
            "example.com/note": "kept",
            "experimental.cert-manager.io/request-duration": "5h",
        },
        "finalizers": ["example.com/hold"],
        "ownerReferences": [{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
            "uid": "3a1ba5b4-6f4f-4a1e-9d0c-1f5ff1f1a009",
        }],
    })
}

/// Returns [`metadata`] with the fields that only the creator of an object sets: namespace, `name` and `generateName`.
fn metadata_of_new(namespace: Option<&str>, name: &str) -> Value {
    let mut metadata = metadata();
    metadata["name"] = json!(name);
    metadata["generateName"] = json!("others-");
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

/// Returns a condition of another client, with a time in a format that Kubernetes itself does not write.
fn condition() -> Value {
    json!({
        "type": "Audited", "status": "Unknown", "reason": "Audit", "message": "",
        "lastTransitionTime": "2026-01-01T02:00:00.123456789+02:00",
    })
}

/// Returns the value of a status field that only a later version of a kind has.
fn later() -> Value {
    json!({"text": "", "list": [null, {}, 1.2345678901234567e-7], "number": i64::MAX})
}

/// Returns an edit by another client: it adds a label and a finalizer and changes an annotation.
fn meddle(before: &Value) -> Value {
    let mut finalizers = before["metadata"]["finalizers"].clone();
    if let Some(finalizers) = finalizers.as_array_mut() {
        finalizers.push(json!("example.com/meanwhile"));
    }
    json!({"metadata": {
        "labels": {"example.com/meanwhile": "yes"},
        "annotations": {"example.com/note": "changed"},
        "finalizers": finalizers,
    }})
}

/// Returns [`meddle`] with an edit of the status as well, for fields that the kind has.
fn meddle_with_status(before: &Value) -> Value {
    let mut conditions = before["status"]["conditions"].clone();
    if let Some(conditions) = conditions.as_array_mut() {
        let mut another = condition();
        another["type"] = json!("Meanwhile");
        conditions.insert(0, another);
    }
    let mut edit = meddle(before);
    edit["status"] = json!({"conditions": conditions, LATER: {"text": "changed"}});
    edit
}

/// Whether another client writes to an object between the controller's read and its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    /// No other client writes.
    Nothing,
    /// The API server refuses the controller's write, and the controller makes it again.
    Noticed,
    /// The controller's write succeeds, because it does not depend on the edit.
    Unnoticed,
}

impl Meanwhile {
    fn edit(self, meddle: fn(&Value) -> Value) -> Option<Edit> {
        match self {
            Self::Nothing => None,
            Self::Noticed | Self::Unnoticed => Some(Box::new(meddle)),
        }
    }

    /// Checks every write and returns the first one that was stored.
    fn check(self, writes: &[Write], ours: Ours) -> Result<Write> {
        for write in writes.iter().filter(|write| !write.before.is_null()) {
            assert_eq!(
                of_others(&write.after, ours),
                of_others(&write.before, ours),
                "{self:?}"
            );
        }
        let first = writes.first().context("nothing was written")?;
        // 422: the controller creates a trust bundle that exists by then.
        let refused = [409, 422].contains(&first.code);
        ensure!(
            refused == (self == Self::Noticed),
            "{self:?}: {}",
            first.code
        );
        let stored = writes.iter().find(|write| write.succeeded());
        let stored = stored.context("nothing was stored")?;
        let labels = &stored.before["metadata"]["labels"];
        ensure!(labels["example.com/team"] == "others", "{labels}");
        let met = labels["example.com/meanwhile"] == "yes";
        ensure!(met == (self != Self::Nothing), "{self:?}: {labels}");
        let (before, after) = (&stored.before, &stored.after);
        ensure!(before != after, "nothing was changed: {after:#}");
        Ok(stored.clone())
    }
}
