//! Name constraints (RFC 5280, section 4.2.1.10): which names a certificate authority may certify.
//!
//! Where verifiers differ, this module applies the stricter reading, because a certificate must work with all of them.

use std::fmt;

use der::{Decode as _, Reader as _, Tag, Tagged as _, asn1::AnyRef};

use super::{
    claim::{Claim, Role, claims},
    name::Name,
    raw::whole,
    san::GeneralName,
};

mod subtree;

pub(super) use self::subtree::Subtree;
use self::subtree::{Holds, context};

/// Reason why a nameConstraints extension cannot be enforced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintsError {
    /// The extension is not well encoded.
    #[error("it is not well encoded")]
    Encoding(#[from] der::Error),
    /// Both lists are absent, or one of them is empty.
    #[error("it constrains nothing")]
    Empty,
}

/// A name that a constraint forbids, as text for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {how} the name constraints")]
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

impl NameConstraints {
    /// Parses the value of the extension.
    ///
    /// # Errors
    ///
    /// Fails if the value is malformed. A subtree in a form that RFC 5280 does not define is not an error: it permits
    /// nothing or excludes every name of its type.
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
        let excluding = self
            .excluded
            .iter()
            .find(|tree| tree.holds(name) != Holds::No);
        match excluding {
            Some(Subtree::Unreadable(_)) => {
                return forbidden(
                    "excluded, like every name of its type, by an unreadable subtree of",
                );
            }
            Some(_) => return forbidden("excluded by"),
            None => {}
        }
        let mut permitted = self
            .permitted
            .iter()
            .filter(|tree| tree.concerns(name))
            .peekable();
        if permitted.peek().is_some() && !permitted.any(|tree| tree.holds(name) == Holds::Whole) {
            return forbidden("not permitted by");
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

fn subtrees(octets: &[u8]) -> Result<Vec<Subtree>, ConstraintsError> {
    let subtrees = contents(octets)?;
    if subtrees.is_empty() {
        return Err(ConstraintsError::Empty);
    }
    subtrees
        .into_iter()
        .map(|subtree| {
            subtree.tag().assert_eq(Tag::Sequence)?;
            let parts = contents(subtree.value())?;
            let (base, distances) = parts.split_first().ok_or(ConstraintsError::Empty)?;
            let read = Subtree::parse(*base)?;
            // Minimum must be 0, which DER omits, and maximum must be absent.
            Ok(match distances {
                [] => read,
                [_, ..] => Subtree::Unreadable(read.kind()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
