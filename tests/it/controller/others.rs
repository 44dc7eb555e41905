//! Every write of the controller changes what is ours and nothing else, whatever others have put on the object before, or
//! put there between our read and our write.

mod many;
mod requests;
mod stage;
mod standing;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use self::stage::LATER;
use super::between::{Edit, Write};
use crate::whole::{Ours, of_others};

/// What any object can have of others.
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

/// The same, and a name that the API server could have made up, which only the creator of an object gives.
fn metadata_of_new(namespace: Option<&str>, name: &str) -> Value {
    let mut metadata = metadata();
    metadata["name"] = json!(name);
    metadata["generateName"] = json!("others-");
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

/// A condition of somebody else, with a time as Kubernetes itself does not write it.
fn condition() -> Value {
    json!({
        "type": "Audited", "status": "Unknown", "reason": "Audit", "message": "",
        "lastTransitionTime": "2026-01-01T02:00:00.123456789+02:00",
    })
}

/// A field of the status of a later version of a kind.
fn later() -> Value {
    json!({"text": "", "list": [null, {}, 1.2345678901234567e-7], "number": i64::MAX})
}

/// Somebody labels the object, holds it, and changes what is there.
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

/// The same to the status too, as far as the kind has room there.
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

/// Whether somebody else writes to an object between the controller's read and its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    /// Nobody.
    Nothing,
    /// The write is refused for it, and made anew.
    Noticed,
    /// The write depends on nothing of it.
    Unnoticed,
}

impl Meanwhile {
    fn edit(self, meddle: fn(&Value) -> Value) -> Option<Edit> {
        match self {
            Self::Nothing => None,
            Self::Noticed | Self::Unnoticed => Some(Box::new(meddle)),
        }
    }

    /// Checks every write, and returns the first that was stored.
    fn check(self, writes: &[Write], ours: Ours) -> Result<Write> {
        for write in writes.iter().filter(|write| !write.before.is_null()) {
            assert_eq!(
                of_others(&write.after, ours),
                of_others(&write.before, ours),
                "{self:?}"
            );
        }
        let first = writes.first().context("nothing was written")?;
        // 422: a trust bundle is there although there was none.
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
