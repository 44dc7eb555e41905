//! Lists of allowed and denied names, and which claims of a certificate they cover.

use crate::issuance::oid::Oid;
use std::fmt;

use crate::{
    issuance::{
        claim::Claim,
        pattern::{DnsPattern, EmailPattern, IpNetwork, UriPattern, Variables},
        san::is_email,
    },
    message::first_of,
};

/// Most patterns that a refusal lists. It only counts the others.
const LISTED: usize = 8;

/// The allowed names, by type: `None` allows every name of the type, an empty list allows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNames {
    /// DNS names.
    pub dns: Option<Vec<DnsPattern>>,
    /// IP addresses.
    pub ip: Option<Vec<IpNetwork>>,
    /// URIs.
    pub uri: Option<Vec<UriPattern>>,
    /// E-mail addresses.
    pub email: Option<Vec<EmailPattern>>,
    /// Types of `otherName`; all other types are refused.
    pub other_names: Vec<Oid>,
}

/// Names that are refused even if they are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeniedNames {
    /// DNS names; a wildcard that may stand for one of them is refused too.
    pub dns: Vec<DnsPattern>,
    /// IP addresses.
    pub ip: Vec<IpNetwork>,
}

impl AllowedNames {
    /// Makes a closed list: a type without patterns allows no names.
    #[must_use]
    pub const fn closed(
        dns: Vec<DnsPattern>,
        ip: Vec<IpNetwork>,
        uri: Vec<UriPattern>,
        email: Vec<EmailPattern>,
    ) -> Self {
        Self {
            dns: Some(dns),
            ip: Some(ip),
            uri: Some(uri),
            email: Some(email),
            other_names: Vec::new(),
        }
    }

    /// Replaces the variables of all patterns for one request, so that they are not replaced again for every name.
    pub(super) fn bind(&self, variables: Variables<'_>) -> Self {
        let Self {
            dns,
            ip,
            uri,
            email,
            other_names,
        } = self;
        Self {
            dns: dns.as_deref().map(|all| bound(all, |p| p.bind(variables))),
            ip: ip.clone(),
            uri: uri.as_deref().map(|all| bound(all, |p| p.bind(variables))),
            email: email
                .as_deref()
                .map(|all| bound(all, |p| p.bind(variables))),
            other_names: other_names.clone(),
        }
    }

    /// Whether the name is allowed; for a wildcard, whether every host that it stands for is allowed.
    pub(super) fn admits(&self, claim: Claim<'_>, variables: Variables<'_>) -> bool {
        match claim {
            Claim::Dns(dns) => admits(self.dns.as_deref(), |p| p.covers(dns, variables)),
            Claim::Ip(address) => admits(self.ip.as_deref(), |p| p.contains(address)),
            Claim::Uri(uri) => admits(self.uri.as_deref(), |p| p.covers(uri, variables)),
            // The syntax check does not look at subjects, so an `emailAddress` may be anything.
            Claim::Email(email) => admits(self.email.as_deref(), |p| {
                is_email(email) && p.covers(email, variables)
            }),
            Claim::OtherName(kind) => self.other_names.contains(kind),
            // These types have no list, because no known verifier uses them.
            Claim::Directory(_) | Claim::RegisteredId(_) | Claim::Other(_) => false,
        }
    }

    /// Describes the allowed names of the claim's type to people: the first few, and how many more there are.
    pub(super) fn of_type(&self, claim: Claim<'_>) -> String {
        match claim {
            Claim::Dns(_) => listed("DNS names", self.dns.as_deref()),
            Claim::Ip(_) => listed("IP addresses", self.ip.as_deref()),
            Claim::Uri(_) => listed("URIs", self.uri.as_deref()),
            Claim::Email(_) => listed("e-mail addresses", self.email.as_deref()),
            Claim::OtherName(_) => listed("types of otherName", Some(&self.other_names)),
            Claim::Directory(_) | Claim::RegisteredId(_) | Claim::Other(_) => {
                "no names of this type".to_owned()
            }
        }
    }

    /// Whether a pattern for this type of name depends on the namespace of the request.
    pub(super) fn names_namespace_for(&self, claim: Claim<'_>) -> bool {
        match claim {
            Claim::Dns(_) => self.dns.iter().flatten().any(DnsPattern::names_namespace),
            Claim::Uri(_) => self.uri.iter().flatten().any(UriPattern::names_namespace),
            Claim::Email(_) => self
                .email
                .iter()
                .flatten()
                .any(EmailPattern::names_namespace),
            Claim::Ip(_)
            | Claim::OtherName(_)
            | Claim::Directory(_)
            | Claim::RegisteredId(_)
            | Claim::Other(_) => false,
        }
    }
}

impl DeniedNames {
    /// Replaces the variables of all patterns for one request.
    pub(super) fn bind(&self, variables: Variables<'_>) -> Self {
        let Self { dns, ip } = self;
        Self {
            dns: bound(dns, |pattern| pattern.bind(variables)),
            ip: ip.clone(),
        }
    }

    /// Whether the name is denied; for a wildcard, whether any host that it may stand for is denied.
    pub(super) fn touch(&self, claim: Claim<'_>, variables: Variables<'_>) -> bool {
        match claim {
            Claim::Dns(dns) => self.dns.iter().any(|p| p.touches(dns, variables)),
            Claim::Ip(address) => self.ip.iter().any(|network| network.contains(address)),
            Claim::Uri(_)
            | Claim::Email(_)
            | Claim::OtherName(_)
            | Claim::Directory(_)
            | Claim::RegisteredId(_)
            | Claim::Other(_) => false,
        }
    }
}

fn listed<P: fmt::Display>(names: &str, patterns: Option<&[P]>) -> String {
    match patterns {
        None => format!("all {names}"),
        Some([]) => format!("no {names}"),
        Some(patterns) => format!("the {names} {}", first_of(LISTED, patterns)),
    }
}

/// Binds the patterns to a request and leaves out those that cover nothing for it.
fn bound<P>(patterns: &[P], bind: impl Fn(&P) -> Option<P>) -> Vec<P> {
    patterns.iter().filter_map(bind).collect()
}

fn admits<P>(patterns: Option<&[P]>, covers: impl Fn(&P) -> bool) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(covers))
}
