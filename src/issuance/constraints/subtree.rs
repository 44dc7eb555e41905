//! One subtree of a nameConstraints extension, and the names that it holds.

use std::net::IpAddr;

use der::{TagNumber, Tagged as _, asn1::AnyRef};

use crate::issuance::{
    claim::Claim,
    name::Name,
    pattern::below_wildcard,
    san::{DnsSyntax, has_dns_labels, is_dns, is_email},
};

/// Set of names that one constraint permits or excludes (GeneralSubtree).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::issuance) enum Subtree {
    /// A name and every name below it; with a leading dot, only the names below.
    Dns(String),
    /// A host; with a leading dot, the hosts below.
    Uri(String),
    /// A mailbox, or a host; with a leading dot, the hosts below.
    Email(String),
    /// An address and a mask.
    Ip(Vec<u8>, Vec<u8>),
    /// The beginning of a distinguished name.
    Directory(Name),
    /// A type of name that is not compared, by its tag number.
    Other(u32),
    /// A constraint on this type, by its tag number, in a form that RFC 5280 does not define. Verifiers read such forms
    /// differently or not at all, so it permits no name of its type, or excludes every one (section 6.1.4 (g)).
    Unreadable(u32),
}

/// Whether a subtree holds a name, which may be a wildcard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// The subtree holds everything that the name stands for.
    Whole,
    /// The subtree holds a part of it, or the two cannot be compared.
    Perhaps,
    No,
}

pub(super) fn context(element: AnyRef<'_>, constructed: bool) -> Option<u32> {
    let TagNumber(number) = element.tag().number();
    let fits = element.tag().is_context_specific() && element.tag().is_constructed() == constructed;
    fits.then_some(number)
}

impl Subtree {
    /// Reads the GeneralName that is the base of a subtree. A value that cannot be read is [`Subtree::Unreadable`].
    pub(super) fn parse(base: AnyRef<'_>) -> der::Result<Self> {
        let number = context(base, false)
            .or_else(|| context(base, true))
            .filter(|&number| number <= 8)
            .ok_or_else(|| base.tag().unexpected_error(None))?;
        let text = |is_readable: fn(&str) -> bool| {
            let text = std::str::from_utf8(base.value()).ok();
            text.filter(|text| is_readable(text)).map(str::to_owned)
        };
        let read = match number {
            1 => text(is_email_subtree).map(Self::Email),
            2 => text(is_dns_subtree).map(Self::Dns),
            4 => Name::parse(base.value()).ok().map(Self::Directory),
            6 => text(is_host_subtree).map(Self::Uri),
            7 => network(base.value()).map(|(address, mask)| Self::Ip(address, mask)),
            other => Some(Self::Other(other)),
        };
        Ok(read.unwrap_or(Self::Unreadable(number)))
    }

    /// Returns whether the name has the subtree's type.
    pub(super) fn concerns(&self, name: Claim<'_>) -> bool {
        self.kind() == kind(name)
    }

    /// Returns the tag number of the subtree's type in GeneralName.
    pub(super) const fn kind(&self) -> u32 {
        match self {
            Self::Email(_) => 1,
            Self::Dns(_) => 2,
            Self::Directory(_) => 4,
            Self::Uri(_) => 6,
            Self::Ip(..) => 7,
            Self::Other(kind) | Self::Unreadable(kind) => *kind,
        }
    }

    /// Returns whether the subtree holds the name.
    pub(super) fn holds(&self, name: Claim<'_>) -> Holds {
        match (self, name) {
            (Self::Dns(tree), Claim::Dns(name)) => holds_dns(tree, name),
            (Self::Uri(tree), Claim::Uri(uri)) => {
                uri_host(uri).map_or(Holds::Perhaps, |host| holds_host(tree, host))
            }
            (Self::Email(tree), Claim::Email(email)) => holds_email(tree, email),
            (Self::Ip(address, mask), Claim::Ip(name)) => holds_ip(address, mask, name),
            (Self::Directory(tree), Claim::Directory(name)) => match name.begins_with(tree) {
                Some(begins) => certain(begins),
                None => Holds::Perhaps,
            },
            // These cannot be compared, so the constraint forbids every name of its type.
            _ if self.concerns(name) => Holds::Perhaps,
            _ => Holds::No,
        }
    }
}

/// Returns the tag number of a claim in GeneralName (RFC 5280, section 4.2.1.6).
fn kind(name: Claim<'_>) -> u32 {
    match name {
        Claim::OtherName(_) => 0,
        Claim::Email(_) => 1,
        Claim::Dns(_) => 2,
        Claim::Directory(_) => 4,
        Claim::Uri(_) => 6,
        Claim::Ip(_) => 7,
        Claim::RegisteredId(_) => 8,
        Claim::Other("x400Address") => 3,
        Claim::Other(_) => 5,
    }
}

