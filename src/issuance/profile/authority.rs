//! Which CA certificates a profile admits.

use x509_cert::ext::pkix::NameConstraints;

use super::{
    CaLimits, Limits, ProfileError, Wanted,
    constraint::{Constraints, Outside},
    fence, usages,
};
use crate::issuance::{
    csr::{VerifiedCsr, chain},
    name::Name,
    refusal::{Refusal, RefusalReason},
};

/// Rules for CA certificates. The default allows none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaRules {
    /// Whether CA certificates are issued.
    pub allow: bool,
    /// How many CAs may follow in a row below an issued CA; `None` for any number.
    pub path_length: Option<u8>,
    /// What happens to a request for a CA certificate without a subject.
    pub empty_subject: EmptySubject,
    /// Whether an annotation of a Kubernetes CSR is enough to ask for a CA certificate. The annotation may be changed
    /// after approval.
    pub by_annotation: bool,
    /// The names that a CA may certify.
    pub constraints: Constraints,
    /// Whether a CSR may narrow these names.
    pub constraint_mode: ConstraintMode,
}

impl Default for CaRules {
    fn default() -> Self {
        Self {
            allow: false,
            path_length: Some(0),
            empty_subject: EmptySubject::Reject,
            by_annotation: false,
            constraints: Constraints::default(),
            constraint_mode: ConstraintMode::Fixed,
        }
    }
}

/// What happens to a request for a CA certificate without a subject. RFC 5280, section 4.1.2.6 requires a CA
/// certificate to have a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptySubject {
    /// The request is refused.
    #[default]
    Reject,
    /// The first DNS name of the CSR becomes the common name; without a DNS name, the request is refused.
    FirstDnsName,
}

/// Where the name constraints of CA certificates come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConstraintMode {
    /// Only from the profile and the grant. A CSR that asks for name constraints is refused.
    #[default]
    Fixed,
    /// From the profile and the grant, narrowed by those of the CSR.
    FromRequest,
}

/// Path length and name constraints of a CA certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaExtensions {
    path_length: Option<u8>,
    constraints: Constraints,
}

impl CaExtensions {
    /// How many CAs may follow in a row below this CA; `None` for any number.
    #[must_use]
    pub const fn path_length(&self) -> Option<u8> {
        self.path_length
    }

    /// Returns the value of the nameConstraints extension, if there is one.
    pub(in crate::issuance) fn name_constraints(&self) -> der::Result<Option<NameConstraints>> {
        self.constraints.encode()
    }
}

impl CaRules {
    /// Checks that the rules are consistent, and narrows them to the limits.
    pub(super) fn narrow(&mut self, limits: CaLimits, spiffe: bool) -> Result<(), ProfileError> {
        if self.allow && !limits.allow {
            return Err(ProfileError::new(
                "ca.allow",
                "the token's grant allows no CA certificates; the operator can set limits.ca.allow in it",
            ));
        }
        if let Some(most) = limits.max_path_length {
            self.path_length = Some(self.path_length.map_or(most, |wanted| wanted.min(most)));
        }
        if self.allow && spiffe {
            return Err(ProfileError::new(
                "ca.allow",
                "cannot be combined with sans.spiffe: Strict, which is for workloads",
            ));
        }
        Ok(())
    }

    /// Judges whether the request asks for a CA certificate and may have one. `Ok(None)` means a leaf.
    pub(super) fn judge(
        &self,
        csr: &VerifiedCsr,
        wanted: &Wanted<'_>,
        limits: &Limits,
    ) -> Result<Option<CaExtensions>, Refusal> {
        let asked = csr.asked();
        if asked.is_ca.is_some_and(|is_ca| is_ca != wanted.is_ca) {
            return Err(usages::mismatch("basicConstraints"));
        }
        if !wanted.is_ca {
            return match &asked.name_constraints {
                None => Ok(None),
                // RFC 5280, section 4.2.1.10: nameConstraints occur only in CA certificates.
                Some(_) => Err(Refusal::new(
                    RefusalReason::ExtensionNotAllowed,
                    "the CSR asks for nameConstraints, which only CA certificates carry; leave them out",
                )),
            };
        }
        if !self.allow {
            return Err(Refusal::new(
                RefusalReason::CaNotAllowed,
                "isCA is true, but this issuer gives leaf certificates only",
            ));
        }
        if wanted.by_annotation && !self.by_annotation {
            return Err(Refusal::new(
                RefusalReason::CaNotAllowed,
                "only an annotation asks for a CA certificate, and it may be changed after approval; add the usage \"cert sign\" to spec.usages",
            ));
        }
        if asked.path_length.is_some() && asked.path_length != self.path_length.map(usize::from) {
            return Err(Refusal::new(
                RefusalReason::CaPathLength,
                "the CSR asks for a different path length than the issuer's profile sets; leave it out",
            ));
        }
        Ok(Some(CaExtensions {
            path_length: self.path_length,
            constraints: self.constraints(csr, wanted, limits)?,
        }))
    }

    /// Returns the constraints of the grant, narrowed by the profile's and then by the CSR's.
    fn constraints(
        &self,
        csr: &VerifiedCsr,
        wanted: &Wanted<'_>,
        limits: &Limits,
    ) -> Result<Constraints, Refusal> {
        let fence = match &limits.names {
            Some(names) => fence::constraints(names, wanted.variables)?,
            None => Constraints::default(),
        };
        let outside = |whose: &str, Outside(subtree): Outside| {
            Refusal::new(
                RefusalReason::CaNameConstraints,
                format!(
                    "{whose} permits {subtree}, which is outside the names that the CA certificate may permit"
                ),
            )
        };
        let constraints = fence
            .narrowed_by(&self.constraints)
            .map_err(|difference| outside("the issuer's profile", difference))?;
        let Some(asked) = &csr.asked().name_constraints else {
            return Ok(constraints);
        };
        if self.constraint_mode == ConstraintMode::Fixed {
            return Err(Refusal::new(
                RefusalReason::ExtensionNotAllowed,
                "the CSR asks for nameConstraints, which only the issuer's profile sets; leave them out",
            ));
        }
        let asked = Constraints::try_from(asked).map_err(|error| {
            Refusal::new(
                RefusalReason::CaNameConstraints,
                format!("the CSR's nameConstraints are refused: {}", chain(&error)),
            )
        })?;
        constraints
            .narrowed_by(&asked)
            .map_err(|difference| outside("the CSR", difference))
    }

    /// Returns the subject of a CA certificate: `subject`, or a replacement if `subject` is empty.
    pub(super) fn subject(&self, csr: &VerifiedCsr, subject: Name) -> Result<Name, Refusal> {
        if !subject.is_empty() {
            return Ok(subject);
        }
        let refusal = |problem: &str| Refusal::new(RefusalReason::BadSubject, problem);
        let first = match self.empty_subject {
            EmptySubject::Reject => None,
            EmptySubject::FirstDnsName => {
                csr.subject_alt_names().and_then(|names| names.first_dns())
            }
        };
        let first = first.ok_or_else(|| {
            refusal("a CA certificate must have a subject (RFC 5280, section 4.1.2.6); add one")
        })?;
        let subject = Name::common_name(first).map_err(|error| refusal(&error.to_string()))?;
        subject.check().map_err(|error| {
            Refusal::new(
                error.reason(),
                format!(
                    "the first DNS name cannot be the CA certificate's subject: {error}; add a subject"
                ),
            )
        })?;
        Ok(subject)
    }
}
