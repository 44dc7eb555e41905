//! Name constraints (RFC 5280, section 4.2.1.10): which names a certificate authority may certify.
//!
//! Where verifiers differ, this module applies the stricter reading, because a certificate must work with all of them.

use std::{fmt, net::IpAddr};

use der::{Decode as _, Reader as _, Tag, TagNumber, Tagged as _, asn1::AnyRef};

use super::{
    claim::{Claim, Role, claims},
    name::Name,
    pattern::below_wildcard,
    raw::whole,
    san::{DnsSyntax, GeneralName, is_dns},
};

/// Reason why a nameConstraints extension cannot be enforced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintsError {
    /// The extension is not well encoded.
    #[error("it is not well encoded")]
    Encoding(#[from] der::Error),
    /// Both lists are absent, or one of them is empty.
    #[error("it constrains nothing")]
    Empty,
    /// A minimum or maximum is present. RFC 5280 requires minimum 0, which DER leaves out, and no maximum.
    #[error("it uses minimum or maximum, which RFC 5280 forbids")]
    Distance,
    /// A value that is not a constraint of its type.
    #[error("a constraint of type {0} is malformed")]
    Value(&'static str),
}

/// A name that a constraint forbids, as text for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {how} by the name constraints")]
pub struct Forbidden {
    name: String,
    how: &'static str,
}

/// The name constraints of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameConstraints {
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
}

/// Set of names that one constraint permits or excludes (GeneralSubtree).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subtree {
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
}

/// Whether a subtree holds a name, which may be a wildcard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// The subtree holds everything that the name stands for.
    Whole,
    /// The subtree holds a part of it, or the two cannot be compared.
    Perhaps,
    No,
}

impl NameConstraints {
    /// Parses the value of the extension.
    ///
    /// # Errors
    ///
    /// Fails if the value is malformed or uses something that RFC 5280 forbids.
    pub fn parse(der: &[u8]) -> Result<Self, ConstraintsError> {
        let mut lists = [Vec::new(), Vec::new()];
        let elements = elements(der)?;
        if elements.is_empty() {
            return Err(ConstraintsError::Empty);
        }
        let mut next = 0;
        for element in elements {
            let number = context(element, true).filter(|&number| number >= next);
            let list = number
                .and_then(|number| lists.get_mut(usize::try_from(number).ok()?))
                .ok_or_else(|| element.tag().unexpected_error(None))
                .map_err(der::Error::from)?;
            next = number.unwrap_or(next) + 1;
            *list = subtrees(element.value())?;
        }
        let [permitted, excluded] = lists;
        Ok(Self {
            permitted,
            excluded,
        })
    }

    /// Returns the number of permitted and excluded subtrees.
    pub(super) const fn len(&self) -> usize {
        self.permitted.len() + self.excluded.len()
    }

    /// Returns the permitted subtrees. If a type of name occurs here, only these names of that type are allowed.
    pub(super) fn permitted(&self) -> &[Subtree] {
        &self.permitted
    }

    /// Returns the excluded subtrees. None of these names is allowed.
    pub(super) fn excluded(&self) -> &[Subtree] {
        &self.excluded
    }

    /// Checks every name that a certificate claims, including its subject.
    ///
    /// # Errors
    ///
    /// Returns the first name that is forbidden.
    pub fn check(
        &self,
        subject: &Name,
        names: &[GeneralName],
        role: Role,
    ) -> Result<(), Forbidden> {
        if !subject.is_empty() {
            self.judge(Claim::Directory(subject), &Claim::Directory(subject))?;
        }
        claims(subject, names, role).try_for_each(|claimed| self.judge(claimed.claim, &claimed))
    }

    fn judge(&self, name: Claim<'_>, shown: &impl fmt::Display) -> Result<(), Forbidden> {
        let forbidden = |how| {
            Err(Forbidden {
                name: shown.to_string(),
                how,
            })
        };
        if self
            .excluded
            .iter()
            .any(|tree| tree.holds(name) != Holds::No)
        {
            return forbidden("excluded");
        }
        let mut permitted = self
            .permitted
            .iter()
            .filter(|tree| tree.concerns(name))
            .peekable();
        if permitted.peek().is_some() && !permitted.any(|tree| tree.holds(name) == Holds::Whole) {
            return forbidden("not permitted");
        }
        Ok(())
    }
}

/// Returns the elements of a SEQUENCE.
fn elements(der: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    let sequence = AnyRef::from_der(der)?;
    sequence.tag().assert_eq(Tag::Sequence)?;
    contents(sequence.value())
}

