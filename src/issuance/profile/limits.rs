//! What the operator grants to an issuer. It narrows every profile.

use const_oid::{ObjectIdentifier, db::rfc5280::ANY_EXTENDED_KEY_USAGE};
use jiff::SignedDuration;

use super::AllowedNames;
use crate::issuance::{
    name::{self, Name},
    pattern::{ValuePattern, Variables},
    refusal::{Refusal, RefusalReason},
    usage::Usage,
};

/// The limits of one grant. By default, nothing but CA certificates is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The longest validity; `None` leaves it to the profile. Above zero.
    pub max_duration: Option<SignedDuration>,
    /// The names that certificates may claim, in SANs and subject alike; `None` for any, else
    /// [closed](AllowedNames::closed).
    pub names: Option<AllowedNames>,
    /// The subjects that certificates may carry; `None` for any.
    pub subject: Option<SubjectLimits>,
    /// The usages that may be given; `None` leaves them to the profile.
    pub usages: Option<Vec<Usage>>,
    /// CA certificates.
    pub ca: CaLimits,
}

/// The CA certificates that may be signed. By default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaLimits {
    /// Whether they may be signed at all.
    pub allow: bool,
    /// The most that a path length constraint may say; `None` leaves it to the profile.
    pub max_path_length: Option<u8>,
}

/// The attributes that a subject may have, each with patterns of its values. Any other attribute is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectLimits(Vec<(ObjectIdentifier, Vec<ValuePattern>)>);

impl FromIterator<(ObjectIdentifier, Vec<ValuePattern>)> for SubjectLimits {
    fn from_iter<I: IntoIterator<Item = (ObjectIdentifier, Vec<ValuePattern>)>>(list: I) -> Self {
        Self(list.into_iter().collect())
    }
}

impl SubjectLimits {
    /// Judges the subject that a certificate would carry, wherever it comes from.
    pub(super) fn check(&self, subject: &Name, variables: Variables<'_>) -> Result<(), Refusal> {
        for (kind, value) in subject.attributes() {
            let mut patterns = self.0.iter().filter(|(listed, _)| *listed == kind);
            let covered = value.is_some_and(|value| {
                patterns.any(|(_, patterns)| patterns.iter().any(|p| p.covers(value, variables)))
            });
            if !covered {
                return Err(Refusal::new(
                    RefusalReason::SubjectNotAllowed,
                    format!(
                        "the token's grant does not allow the subject's {} {:?}; leave it out, or ask the operator",
                        name::label(kind),
                        value.unwrap_or("that is no text"),
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl Limits {
    /// The purposes of extKeyUsage that are granted; `None` for any purpose.
    pub(super) fn purposes(&self) -> Option<Vec<ObjectIdentifier>> {
        let usages = self.usages.as_ref()?;
        let purpose = |usage: &Usage| match usage {
            Usage::Extended(purpose) => Some(*purpose),
            Usage::Key(_) => None,
        };
        let purposes: Vec<_> = usages.iter().filter_map(purpose).collect();
        (!purposes.contains(&ANY_EXTENDED_KEY_USAGE)).then_some(purposes)
    }
}
