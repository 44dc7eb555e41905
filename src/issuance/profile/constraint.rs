//! Subtrees of names that a CA certificate permits or excludes (RFC 5280, section 4.2.1.10).

use std::{fmt, str::FromStr};

use der::asn1::{Ia5String, OctetString};
use x509_cert::ext::pkix::{
    NameConstraints,
    constraints::name::{GeneralSubtree, GeneralSubtrees},
    name::GeneralName,
};

use crate::issuance::{
    constraints::{self, Subtree},
    pattern::{IpNetwork, PatternError, is_below},
    san::{DnsSyntax, is_dns, is_email},
};

/// One subtree of a type that verifiers compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// A DNS name and every name below it; with a leading dot, only the names below it.
    Dns(DnsSubtree),
    /// The addresses of a network.
    Ip(IpNetwork),
    /// The host of a URI; with a leading dot, the hosts below it.
    Uri(HostSubtree),
    /// A mailbox, or a host and all its mailboxes; with a leading dot, the hosts below it.
    Email(EmailSubtree),
}

/// The names that a CA may certify, and those that it may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// If a type of name occurs here, only these names of that type are permitted.
    pub permitted: Vec<Constraint>,
    /// Names that are forbidden.
    pub excluded: Vec<Constraint>,
}

/// A subtree that the inner constraints permit and the outer ones do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outside(pub(super) Constraint);