fn contents(octets: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    whole(octets, |reader| {
        let mut elements = Vec::new();
        while !reader.is_finished() {
            elements.push(AnyRef::decode(reader)?);
        }
        Ok(elements)
    })
}

fn context(element: AnyRef<'_>, constructed: bool) -> Option<u32> {
    let TagNumber(number) = element.tag().number();
    let fits = element.tag().is_context_specific() && element.tag().is_constructed() == constructed;
    fits.then_some(number)
}

fn subtrees(octets: &[u8]) -> Result<Vec<Subtree>, ConstraintsError> {
    let subtrees = contents(octets)?;
    if subtrees.is_empty() {
        return Err(ConstraintsError::Empty);
    }
    subtrees
        .into_iter()
        .map(|subtree| {
            subtree.tag().assert_eq(Tag::Sequence)?;
            match contents(subtree.value())?.as_slice() {
                [base] => Subtree::parse(*base),
                [_, ..] => Err(ConstraintsError::Distance),
                [] => Err(ConstraintsError::Value("GeneralSubtree")),
            }
        })
        .collect()
}

impl Subtree {
    fn parse(base: AnyRef<'_>) -> Result<Self, ConstraintsError> {
        let number = context(base, false).or_else(|| context(base, true));
        let text = |kind| {
            std::str::from_utf8(base.value())
                .ok()
                .filter(|text| text.is_ascii())
                .map(str::to_owned)
                .ok_or(ConstraintsError::Value(kind))
        };
        match number {
            Some(1) => text("rfc822Name").map(Self::Email),
            Some(2) => text("dNSName").map(Self::Dns),
            Some(4) => Ok(Self::Directory(Name::parse(base.value())?)),
            Some(6) => text("uniformResourceIdentifier").map(Self::Uri),
            Some(7) => match base.value().split_at_checked(base.value().len() / 2) {
                Some((address, mask)) if matches!(base.value().len(), 8 | 32) => {
                    Ok(Self::Ip(address.to_vec(), mask.to_vec()))
                }
                Some(_) | None => Err(ConstraintsError::Value("iPAddress")),
            },
            Some(other) if other <= 8 => Ok(Self::Other(other)),
            Some(_) | None => Err(der::Error::from(base.tag().unexpected_error(None)).into()),
        }
    }

    /// Returns whether the name has the subtree's type.
    fn concerns(&self, name: Claim<'_>) -> bool {
        self.kind() == kind(name)
    }

    /// Returns the tag number of the subtree's type in GeneralName.
    const fn kind(&self) -> u32 {
        match self {
            Self::Email(_) => 1,
            Self::Dns(_) => 2,
            Self::Directory(_) => 4,
            Self::Uri(_) => 6,
            Self::Ip(..) => 7,
            Self::Other(kind) => *kind,
        }
    }

    fn holds(&self, name: Claim<'_>) -> Holds {
        match (self, name) {
            (Self::Dns(tree), Claim::Dns(name)) => holds_dns(tree, name),
            (Self::Uri(tree), Claim::Uri(uri)) => {
                uri_host(uri).map_or(Holds::Perhaps, |host| holds_host(tree, host))
            }
            (Self::Email(tree), Claim::Email(email)) => holds_email(tree, email),
            (Self::Ip(address, mask), Claim::Ip(name)) => {
                let name = match name {
                    IpAddr::V4(name) => name.octets().to_vec(),
                    IpAddr::V6(name) => name.octets().to_vec(),
                };
                let same = address
                    .iter()
                    .zip(mask)
                    .zip(&name)
                    .all(|((address, mask), name)| (address ^ name) & mask == 0);
                certain(address.len() == name.len() && same)
            }
            (Self::Directory(tree), Claim::Directory(name)) => match name.begins_with(tree) {
                Some(begins) => certain(begins),
                None => Holds::Perhaps,
            },
            // Names of this type are not compared, so any constraint on the type forbids them.
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
    let Some((local, host)) = email.rsplit_once('@') else {
        return Holds::Perhaps;
    };
    match tree.rsplit_once('@') {
        Some((local_tree, host_tree)) => {
            certain(local == local_tree && host.eq_ignore_ascii_case(host_tree))
        }
        None => holds_host(tree, host),
    }
}

/// Returns the host of a URI if it is a name. An IP address or a missing host cannot be compared.
fn uri_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    is_dns(host, DnsSyntax::Underscore).then_some(host)
}

#[cfg(test)]
mod tests;
