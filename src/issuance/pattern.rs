//! Patterns of names, as issuers' profiles write them.
//!
//! A pattern is deliberately weak: no expression and no star in the middle, so that what it covers can be
//! seen by looking at it. `{{namespace}}` and `{{name}}` stand for those of the request.

use std::{net::IpAddr, str::FromStr};

use super::san::{DnsSyntax, is_dns, is_email, is_uri};

mod template;

pub use template::{RequestVariable, Template, Variable, Variables};

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Braces that are not one of the variables.
    #[error("{0:?} has braces; the only variables are {{{{namespace}}}} and {{{{name}}}}")]
    Variable(String),
    /// Not a DNS name.
    #[error("{0:?} is not a DNS name, *. and a DNS name, or * for every DNS name")]
    Dns(String),
    /// Not an address or a network.
    #[error("{0:?} is not an IP address or network, such as 10.0.0.0/8 or 2001:db8::/32")]
    Ip(String),
    /// A network with bits behind its prefix.
    #[error("{0:?} has bits set behind its prefix; write the first address of the network")]
    HostBits(String),
    /// Not a URI.
    #[error(
        "{0:?} is not an absolute URI; a star may stand only at the end, after a slash of the path"
    )]
    Uri(String),
    /// Not a host.
    #[error("{0:?} is not the name of a host, with or without a leading dot")]
    Host(String),
    /// Not an e-mail address.
    #[error("{0:?} is not local-part@host or *@host")]
    Email(String),
}

/// A DNS name itself, `*.name` for every name below it at any depth, or `*` for every name. Case is of no
/// account.
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

impl DnsPattern {
    /// Whether every host that this name stands for is covered: for a wildcard those one label below.
    #[must_use]
    pub fn covers(&self, dns: &str, variables: Variables<'_>) -> bool {
        let base = self.name.expand(variables);
        match (self.kind, dns.strip_prefix("*.")) {
            (DnsKind::Any, _) => true,
            (DnsKind::Exact, None) => dns.eq_ignore_ascii_case(&base),
            (DnsKind::Exact, Some(_)) => false,
            (DnsKind::Below, None) => is_below(dns, &base),
            (DnsKind::Below, Some(host)) => {
                host.eq_ignore_ascii_case(&base) || is_below(host, &base)
            }
        }
    }

    /// Whether it depends on the namespace of the request.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.name.names_namespace()
    }

    /// Whether some host that this name stands for is covered.
    #[must_use]
    pub fn touches(&self, dns: &str, variables: Variables<'_>) -> bool {
        let base = self.name.expand(variables);
        match (self.kind, dns.strip_prefix("*.")) {
            (DnsKind::Exact, Some(host)) => is_below(&base, host),
            (DnsKind::Any | DnsKind::Exact | DnsKind::Below, _) => self.covers(dns, variables),
        }
    }
}

/// Whether the name has at least one label before the base.
fn is_below(name: &str, base: &str) -> bool {
    name.len()
        .checked_sub(base.len())
        .and_then(|at| name.split_at_checked(at))
        .is_some_and(|(labels, rest)| {
            labels.len() > 1 && labels.ends_with('.') && rest.eq_ignore_ascii_case(base)
        })
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

/// An IP network; a lone address is the network of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    first: IpAddr,
    /// Leading bits that count, at most 32 or 128.
    prefix: u8,
}

impl IpNetwork {
    /// Whether the address lies in it; never for an address of the other family.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                (first.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                (first.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Address and mask, as a name constraint carries them (RFC 5280, section 4.2.1.10).
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        match self.first {
            IpAddr::V4(first) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                [first.octets(), mask.to_be_bytes()].concat()
            }
            IpAddr::V6(first) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                [first.octets(), mask.to_be_bytes()].concat()
            }
        }
    }
}

impl FromStr for IpNetwork {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let malformed = || PatternError::Ip(text.to_owned());
        let (first, prefix) = match text.split_once('/') {
            Some((first, prefix)) => (first, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = first.parse().map_err(|_| malformed())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
                prefix.parse().map_err(|_| malformed())?
            }
            Some(_) => return Err(malformed()),
        };
        if prefix > most {
            return Err(malformed());
        }
        let host_bits = match first {
            IpAddr::V4(first) => first.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
            IpAddr::V6(first) => first.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
        };
        if host_bits {
            return Err(PatternError::HostBits(text.to_owned()));
        }
        Ok(Self { first, prefix })
    }
}

/// A URI itself, or the beginning of URIs, written with `/*` at its end; compared octet by octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPattern {
    text: Template,
    /// Whether anything may follow.
    open: bool,
}

impl UriPattern {
    /// Whether the URI is covered. One with a dot segment or a percent sign is covered by no open pattern,
    /// for who normalises it may read another path.
    #[must_use]
    pub fn covers(&self, uri: &str, variables: Variables<'_>) -> bool {
        let text = self.text.expand(variables);
        match uri.strip_prefix(&text) {
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

/// An e-mail address itself, or `*@host` for every mailbox of the host. The case of the host is of no account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailPattern {
    /// `None` for every local part.
    local: Option<Template>,
    host: Template,
}

impl EmailPattern {
    /// Whether the address is covered.
    #[must_use]
    pub fn covers(&self, email: &str, variables: Variables<'_>) -> bool {
        email.rsplit_once('@').is_some_and(|(local, host)| {
            host.eq_ignore_ascii_case(&self.host.expand(variables))
                && self
                    .local
                    .as_ref()
                    .is_none_or(|pattern| pattern.expand(variables) == local)
        })
    }

    /// Whether it depends on the namespace of the request.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.host.names_namespace() || self.local.as_ref().is_some_and(Template::names_namespace)
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

#[cfg(test)]
mod tests;
