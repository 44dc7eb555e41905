//! Patterns of URIs.

use std::{fmt, str::FromStr};

use super::{PatternError, Template, Variables};
use crate::issuance::san::{DnsSyntax, is_dns, is_uri};

/// A URI itself, or the beginning of URIs, written with `/*` at its end; compared octet by octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPattern {
    text: Template,
    /// Whether anything may follow.
    open: bool,
}

/// What of a host's URIs a pattern covers.
pub(in crate::issuance) enum OfHost {
    /// Nothing at all, for a variable has no value.
    Nothing,
    /// Some of them: those with one path, or below it.
    Some,
    /// All of this host's, whatever their path.
    All(String),
}

impl UriPattern {
    /// What it covers of the host that it names.
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

    /// The same for one request alone; `None` where it covers nothing of it.
    pub(in crate::issuance) fn bind(&self, variables: Variables<'_>) -> Option<Self> {
        Some(Self {
            text: self.text.bind(variables, is_segment)?,
            open: self.open,
        })
    }

    /// Whether the URI is covered. One with a dot segment or a percent sign is covered by no open pattern,
    /// for who normalises it may read another path. So is one whose variable would be more than one path segment.
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

    /// Whether it depends on the namespace of the request.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.text.names_namespace()
    }
}

/// Unreserved characters (RFC 3986, section 2.3) that no reader of the URI takes for structure.
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
        // With a host there must be a slash after it, else the star would reach into the host.
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