const fn certain(holds: bool) -> Holds {
    if holds { Holds::Whole } else { Holds::No }
}

/// Returns whether the name lies at least one label below the base.
fn is_below(name: &str, base: &str) -> bool {
    base.is_empty()
        || name
            .len()
            .checked_sub(base.len())
            .and_then(|at| name.split_at_checked(at))
            .is_some_and(|(labels, rest)| {
                labels.len() > 1 && labels.ends_with('.') && rest.eq_ignore_ascii_case(base)
            })
}

fn holds_dns(tree: &str, name: &str) -> Holds {
    let (base, only_below) = tree
        .strip_prefix('.')
        .map_or((tree, false), |base| (base, true));
    let Some(host) = below_wildcard(name) else {
        let itself = !only_below && name.eq_ignore_ascii_case(base);
        return certain(itself || is_below(name, base));
    };
    if host.eq_ignore_ascii_case(base) || is_below(host, base) {
        Holds::Whole
    } else if is_below(base, host) {
        // The wildcard may stand for names inside and outside the subtree.
        Holds::Perhaps
    } else {
        Holds::No
    }
}

fn holds_host(tree: &str, host: &str) -> Holds {
    certain(match tree.strip_prefix('.') {
        Some(base) => is_below(host, base),
        None => host.eq_ignore_ascii_case(tree),
    })
}

fn holds_email(tree: &str, email: &str) -> Holds {
    // A subject may hold anything as its `emailAddress`.
    let Some((local, host)) = email.rsplit_once('@').filter(|_| is_email(email)) else {
        return Holds::Perhaps;
    };
    match tree.rsplit_once('@') {
        Some((local_tree, host_tree)) => {
            certain(local == local_tree && host.eq_ignore_ascii_case(host_tree))
        }
        None => holds_host(tree, host),
    }
}

/// Compares an address with a network. An IPv4 address mapped into IPv6 and the IPv4 address are one address to Go and
/// two to OpenSSL, so a network that holds only one of the two forms may hold the name.
fn holds_ip(address: &[u8], mask: &[u8], name: IpAddr) -> Holds {
    let within = |octets: &[u8]| {
        let mut compared = address.iter().zip(mask).zip(octets);
        address.len() == octets.len()
            && compared.all(|((address, mask), octet)| (address ^ octet) & mask == 0)
    };
    let itself = match name {
        IpAddr::V4(name) => within(&name.octets()),
        IpAddr::V6(name) => within(&name.octets()),
    };
    let other_form = match name {
        // A wider IPv6 network holds all mapped addresses, but is not meant as a constraint on IPv4.
        IpAddr::V4(name) => {
            let only_mapped = mask.get(..12).is_some_and(|start| start == [0xff; 12]);
            only_mapped && within(&name.to_ipv6_mapped().octets())
        }
        IpAddr::V6(name) => name
            .to_ipv4_mapped()
            .is_some_and(|name| within(&name.octets())),
    };
    match (itself, other_form) {
        (true, _) => Holds::Whole,
        (false, true) => Holds::Perhaps,
        (false, false) => Holds::No,
    }
}

/// Returns the host of a URI if it is a name. An IP address or a missing host cannot be compared.
fn uri_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    is_dns(host, DnsSyntax::Underscore).then_some(host)
}

/// Returns whether the text is a constraint on DNS names: a name, with or without a leading dot, or nothing.
fn is_dns_subtree(text: &str) -> bool {
    text.is_empty() || has_dns_labels(text.strip_prefix('.').unwrap_or(text))
}

/// Returns whether the text is a host or, with a leading dot, the hosts below it.
fn is_host_subtree(text: &str) -> bool {
    let host = text.strip_prefix('.').unwrap_or(text);
    !host.starts_with('*') && is_dns(host, DnsSyntax::Underscore)
}

/// Returns whether the text is a mailbox, a host or, with a leading dot, the hosts below it. The local
/// part `*` means every mailbox to its author, and one mailbox to verifiers.
fn is_email_subtree(text: &str) -> bool {
    match text.rsplit_once('@') {
        Some((local, host)) => {
            let is_quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
            local != "*" && (is_email(text) || (is_quoted && is_host_subtree(host)))
        }
        None => is_host_subtree(text),
    }
}

/// Returns the address and the mask of a network, each of 4 or 16 octets. The mask must be a prefix (RFC 4632, section 3.1).
fn network(octets: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (address, mask) = octets.split_at_checked(octets.len() / 2)?;
    let mut rest = mask.iter().skip_while(|octet| **octet == 0xff);
    let is_prefix = rest
        .next()
        .is_none_or(|octet| octet.count_zeros() == octet.trailing_zeros())
        && rest.all(|octet| *octet == 0);
    (matches!(octets.len(), 8 | 32) && is_prefix).then(|| (address.to_vec(), mask.to_vec()))
}
