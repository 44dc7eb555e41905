//! What stands in the status of an issuer or a request.

use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use serde::Deserialize;
use serde_json::Value;

/// The status of an object at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status(Value);

/// One condition.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Approved`, `Denied`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    #[serde(default)]
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// `metadata.generation` of the object that it speaks of.
    pub observed_generation: Option<i64>,
    /// RFC 3339.
    pub last_transition_time: Option<String>,
}

impl Status {
    /// The status in an object's fields; `null` where it has none yet.
    pub(crate) fn of(fields: &Value) -> Self {
        Self(fields.get("status").cloned().unwrap_or_default())
    }

    /// All of it.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// The condition of this type; a condition that cannot be read is none.
    pub fn condition(&self, type_: &str) -> Option<Condition> {
        let conditions = self.0.get("conditions")?.as_array()?;
        let mut read = conditions
            .iter()
            .filter_map(|condition| Condition::deserialize(condition).ok());
        read.find(|condition| condition.type_ == type_)
    }

    /// The `Ready` condition.
    pub fn ready(&self) -> Option<Condition> {
        self.condition("Ready")
    }

    /// The chain of a request, PEM, leaf first.
    ///
    pub fn certificate(&self) -> Option<String> {
        self.pem("certificate")
    }

    /// What a request has as its CA, PEM.
    pub fn ca(&self) -> Option<String> {
        self.pem("ca")
    }

    /// When a request failed or was denied, RFC 3339.
    pub fn failure_time(&self) -> Option<&str> {
        self.0.get("failureTime")?.as_str()
    }

    fn pem(&self, field: &str) -> Option<String> {
        decode(self.0.get(field)?).ok()
    }
}

/// Text in a field of type `[]byte`.
pub(crate) fn decode(field: &Value) -> Result<String> {
    let base64 = field.as_str().context("the field is no text")?;
    let octets = Base64::decode_vec(base64)
        .ok()
        .context("the field is not base64")?;
    String::from_utf8(octets).context("the field is not text in base64")
}
