//! Judges what the certificates of a chain allow below them. The root's limits count too, because verifiers apply them.

use super::{IssuerCertificate, IssuerChain};
use crate::issuance::{
    claim::Role,
    constraints::NameConstraints,
    name::Name,
    oid::Oid,
    refusal::{Refusal, RefusalReason},
    san::GeneralName,
    usage::Usage,
};

/// Most comparisons of a name with a constraint: as many as Go and webpki make for one certificate.
pub(in crate::issuance) const MAX_COMPARISONS: usize = 250_000;

impl IssuerChain {
    /// Judges the subject of a certificate below this chain.
    ///
    /// A leaf may not have the issuing certificate's name, because verifiers would take it for self-issued (RFC 5280,
    /// section 6.1). A CA certificate may not have the name of any CA of the chain, because path lengths do not count
    /// self-issued certificates and verifiers could be led in a circle. Names are compared as section 7.1 says; names
    /// that cannot be compared count as the same.
    pub(in crate::issuance) fn check_subject(
        &self,
        subject: &Name,
        is_ca: bool,
    ) -> Result<(), Refusal> {
        let bearers = self.certificates().take(if is_ca { usize::MAX } else { 1 });
        let same =
            |bearer: &&IssuerCertificate| subject.is_same_as(bearer.subject()) != Some(false);
        match bearers.into_iter().find(same) {
            Some(bearer) => Err(Refusal::new(
                RefusalReason::BadSubject,
                format!(
                    "the subject is the name of the CA certificate {:?} (case, spaces and string types do not count); choose another",
                    bearer.subject_text()
                ),
            )),
            None => Ok(()),
        }
    }

    /// Judges the names of a certificate below this chain by the constraints of every certificate of the chain, the root
    /// included.
    pub(in crate::issuance) fn check_names(
        &self,
        subject: &Name,
        names: &[GeneralName],
        role: Role,
    ) -> Result<(), Refusal> {
        let constraints = self
            .certificates()
            .filter_map(IssuerCertificate::name_constraints);
        let subtrees: usize = constraints.map(NameConstraints::len).sum();
        let count = names.len() + subject.types().count() + 1;
        if subtrees.saturating_mul(count) > MAX_COMPARISONS {
            return Err(Refusal::new(
                RefusalReason::NameConstraints,
                format!(
                    "{count} names cannot be compared with the {subtrees} name constraints of the issuer's chain: verifiers give up after {MAX_COMPARISONS} comparisons; ask for fewer names"
                ),
            ));
        }
        for certificate in self.certificates() {
            if let Some(constraints) = certificate.name_constraints() {
                constraints
                    .check(subject, names, role)
                    .map_err(|forbidden| {
                        Refusal::new(
                            RefusalReason::NameConstraints,
                            format!(
                                "{forbidden} of the CA certificate {:?}; leave it out",
                                certificate.subject_text()
                            ),
                        )
                    })?;
            }
        }
        Ok(())
    }

    /// Judges the purposes of a certificate below this chain by those of every certificate of the chain. The root's purposes
    /// are included, because OpenSSL and Go apply them too.
    pub(in crate::issuance) fn check_purposes(&self, purposes: &[Oid]) -> Result<(), Refusal> {
        for certificate in self.certificates() {
            if let Some(purpose) = purposes
                .iter()
                .find(|purpose| !certificate.allows_purpose(purpose))
            {
                return Err(Refusal::new(
                    RefusalReason::CaEkuConstraint,
                    format!(
                        "the CA certificate {:?} does not allow certificates with extended key usage {}; ask for another usage",
                        certificate.subject_text(),
                        Usage::Extended(purpose.clone())
                            .word()
                            .map_or_else(|| purpose.to_string(), |word| format!("{word:?}")),
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Judges whether the chain's path lengths leave room for a CA certificate with this path length.
    pub(in crate::issuance) fn check_authority(
        &self,
        path_length: Option<u8>,
    ) -> Result<(), Refusal> {
        let mut below = 1;
        for certificate in self.certificates() {
            if let Some(allowed) = certificate.path_length() {
                let most = allowed.checked_sub(below);
                if most.is_none() || path_length.is_some_and(|wanted| most < Some(wanted.into())) {
                    return Err(Refusal::new(
                        RefusalReason::CaPathLength,
                        format!(
                            "the path length of the CA certificate {:?}, {allowed}, leaves no room for a CA certificate with path length {}",
                            certificate.subject_text(),
                            path_length.map_or_else(
                                || "unlimited".to_owned(),
                                |wanted| wanted.to_string()
                            ),
                        ),
                    ));
                }
            }
            if !certificate.is_self_issued() {
                below += 1;
            }
        }
        Ok(())
    }
}
