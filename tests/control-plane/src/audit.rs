//! The API server's audit log: requests, who sent them, and the responses.

use std::ops::Deref;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// The audit policy. It never records the content of Secrets and tokens.
pub(crate) const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  resources:
  - {group: "", resources: [secrets, serviceaccounts/token]}
  - {group: authentication.k8s.io}
- level: RequestResponse
  verbs: [create, update, patch, delete, deletecollection]
  resources:
  - {group: cert-manager.io}
  - {group: certificates.k8s.io}
  - {group: pkcs11-issuer.dev}
  - {group: events.k8s.io}
  - {group: "", resources: [events]}
- level: Metadata
"#;

/// One request to the API server, `audit.k8s.io/v1` `Event`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// The ID of the request, which all its stages share.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `ResponseComplete`, `ResponseStarted` (watches) or `Panic`.
    pub stage: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// The user who sent the request.
    pub user: User,
    /// The `User-Agent` of the client.
    #[serde(default)]
    pub user_agent: String,
    /// The object that the request is about; `None` for paths such as `/readyz`.
    pub object_ref: Option<ObjectRef>,
    /// The response; `None` while the request runs.
    pub response_status: Option<ResponseStatus>,
    /// Body of a write to an Event or to the groups of cert-manager, of the CSR API or of ours. A patch is as it was sent.
    pub request_object: Option<Value>,
    /// Body of the response to such a write.
    pub response_object: Option<Value>,
    /// RFC 3339, microseconds.
    pub request_received_timestamp: String,
    /// RFC 3339, microseconds.
    pub stage_timestamp: String,
}

/// The user who sent a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// `system:serviceaccount:<namespace>:<name>`, or a user's name.
    pub username: String,
    /// Its groups.
    pub groups: Vec<String>,
}

/// The object that a request is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// API group, empty for the core group.
    pub api_group: String,
    /// Plural resource.
    pub resource: String,
    /// `status`, `approval`, `token` …; empty for the object itself.
    pub subresource: String,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name, empty for lists.
    pub name: String,
}

/// The response to a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseStatus {
    /// HTTP status code.
    pub code: u16,
    /// Kubernetes' reason for a refusal, such as `Conflict`.
    pub reason: Option<String>,
    /// Message of a refusal.
    pub message: Option<String>,
}

impl AuditEvent {
    /// Whether the verb of the request can change something.
    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
    }

    /// Returns the HTTP status of the response.
    pub fn code(&self) -> Option<u16> {
        self.response_status.as_ref().map(|status| status.code)
    }
}

/// Requests in the order of their responses. Each method keeps only some of them:
/// `log.writes().by(controller).on("certificaterequests").subresource("status").of("payments", "web-1")`.
#[derive(Clone, Debug, Default)]
pub struct AuditLog(Vec<AuditEvent>);

