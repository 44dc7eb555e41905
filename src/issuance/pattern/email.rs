//! Patterns of e-mail addresses.

use std::{fmt, str::FromStr};

use super::{PatternError, Template, Variables};
use crate::issuance::san::{has_dns_labels, is_email};

/// Host that completes a local part to an address, so that the syntax of the local part can be checked.
const SAMPLE_HOST: &str = "x.example";

/// Pattern of e-mail addresses: an address itself, or `*@host` for every mailbox of the host. The case of the host
/// does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailPattern {
    /// `None` for every local part.
    local: Option<Template>,
    host: Template,
}

impl EmailPattern {
    /// Returns the covered mailbox, or the host if the pattern covers all its mailboxes. Returns `None` if a variable
    /// has no usable value.
    pub(in crate::issuance) fn mailboxes(&self, variables: Variables<'_>) -> Option<String> {
        let host = self.host.expand(variables, has_dns_labels)?;
        match &self.local {
            None => Some(host.into_owned()),
            Some(local) => {
                let local = local.expand(variables, is_local_part)?;
                Some(format!("{local}@{host}"))
            }
        }
    }

    /// Returns this pattern with its variables replaced, or `None` if a variable has no usable value.
    pub(in crate::issuance) fn bind(&self, variables: Variables<'_>) -> Option<Self> {
        let local = match &self.local {
            Some(local) => Some(local.bind(variables, is_local_part)?),
            None => None,
        };
        Some(Self {
            local,
            host: self.host.bind(variables, has_dns_labels)?,
        })
    }

    /// Returns whether the pattern covers the address.
    #[must_use]
    pub fn covers(&self, email: &str, variables: Variables<'_>) -> bool {
        let Some((local, host)) = email.rsplit_once('@') else {
            return false;
        };
        let same_host = |expected: &str| host.eq_ignore_ascii_case(expected);
        let same_local = |pattern: &Template| {
            let expected = pattern.expand(variables, is_local_part);
            expected.is_some_and(|expected| expected == local)
        };
        self.host
            .expand(variables, has_dns_labels)
            .is_some_and(|expected| same_host(&expected))
            && self.local.as_ref().is_none_or(same_local)
    }

    /// Returns whether the pattern depends on the namespace of the request.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.host.names_namespace() || self.local.as_ref().is_some_and(Template::names_namespace)
    }
}

fn is_local_part(text: &str) -> bool {
    is_email(&format!("{text}@{SAMPLE_HOST}"))
}

impl fmt::Display for EmailPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.local {
            None => write!(f, "*@{}", self.host),
            Some(local) => write!(f, "{local}@{}", self.host),
        }
    }
}

impl FromStr for EmailPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let malformed = || PatternError::Email(text.to_owned());
        let (local, host) = text.rsplit_once('@').ok_or_else(malformed)?;
        let host = Template::parse(host)?;
        let local = match local {
            "*" => None,
            local => Some(Template::parse(local)?),
        };
        let sample = local
            .as_ref()
            .map_or_else(|| "x".to_owned(), Template::sample);
        if sample.contains('*') || !is_email(&format!("{sample}@{}", host.sample())) {
            return Err(malformed());
        }
        Ok(Self { local, host })
    }
}
