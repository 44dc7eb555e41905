//! The kinds of status writes that the limit can make.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use jiff::Timestamp;
use kube::Resource as _;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams, Request};
use serde_json::{Map, Value, json};

const FIELD_MANAGER: &str = "bench-limit";

/// How a status is written. Each write has UID and resourceVersion as preconditions, like the controller's writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Write {
    /// Server-side apply, with force.
    Apply,
    /// JSON merge patch, which replaces a list as a whole.
    Merge,
    /// PUT of the whole status as read, with our fields in it. The API server ignores the rest of the body.
    Put,
}

/// The certificates to write to every request, in base64.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    pub(crate) certificate: String,
    pub(crate) ca: String,
}

impl Write {
    /// Returns the HTTP request that publishes the constant certificate on an object as it was read.
    pub(crate) fn request(
        self,
        kind: &ApiResource,
        mut object: DynamicObject,
        constant: &Constant,
    ) -> Result<http::Request<Vec<u8>>> {
        let meta = &object.metadata;
        let name = meta.name.clone().context("the object has no name")?;
        let request = Request::new(DynamicObject::url_path(kind, meta.namespace.as_deref()));
        let identity = json!({
            "name": name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        });
        let body = |status: Map<String, Value>| {
            json!({
                "apiVersion": "cert-manager.io/v1",
                "kind": "CertificateRequest",
                "metadata": identity,
                "status": status,
            })
        };
        let patch = |params: PatchParams, patch: &Patch<Value>| {
            request.patch_subresource("status", &name, &params, patch)
        };
        Ok(match self {
            Self::Apply => {
                let body = body(published(Map::new(), constant));
                let params = PatchParams::apply(FIELD_MANAGER).force();
                patch(params, &Patch::Apply(body))?
            }
            Self::Merge => {
                let body = body(published(status_of(&mut object), constant));
                let params = PatchParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                patch(params, &Patch::Merge(body))?
            }
            Self::Put => {
                let body = body(published(status_of(&mut object), constant));
                let params = PostParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PostParams::default()
                };
                let body = serde_json::to_vec(&body)?;
                request.replace_subresource("status", &name, &params, body)?
            }
        })
    }
}

fn status_of(object: &mut DynamicObject) -> Map<String, Value> {
    let status = object.data.get_mut("status").map(Value::take);
    match status {
        Some(Value::Object(status)) => status,
        Some(_) | None => Map::new(),
    }
}

fn published(mut status: Map<String, Value>, constant: &Constant) -> Map<String, Value> {
    let ready = json!({
        "type": "Ready",
        "status": "True",
        "reason": "Issued",
        "message": "Signed by nobody, serial 0123456789abcdef0123456789abcdef",
        "lastTransitionTime": now().strftime("%FT%TZ").to_string(),
    });
    let mut conditions = match status.remove("conditions") {
        Some(Value::Array(conditions)) => conditions,
        Some(_) | None => Vec::new(),
    };
    conditions.push(ready);
    status.insert("conditions".to_owned(), conditions.into());
    status.insert(
        "certificate".to_owned(),
        constant.certificate.clone().into(),
    );
    status.insert("ca".to_owned(), constant.ca.clone().into());
    status
}

/// Returns the time for a status or an Event.
#[expect(clippy::disallowed_methods, reason = "the edge of this program")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