impl AuditLog {
    /// Reads the log as it is now. Leaves out a line that is still being written.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line| {
            serde_json::from_str(line).with_context(|| format!("parse the audit log's line {line}"))
        };
        Ok(Self(whole.lines().map(parse).collect::<Result<_>>()?))
    }

    /// Keeps the requests for which `keep` returns true.
    #[must_use]
    pub fn filter(self, keep: impl Fn(&AuditEvent) -> bool) -> Self {
        Self(self.0.into_iter().filter(|event| keep(event)).collect())
    }

    /// Keeps the requests whose verb can change something.
    #[must_use]
    pub fn writes(self) -> Self {
        self.filter(AuditEvent::is_write)
    }

    /// Keeps the requests of a user; a service account is `system:serviceaccount:<namespace>:<name>`.
    #[must_use]
    pub fn by(self, username: &str) -> Self {
        self.filter(|event| event.user.username == username)
    }

    /// Keeps the requests with a verb.
    #[must_use]
    pub fn verb(self, verb: &str) -> Self {
        self.filter(|event| event.verb == verb)
    }

    /// Keeps the requests on a resource or one of its subresources. The name is plural, with the group
    /// (`issuers.cert-manager.io`) or without.
    #[must_use]
    pub fn on(self, resource: &str) -> Self {
        let (plural, group) = resource
            .split_once('.')
            .map_or((resource, None), |(plural, group)| (plural, Some(group)));
        self.object(|object| {
            object.resource == plural && group.is_none_or(|group| object.api_group == group)
        })
    }

    /// Keeps the requests on a subresource; the empty name stands for the object itself.
    #[must_use]
    pub fn subresource(self, subresource: &str) -> Self {
        self.object(|object| object.subresource == subresource)
    }

    /// Keeps the requests on one object; the namespace of a cluster-scoped object is empty.
    #[must_use]
    pub fn of(self, namespace: &str, name: &str) -> Self {
        self.object(|object| object.namespace == namespace && object.name == name)
    }

    /// Keeps the requests whose response has a 2xx status.
    #[must_use]
    pub fn succeeded(self) -> Self {
        self.filter(|event| event.code().is_some_and(|code| (200..300).contains(&code)))
    }

    /// Keeps the requests whose response has this HTTP status, such as 403 for a missing RBAC rule.
    #[must_use]
    pub fn answered(self, code: u16) -> Self {
        self.filter(|event| event.code() == Some(code))
    }

    fn object(self, keep: impl Fn(&ObjectRef) -> bool) -> Self {
        self.filter(|event| event.object_ref.as_ref().is_some_and(&keep))
    }
}

impl Deref for AuditLog {
    type Target = [AuditEvent];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl IntoIterator for AuditLog {
    type Item = AuditEvent;
    type IntoIter = std::vec::IntoIter<AuditEvent>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"auditID":"1","stage":"ResponseComplete","verb":"get","requestURI":"/readyz","user":{"username":"admin"},"responseStatus":{"code":200},"requestReceivedTimestamp":"a","stageTimestamp":"b"}
{"auditID":"2","stage":"ResponseComplete","verb":"patch","requestURI":"/apis","user":{"username":"issuer"},"objectRef":{"apiGroup":"cert-manager.io","resource":"certificaterequests","subresource":"status","namespace":"payments","name":"web-1"},"responseStatus":{"code":409,"reason":"Conflict"},"requestObject":{"status":{}},"requestReceivedTimestamp":"a","stageTimestamp":"b"}
{"auditID":"3","stage":"ResponseComplete","verb":"patch","requestURI":"/apis","user":{"username":"issuer"},"objectRef":{"apiGroup":"cert-manager.io","resource":"certificaterequests","subresource":"status","namespace":"payments","name":"web-1"},"responseStatus":{"code":200},"requestReceivedTimestamp":"a","stageTimestamp":"b"}
{"auditID":"4","stage":"ResponseComplete","verb":"create","requestURI":"/api","user":{"username":"issuer"},"objectRef":{"resource":"events","namespace":"payments"},"responseStatus":{"code":201},"requestReceivedTimestamp":"a","stageTimestamp":"b"}
{"auditID":"5","stage":"Resp"#;

    fn ids(log: AuditLog) -> Vec<String> {
        log.into_iter().map(|event| event.audit_id).collect()
    }

    #[test]
    fn filters_narrow_the_log_down_and_an_unfinished_line_is_left_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), LOG).unwrap();
        let log = || AuditLog::read(file.path()).unwrap();
        assert_eq!(ids(log()), ["1", "2", "3", "4"]);
        assert_eq!(ids(log().writes().by("issuer")), ["2", "3", "4"]);
        assert_eq!(ids(log().by("admin").writes()), [""; 0]);
        let status = || {
            log()
                .on("certificaterequests.cert-manager.io")
                .subresource("status")
        };
        assert_eq!(ids(status().of("payments", "web-1")), ["2", "3"]);
        assert_eq!(ids(status().succeeded()), ["3"]);
        assert_eq!(ids(status().answered(409)), ["2"]);
        assert_eq!(
            ids(log().on("certificaterequests").subresource("")),
            [""; 0]
        );
        assert_eq!(ids(log().on("events.events.k8s.io")), [""; 0]);
        assert_eq!(ids(log().on("events").verb("create")), ["4"]);
    }
}
