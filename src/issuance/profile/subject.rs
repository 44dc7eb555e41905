//! Which subjects a profile admits, and which it makes itself.

use std::borrow::Cow;

use super::ProfileError;
use crate::issuance::{
    csr::VerifiedCsr,
    name::{Name, NameError, Strings, label},
    oid::Oid,
    pattern::{Template, Variables},
    refusal::{Refusal, RefusalReason},
};

/// Rules for the subject of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectRules {
    /// Which subject the certificate carries.
    pub mode: SubjectMode,
    /// Rule for attributes of the CSR's subject with a wrong string type.
    pub strings: Strings,
    /// The attribute types that a CSR's subject may have; `None` for any.
    pub allowed: Option<Vec<Oid>>,
    /// Whether every certificate must have a subject alternative name.
    pub require_san: bool,
}

/// Which subject the certificate carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubjectMode {
    /// The CSR's subject.
    #[default]
    Verbatim,
    /// These attributes, then the CSR's common names.
    Fixed(Vec<(Oid, Template)>),
    /// No subject.
    Omit,
}

impl SubjectRules {
    pub(super) fn check(&self) -> Result<(), ProfileError> {
        let SubjectMode::Fixed(attributes) = &self.mode else {
            return Ok(());
        };
        let samples: Vec<_> = attributes
            .iter()
            .map(|(oid, value)| (oid.clone(), value.sample()))
            .collect();
        Name::of(&samples, None)
            .map_err(|error| ProfileError::new("subject.fixed", error))?
            .check()
            .map_err(|error| ProfileError::new("subject.fixed", error))
    }

    /// Returns the subject that the certificate will carry.
    pub(super) fn judge(
        &self,
        csr: &VerifiedCsr,
        variables: Variables<'_>,
    ) -> Result<Name, Refusal> {
        let unfit = |error: NameError| {
            Refusal::new(
                error.reason(),
                format!("the CSR's subject is refused: {error}"),
            )
        };
        let asked = match self.mode {
            SubjectMode::Verbatim | SubjectMode::Fixed(_) => {
                let asked = csr.subject().with_strings(self.strings).map_err(unfit)?;
                asked.check().map_err(unfit)?;
                asked
            }
            // No part of the CSR's subject gets into the certificate, so it may be malformed. Istio's agents send an
            // empty organization.
            SubjectMode::Omit => csr.subject().clone(),
        };
        let stray = self
            .allowed
            .as_ref()
            .and_then(|allowed| asked.types().find(|oid| !allowed.contains(oid)));
        if let Some(oid) = stray {
            return Err(Refusal::new(
                RefusalReason::BadSubject,
                format!(
                    "this issuer allows no {} in a subject; leave the attribute out",
                    label(oid)
                ),
            ));
        }
        let subject = match &self.mode {
            SubjectMode::Verbatim => asked,
            SubjectMode::Fixed(attributes) => {
                let attributes: Vec<_> = attributes
                    .iter()
                    .map(|(oid, value)| Ok((oid.clone(), fixed(oid, value, variables)?)))
                    .collect::<Result<_, Refusal>>()?;
                Name::of(&attributes, Some(&asked)).map_err(|error| {
                    Refusal::new(
                        RefusalReason::BadSubject,
                        format!("the issuer's fixed subject cannot be encoded: {error}"),
                    )
                })?
            }
            SubjectMode::Omit => Name::of(&[], None)
                .map_err(|error| Refusal::new(RefusalReason::BadSubject, error.to_string()))?,
        };
        subject.check().map_err(unfit)?;
        let named = csr.subject_alt_names().is_some();
        // RFC 5280, section 4.1.2.6: if the subject is empty, the SAN must carry the names.
        if !named && (subject.is_empty() || self.require_san) {
            return Err(Refusal::new(
                RefusalReason::NoIdentity,
                if self.require_san {
                    "this issuer requires a subject alternative name, but the CSR has none; add one"
                } else {
                    "the certificate would have neither a subject nor subject alternative names; add one of them"
                },
            ));
        }
        Ok(subject)
    }
}

/// Returns the value of a fixed attribute for one request.
fn fixed(kind: &Oid, value: &Template, variables: Variables<'_>) -> Result<String, Refusal> {
    let fits = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    let value = value.expand(variables, fits);
    value.map(Cow::into_owned).ok_or_else(|| {
        Refusal::new(
            RefusalReason::BadSubject,
            format!(
                "the request's namespace or name cannot be used in the subject's {}; give the request another name",
                label(kind)
            ),
        )
    })
}