macro_rules! subtree {
    ($(#[$doc:meta])+ $name:ident, $error:path, $fits:expr) => {
        $(#[$doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = PatternError;

            fn from_str(text: &str) -> Result<Self, PatternError> {
                let fits: fn(&str) -> bool = $fits;
                match !text.contains('*') && fits(text) {
                    true => Ok(Self(text.to_owned())),
                    false => Err($error(text.to_owned())),
                }
            }
        }
    };
}

subtree! {
    /// A DNS name that covers itself and every name below it; with a leading dot, only the names below it.
    DnsSubtree, PatternError::Dns, is_host
}
subtree! {
    /// A host; with a leading dot, the hosts below it.
    HostSubtree, PatternError::Host, is_host
}
subtree! {
    /// A mailbox or a host; with a leading dot, the hosts below it.
    EmailSubtree, PatternError::Email, |text| is_email(text) || is_host(text)
}

fn is_host(text: &str) -> bool {
    is_dns(
        text.strip_prefix('.').unwrap_or(text),
        DnsSyntax::Underscore,
    )
}

impl Constraint {
    /// Whether `outer` contains every name of this subtree.
    fn is_within(&self, outer: &Self) -> bool {
        match (self, outer) {
            (Self::Dns(DnsSubtree(inner)), Self::Dns(DnsSubtree(outer))) => {
                let (inner_host, outer_host) = (host(inner), host(outer));
                let same = inner_host.eq_ignore_ascii_case(outer_host);
                // Without a leading dot, a subtree contains its own name; with one, it does not.
                (same && (inner.starts_with('.') || !outer.starts_with('.')))
                    || is_below(inner_host, outer_host)
            }
            (Self::Ip(inner), Self::Ip(outer)) => inner.is_within(outer),
            (Self::Uri(HostSubtree(inner)), Self::Uri(HostSubtree(outer))) => {
                is_host_within(inner, outer)
            }
            (Self::Email(EmailSubtree(inner)), Self::Email(EmailSubtree(outer))) => {
                match (inner.rsplit_once('@'), outer.rsplit_once('@')) {
                    (Some((_, host)), None) => is_host_within(host, outer),
                    (None, None) => is_host_within(inner, outer),
                    (Some((local, host)), Some((outer_local, outer_host))) => {
                        local == outer_local && host.eq_ignore_ascii_case(outer_host)
                    }
                    (None, Some(_)) => false,
                }
            }
            (Self::Dns(_) | Self::Ip(_) | Self::Uri(_) | Self::Email(_), _) => false,
        }
    }

    fn is_of_type_of(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn encode(&self) -> der::Result<GeneralSubtree> {
        let base = match self {
            Self::Dns(DnsSubtree(dns)) => GeneralName::DnsName(Ia5String::new(dns)?),
            Self::Ip(network) => GeneralName::IpAddress(OctetString::new(network.octets())?),
            Self::Uri(HostSubtree(host)) => {
                GeneralName::UniformResourceIdentifier(Ia5String::new(host)?)
            }
            Self::Email(EmailSubtree(email)) => GeneralName::Rfc822Name(Ia5String::new(email)?),
        };
        Ok(GeneralSubtree {
            base,
            minimum: 0,
            maximum: None,
        })
    }
}

fn host(subtree: &str) -> &str {
    subtree.strip_prefix('.').unwrap_or(subtree)
}

/// Whether `outer` contains every host of `inner`, as URI and e-mail constraints read them: a subtree is one host or, with
/// a leading dot, the hosts below it.
fn is_host_within(inner: &str, outer: &str) -> bool {
    match outer.strip_prefix('.') {
        Some(base) => {
            is_below(host(inner), base)
                || (inner.starts_with('.') && host(inner).eq_ignore_ascii_case(base))
        }
        None => inner.eq_ignore_ascii_case(outer),
    }
}

impl TryFrom<&Subtree> for Constraint {
    type Error = PatternError;

    /// Reads a subtree that a CSR asks for. It must be well formed and of a type that every verifier compares.
    fn try_from(subtree: &Subtree) -> Result<Self, PatternError> {
        match subtree {
            Subtree::Dns(dns) => dns.parse().map(Self::Dns),
            Subtree::Uri(host) => host.parse().map(Self::Uri),
            Subtree::Email(email) => email.parse().map(Self::Email),
            Subtree::Ip(address, mask) => IpNetwork::of_mask(address, mask).map(Self::Ip),
            Subtree::Directory(name) => Err(PatternError::Host(name.to_string())),
            Subtree::Other(kind) | Subtree::Unreadable(kind) => Err(PatternError::Subtree(*kind)),
        }
    }
}

impl TryFrom<&constraints::NameConstraints> for Constraints {
    type Error = PatternError;

    fn try_from(asked: &constraints::NameConstraints) -> Result<Self, PatternError> {
        let read = |subtrees: &[Subtree]| -> Result<Vec<_>, _> {
            subtrees.iter().map(Constraint::try_from).collect()
        };
        Ok(Self {
            permitted: read(asked.permitted())?,
            excluded: read(asked.excluded())?,
        })
    }
}

impl Constraints {
    /// Returns constraints that allow only the names that both `self` and `inner` allow.
    ///
    /// # Errors
    ///
    /// `inner` permits a subtree that `self` does not permit.
    pub(super) fn narrowed_by(mut self, inner: &Self) -> Result<Self, Outside> {
        for subtree in &inner.permitted {
            let mut outer = self
                .permitted
                .iter()
                .filter(|outer| outer.is_of_type_of(subtree))
                .peekable();
            if outer.peek().is_some() && !outer.any(|outer| subtree.is_within(outer)) {
                return Err(Outside(subtree.clone()));
            }
        }
        self.permitted.retain(|outer| {
            !inner
                .permitted
                .iter()
                .any(|inner| inner.is_of_type_of(outer))
        });
        self.permitted.extend(inner.permitted.iter().cloned());
        for subtree in &inner.excluded {
            if !self.excluded.contains(subtree) {
                self.excluded.push(subtree.clone());
            }
        }
        Ok(self)
    }

    /// Returns the value of the extension; `None` if nothing is constrained.
    pub(super) fn encode(&self) -> der::Result<Option<NameConstraints>> {
        let subtrees = |list: &[Constraint]| -> der::Result<Option<GeneralSubtrees>> {
            let subtrees: Vec<_> = list
                .iter()
                .map(Constraint::encode)
                .collect::<der::Result<_>>()?;
            Ok((!subtrees.is_empty()).then_some(subtrees))
        };
        let constraints = NameConstraints {
            permitted_subtrees: subtrees(&self.permitted)?,
            excluded_subtrees: subtrees(&self.excluded)?,
        };
        let some =
            constraints.permitted_subtrees.is_some() || constraints.excluded_subtrees.is_some();
        Ok(some.then_some(constraints))
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(DnsSubtree(dns)) => write!(f, "DNS {dns:?}"),
            Self::Ip(network) => write!(f, "IP {network}"),
            Self::Uri(HostSubtree(host)) => write!(f, "URI host {host:?}"),
            Self::Email(EmailSubtree(email)) => write!(f, "e-mail {email:?}"),
        }
    }
}
