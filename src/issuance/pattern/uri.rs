//! Patterns of URIs.

use std::{fmt, str::FromStr};

use super::{PatternError, Template, Variables};
use crate::issuance::san::{DnsSyntax, is_dns, is_uri};

/// Pattern of URIs: a URI itself or, with `/*` at the end, every longer URI with this beginning. Compared octet by
/// octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPattern {
    text: Template,
    /// Whether at least one other character must follow; otherwise none may.
    open: bool,
}

/// How many of a host's URIs a pattern covers.
pub(in crate::issuance) enum OfHost {
    /// No URIs, because a variable has no usable value.
    Nothing,
    /// Some of the URIs: those with one path, or with paths below it.
    Some,
    /// All URIs of this host, with any path.
    All(String),
}

impl UriPattern {
    /// Returns how many URIs of its host the pattern covers.
    pub(in crate::issuance) fn host(&self, variables: Variables<'_>) -> OfHost {
        let Some(text) = self.text.expand(variables, is_segment) else {
            return OfHost::Nothing;
        };
        let host = text
            .split_once("://")
            .and_then(|(_, rest)| rest.strip_suffix('/'))
            .filter(|host| self.open && is_dns(host, DnsSyntax::Underscore));
        host.map_or(OfHost::Some, |host| OfHost::All(host.to_owned()))
    }

    /// Returns this pattern with its variables replaced, or `None` if a variable has no usable value.
    pub(in crate::issuance) fn bind(&self, variables: Variables<'_>) -> Option<Self> {
        Some(Self {
            text: self.text.bind(variables, is_segment)?,
            open: self.open,
        })
    }

    /// Returns whether the pattern covers the URI. An open pattern covers no URI with a dot segment or a percent sign
    /// in the open part, because a reader that normalises the URI may see another path. A pattern covers nothing if the
    /// value of a variable is not exactly one path segment.
    #[must_use]
    pub fn covers(&self, uri: &str, variables: Variables<'_>) -> bool {
        let Some(text) = self.text.expand(variables, is_segment) else {
            return false;
        };
        match uri.strip_prefix(&*text) {
            Some("") => !self.open,
            Some(rest) => {
                self.open
                    && !rest.contains('%')
                    && rest
                        .split(['/', '?', '#'])
                        .all(|part| part != "." && part != "..")
            }
            None => false,
        }
    }

    /// Returns whether the pattern depends on the namespace of the request.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.text.names_namespace()
    }
}

/// Returns whether the value is one path segment of unreserved characters (RFC 3986, section 2.3). No reader of the URI
/// takes these for delimiters.
fn is_segment(value: &str) -> bool {
    let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    !matches!(value, "" | "." | "..") && value.bytes().all(is_unreserved)
}

impl fmt::Display for UriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.open { "*" } else { "" })
    }
}

impl FromStr for UriPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (start, open) = match text.strip_suffix("/*") {
            Some(_) => (text.trim_end_matches('*'), true),
            None => (text, false),
        };
        let pattern = Template::parse(start)?;
        let sample = pattern.sample();
        // A host must be followed by a slash; otherwise the star would match part of the host.
        let reaches_host = open
            && sample
                .split_once("://")
                .is_some_and(|(_, rest)| !rest.contains('/'));
        if start.contains('*') || reaches_host || !is_uri(&sample) {
            return Err(PatternError::Uri(text.to_owned()));
        }
        Ok(Self {
            text: pattern,
            open,
        })
    }
}
