//! Patterns of names, for issuers' profiles and grants.
//!
//! Patterns are deliberately simple. They have no expressions and no star in the middle, so a reader sees at once what
//! a pattern covers. `{{namespace}}` and `{{name}}` stand for the namespace and the name of the request.

use std::{fmt, str::FromStr};

use super::san::{DnsSyntax, has_dns_labels, is_dns};

mod email;
mod network;
mod template;
mod uri;
mod value;

pub use email::EmailPattern;
pub use network::IpNetwork;
pub use template::{RequestVariable, Template, Variable, Variables};
pub(in crate::issuance) use uri::OfHost;
pub use uri::UriPattern;
pub use value::ValuePattern;

/// Reason why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Braces that are not one of the variables.
    #[error("{text:?} has braces that are not a variable; the variables here are {known}")]
    Variable {
        /// The text.
        text: String,
        /// The variables that exist, as they are written.
        known: String,
    },
    /// Not a DNS name.
    #[error(
        "{0:?} is not a pattern of DNS names: write a DNS name, *. followed by a DNS name, or * for every DNS name"
    )]
    Dns(String),
    /// Not an address or a network.
    #[error("{0:?} is not an IP address or network, such as 10.0.0.0/8 or 2001:db8::/32")]
    Ip(String),
    /// A network of IPv4 addresses mapped into IPv6.
    #[error(
        "{0:?} is a network of IPv4 addresses mapped into IPv6, which no certificate names; write the IPv4 network"
    )]
    Mapped(String),
    /// A network with bits set after its prefix.
    #[error("{0:?} has bits set after its prefix; write the first address of the network")]
    HostBits(String),
    /// Not a URI.
    #[error(
        "{0:?} is not an absolute URI; a star may stand only at the end, after a slash of the path"
    )]
    Uri(String),
    /// Not a host.
    #[error("{0:?} is not the name of a host, with or without a leading dot")]
    Host(String),
    /// Not a name constraint that verifiers compare, by the tag number of its type in GeneralName.
    #[error(
        "a subtree of names of type [{0}] has a form that RFC 5280, section 4.2.1.10 does not define, or is of a type that verifiers do not compare"
    )]
    Subtree(u32),
    /// Not an e-mail address.
    #[error("{0:?} is not local-part@host or *@host")]
    Email(String),
    /// Not a pattern of attribute values.
    #[error(
        "{0:?} is empty or has a control character or a misplaced star; a star may stand only at the end"
    )]
    Value(String),
}

/// Pattern of DNS names: a name itself, `*.name` for every name below it at any depth, or `*` for every name.
/// Case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsPattern {
    kind: DnsKind,
    name: Template,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DnsKind {
    Any,
    Exact,
    Below,
}

/// Set of DNS names that a pattern covers once its variables are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every name.
    Any,
    /// This name.
    Exact(String),
    /// Every name below this one.
    Below(String),
}

impl DnsPattern {
    /// Returns the set of names that the pattern covers, or `None` if a variable has no usable value.
    pub(super) fn scope(&self, variables: Variables<'_>) -> Option<Scope> {
        let name = self.name.expand(variables, has_dns_labels)?.into_owned();
        Some(match self.kind {
            DnsKind::Any => Scope::Any,
            DnsKind::Exact => Scope::Exact(name),
            DnsKind::Below => Scope::Below(name),
        })
    }

    /// Returns this pattern with its variables replaced, or `None` if a variable has no usable value.
    pub(super) fn bind(&self, variables: Variables<'_>) -> Option<Self> {
        Some(Self {
            kind: self.kind,
            name: self.name.bind(variables, has_dns_labels)?,
        })
    }

    /// Returns whether the pattern covers every host that this name stands for. A name with a wildcard is read widely: as
    /// every host below the labels that follow the label of its last star, for `*.a.example` every host below `a.example`.
    #[must_use]
    pub fn covers(&self, dns: &str, variables: Variables<'_>) -> bool {
        let Some(base) = self.name.expand(variables, has_dns_labels) else {
            return false;
        };
        if self.kind != DnsKind::Any && !ends_with(dns, &base) {
            // A cheap test first, because a thousand names may be compared with a thousand patterns.
            return false;
        }
        match (self.kind, below_wildcard(dns)) {
            (DnsKind::Any, _) => true,
            (DnsKind::Exact, None) => dns.eq_ignore_ascii_case(&base),
            (DnsKind::Exact, Some(_)) => false,
            (DnsKind::Below, None) => is_below(dns, &base),
            (DnsKind::Below, Some(host)) => {
                host.eq_ignore_ascii_case(&base) || is_below(host, &base)
            }
        }
    }

    /// Returns whether the pattern depends on the namespace of the request.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.name.names_namespace()
    }

    /// Returns whether the pattern covers at least one host that this name stands for.
    #[must_use]
    pub fn touches(&self, dns: &str, variables: Variables<'_>) -> bool {
        if self.covers(dns, variables) {
            return true;
        }
        if !dns.contains('*') {
            return false;
        }
        let Some(base) = self.name.expand(variables, has_dns_labels) else {
            return false;
        };
        match (self.kind, below_wildcard(dns)) {
            (DnsKind::Exact, Some(host)) => host.is_empty() || is_below(&base, host),
            // A wildcard that is one whole label stands for exactly one label; the names below `base` have more labels.
            (DnsKind::Below, Some(host)) => {
                dns.strip_prefix("*.") != Some(host) && (host.is_empty() || is_below(&base, host))
            }
            (DnsKind::Any, _) | (DnsKind::Exact | DnsKind::Below, None) => false,
        }
    }
}

fn ends_with(name: &str, end: &str) -> bool {
    name.len()
        .checked_sub(end.len())
        .and_then(|at| name.as_bytes().get(at..))
        .is_some_and(|rest| rest.eq_ignore_ascii_case(end.as_bytes()))
}

/// Returns the part after the last label with a star, or `None` for a name without a star.
pub(super) fn below_wildcard(dns: &str) -> Option<&str> {
    let (_, after) = dns.rsplit_once('*')?;
    Some(after.split_once('.').map_or("", |(_, below)| below))
}

/// Returns whether the name is the base with at least one label in front.
pub(super) fn is_below(name: &str, base: &str) -> bool {
    ends_with(name, base)
        && name
            .len()
            .checked_sub(base.len())
            .and_then(|at| name.get(..at))
            .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name } = self;
        match kind {
            DnsKind::Any => f.write_str("*"),
            DnsKind::Exact => name.fmt(f),
            DnsKind::Below => write!(f, "*.{name}"),
        }
    }
}

impl FromStr for DnsPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (kind, name) = match text.strip_prefix("*.") {
            Some(name) => (DnsKind::Below, name),
            None if text == "*" => (DnsKind::Any, ""),
            None => (DnsKind::Exact, text),
        };
        let name = Template::parse(name)?;
        let sample = name.sample();
        let fits = !sample.starts_with('*') && is_dns(&sample, DnsSyntax::Underscore);
        if kind == DnsKind::Any || fits {
            Ok(Self { kind, name })
        } else {
            Err(PatternError::Dns(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
