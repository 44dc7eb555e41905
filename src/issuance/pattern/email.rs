//! Patterns of e-mail addresses.

use std::str::FromStr;

use super::{PatternError, Template, Variables};
use crate::issuance::san::{has_dns_labels, is_email};

/// A host for checks of the local part alone.
const SAMPLE_HOST: &str = "x.example";

/// An e-mail address itself, or `*@host` for every mailbox of the host. The case of the host is of no account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailPattern {
    /// `None` for every local part.
    local: Option<Template>,
    host: Template,
}

impl EmailPattern {
    /// Its mailbox, or its host for all of the host's; `None` where it covers nothing.
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

    /// The same for one request alone; `None` where it covers nothing of it.
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

    /// Whether the address is covered.
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

    /// Whether it depends on the namespace of the request.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.host.names_namespace() || self.local.as_ref().is_some_and(Template::names_namespace)
    }
}

fn is_local_part(text: &str) -> bool {
    is_email(&format!("{text}@{SAMPLE_HOST}"))
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
