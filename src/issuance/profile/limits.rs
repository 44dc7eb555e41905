//! Limits that the operator's grant sets for an issuer. They narrow every profile.

use const_oid::db::rfc5280::ANY_EXTENDED_KEY_USAGE;
use jiff::SignedDuration;

use super::AllowedNames;
use crate::issuance::{
    name::{self, Name},
    oid::Oid,
    pattern::{ValuePattern, Variables},
    refusal::{Refusal, RefusalReason},
    usage::Usage,
};

/// The limits of one grant. The default forbids CA certificates and limits nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The longest validity, above zero; `None` leaves it to the profile.
    pub max_duration: Option<SignedDuration>,
    /// The names that certificates may claim, in SANs and in the subject; `None` for any. A list is
    /// [closed](AllowedNames::closed).
    pub names: Option<AllowedNames>,
    /// The subjects that certificates may carry; `None` for any.
    pub subject: Option<SubjectLimits>,
    /// The usages that certificates may have; `None` leaves them to the profile.
    pub usages: Option<Vec<Usage>>,
    /// Limits for CA certificates.
    pub ca: CaLimits,
}

/// Limits for CA certificates. The default allows none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaLimits {
    /// Whether CA certificates may be signed at all.
    pub allow: bool,
    /// The largest path length constraint; `None` leaves it to the profile.
    pub max_path_length: Option<u8>,
}

/// The attributes that a subject may have, each with patterns of its values. Any other attribute is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectLimits(Vec<(Oid, Vec<ValuePattern>)>);

impl FromIterator<(Oid, Vec<ValuePattern>)> for SubjectLimits {
    fn from_iter<I: IntoIterator<Item = (Oid, Vec<ValuePattern>)>>(list: I) -> Self {
        Self(list.into_iter().collect())
    }
}

impl SubjectLimits {
    /// Judges the subject that a certificate would carry, regardless of its source.
    pub(super) fn check(&self, subject: &Name, variables: Variables<'_>) -> Result<(), Refusal> {
        for (kind, value) in subject.attributes() {
            let mut patterns = self.0.iter().filter(|(listed, _)| listed == kind);
            let covered = value.is_some_and(|value| {
                patterns.any(|(_, patterns)| patterns.iter().any(|p| p.covers(value, variables)))
            });
            if !covered {
                return Err(Refusal::new(
                    RefusalReason::SubjectNotAllowed,
                    format!(
                        "the token's grant does not allow the subject's {} {:?}; leave it out, or ask the operator",
                        name::label(kind),
                        value.unwrap_or("(not text)"),
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl Limits {
    /// The purposes of extKeyUsage that are granted; `None` for any purpose.
    pub(super) fn purposes(&self) -> Option<Vec<Oid>> {
        let usages = self.usages.as_ref()?;
        let purpose = |usage: &Usage| match usage {
            Usage::Extended(purpose) => Some(purpose.clone()),
            Usage::Key(_) => None,
        };
        let purposes: Vec<_> = usages.iter().filter_map(purpose).collect();
        (!purposes.contains(&Oid::of(ANY_EXTENDED_KEY_USAGE))).then_some(purposes)
    }
}
