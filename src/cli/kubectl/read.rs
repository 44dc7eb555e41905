//! What became of reading an object with the user's own rights.

use std::fmt;

use serde::Serialize;

/// Outcome of reading something.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Read<T> {
    /// It exists.
    Found(T),
    /// It does not exist.
    Missing,
    /// It could not be read.
    Unknown(Gap),
}

impl<T> Read<T> {
    /// Returns what was found.
    pub(super) const fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Missing | Self::Unknown(_) => None,
        }
    }

    /// Returns why it is unknown.
    pub(super) const fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Unknown(gap) => Some(gap),
            Self::Found(_) | Self::Missing => None,
        }
    }

    /// Returns the outcome with what was found turned into something else.
    pub(super) fn map<U>(self, turn: impl FnOnce(T) -> U) -> Read<U> {
        match self {
            Self::Found(found) => Read::Found(turn(found)),
            Self::Missing => Read::Missing,
            Self::Unknown(gap) => Read::Unknown(gap),
        }
    }
}

/// Something that could not be read, and what is unknown therefore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gap {
    /// What is unknown.
    pub(super) part: String,
    /// The verb of the call.
    pub(super) verb: &'static str,
    /// Plural and group of the objects, as in `kubectl auth can-i`.
    pub(super) resource: String,
    /// Their namespace; `None` for the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    /// What the API server said; `None` if the user lacks the right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            verb,
            resource,
            namespace,
            error,
        } = self;
        let place = match namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in the whole cluster".to_owned(),
        };
        match error {
            None => write!(f, "{part}: you may not {verb} {resource} {place}"),
            Some(error) => write!(f, "{part}: failed to {verb} {resource} {place}: {error}"),
        }
    }
}
