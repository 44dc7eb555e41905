//! The status of an issuer or a request.

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::until;
use serde::Deserialize;
use serde_json::Value;

use crate::PATIENCE;

/// A snapshot of the status of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Status(Value);

/// One condition of a status.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Approved`, `Denied`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason, one word for programs.
    #[serde(default)]
    pub reason: String,
    /// The message for people.
    #[serde(default)]
    pub message: String,
    /// The `metadata.generation` that the condition is about.
    pub observed_generation: Option<i64>,
    /// RFC 3339.
    pub last_transition_time: Option<String>,
}

impl Status {
    /// Reads a status until it meets a condition.
    ///
    /// # Errors
    ///
    /// When it does not in time; the message quotes the status.
    pub(crate) async fn until(
        what: &str,
        read: impl AsyncFn() -> Result<Self>,
        wanted: impl Fn(&Self) -> bool,
    ) -> Result<Self> {
        let reached = until(what, PATIENCE, async || {
            let status = read().await?;
            Ok(wanted(&status).then_some(status))
        });
        match reached.await {
            Ok(status) => Ok(status),
            Err(error) => Err(match read().await {
                Ok(status) => error.context(format!("its status is {}", status.json())),
                Err(_) => error,
            }),
        }
    }

    /// Takes the status from an object's fields; it is `null` if there is none yet.
    pub fn of(fields: &Value) -> Self {
        Self(fields.get("status").cloned().unwrap_or_default())
    }

    /// Returns the whole status.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Returns the condition of this type, if there is one that can be parsed.
    pub fn condition(&self, type_: &str) -> Option<Condition> {
        let conditions = self.0.get("conditions")?.as_array()?;
        let mut read = conditions
            .iter()
            .filter_map(|condition| Condition::deserialize(condition).ok());
        read.find(|condition| condition.type_ == type_)
    }

    /// Returns the `Ready` condition.
    pub fn ready(&self) -> Option<Condition> {
        self.condition("Ready")
    }

    /// Returns the chain of a request in PEM, leaf first.
    pub fn certificate(&self) -> Option<String> {
        self.pem("certificate")
    }

    /// Returns the CA certificate of a request in PEM.
    pub fn ca(&self) -> Option<String> {
        self.pem("ca")
    }

    /// Returns the time at which a request failed or was denied, in RFC 3339.
    pub fn failure_time(&self) -> Option<&str> {
        self.0.get("failureTime")?.as_str()
    }

    fn pem(&self, field: &str) -> Option<String> {
        decode(self.0.get(field)?).ok()
    }
}

/// Decodes the text in a field of type `[]byte`.
pub(crate) fn decode(field: &Value) -> Result<String> {
    let base64 = field.as_str().context("the field is not a string")?;
    let octets = STANDARD
        .decode(base64)
        .ok()
        .context("the field is not base64")?;
    String::from_utf8(octets).context("the decoded field is not UTF-8")
}
