//! The issuer's certificates: the issuing one, what stands above it, and what we publish of them.

use const_oid::ObjectIdentifier;
use jiff::Timestamp;

use super::{
    Fault,
    claim::Role,
    name::Name,
    pem::{self, PemError},
    refusal::{Refusal, RefusalReason},
    san::GeneralName,
    usage::Usage,
};

mod certificate;
mod path;

pub use certificate::{CertificateError, IssuerCertificate};

/// Octets of PEM text we look at: cert-manager's own limit for a bundle.
const MAX_PEM: usize = 330_000;

/// Certificates we look at: each may have signed each other, and a signature is verified to know.
const MAX_CERTIFICATES: usize = 100;

/// Which certificates of the chain `status.ca` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaField {
    /// The self-signed root.
    Root,
    /// The issuing certificate.
    Issuing,
    /// Every certificate of the chain, issuing first.
    Bundle,
    /// Nothing.
    None,
}

/// Why an issuer's certificates are not fit. Certificates are named by their subject.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The text is not PEM.
    #[error("the issuer's certificates are not PEM")]
    Pem(#[source] PemError),
    /// The text is too large.
    #[error("the issuer's certificates have {0} octets of PEM, at most {MAX_PEM} are read")]
    TooLarge(usize),
    /// A block of another kind, such as a private key.
    #[error(
        "the issuer's certificates hold a PEM block {0:?}; only CERTIFICATE blocks may stand there"
    )]
    NotCertificate(String),
    /// A certificate that cannot issue.
    #[error("certificate number {position} of the issuer is not fit to issue")]
    Certificate {
        /// Why.
        #[source]
        source: CertificateError,
        /// Counted from 1, roots after certificates.
        position: usize,
    },
    /// No certificate of the right name is there with the key that signed.
    #[error(
        "{subject:?} names {issuer:?} as its issuer, but no certificate of that name given here signed it; replace that certificate"
    )]
    WrongSigner {
        /// The certificate whose signature does not verify.
        subject: String,
        /// The name of its issuer.
        issuer: String,
    },
    /// Too many to be one chain with its cross-certificates.
    #[error("the issuer's certificates are {0}, at most {MAX_CERTIFICATES} are read")]
    TooMany(usize),
    /// The first certificate signed another, and several authorities stand below it.
    #[error(
        "the issuer's certificates hold several that could be the issuing one; put it first, or remove the others"
    )]
    NoIssuing,
    /// A certificate that is not on any way from the issuing certificate to a root.
    #[error(
        "{0:?} is not part of the chain of the issuing certificate; remove it, or put the issuing certificate first"
    )]
    NotInChain(String),
    /// A root that is not self-signed.
    #[error(
        "{0:?} is given as a root but is not self-signed; put it with the intermediate certificates"
    )]
    NotRoot(String),
    /// Roots were given, and the chain ends in none of them.
    #[error("the chain ends at {0:?}, which none of the given roots signed; give its root or none")]
    OtherRoot(String),
    /// A path length constraint that forbids what stands below.
    #[error(
        "{subject:?} allows {allowed} certificate authorities below itself, but {present} are there"
    )]
    PathLength {
        /// The certificate with the constraint.
        subject: String,
        /// Its pathLenConstraint.
        allowed: u8,
        /// How many stand below it.
        present: usize,
    },
    /// Expired.
    #[error("{subject:?} expired at {not_after}; renew it")]
    Expired {
        /// The certificate.
        subject: String,
        /// Its last second.
        not_after: Timestamp,
    },
    /// Not yet valid.
    #[error("{subject:?} is valid only from {not_before} on; wait, or check the clock")]
    NotYetValid {
        /// The certificate.
        subject: String,
        /// Its first second.
        not_before: Timestamp,
    },
}

impl ChainError {
    /// The slug: the chain is unfit, or merely out of its time.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::Expired { .. } | Self::NotYetValid { .. } => RefusalReason::IssuerNotValid,
            Self::Pem(_)
            | Self::TooLarge(_)
            | Self::NotCertificate(_)
            | Self::Certificate { .. }
            | Self::WrongSigner { .. }
            | Self::TooMany(_)
            | Self::NoIssuing
            | Self::NotInChain(_)
            | Self::NotRoot(_)
            | Self::OtherRoot(_)
            | Self::PathLength { .. } => RefusalReason::IssuerInvalid,
        }
    }

    /// Who has to act: always whoever keeps the issuer.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Issuer
    }
}

/// The issuing certificate and the certificates above it.
///
/// # Guarantees
///
/// * Linear: each certificate is signed by the next, by name and by signature.
/// * Each has CA:TRUE and keyCertSign, and no path length constraint is exceeded.
///
/// # Caveats
///
/// Validity depends on the time: ask [`check_at`](Self::check_at).
#[derive(Clone, Debug)]
pub struct IssuerChain {
    issuing: IssuerCertificate,
    /// From the one that signed `issuing` upwards.
    above: Vec<IssuerCertificate>,
}

impl IssuerChain {
    /// Builds the chain from PEM text, in any order, with or without the root; text between the blocks is ignored.
    /// Roots that are not needed are ignored too, and certificates of other ways to a root, as cross-certificates are.
    ///
    /// The issuing certificate is the first, unless that one signed another; then the one that signed none.
    ///
    /// # Errors
    ///
    /// The first thing that makes the chain unfit, naming the certificate.
    pub fn parse(certificates_pem: &[u8], roots_pem: Option<&[u8]>) -> Result<Self, ChainError> {
        let mut given = certificates(certificates_pem, 0)?;
        let roots = match roots_pem {
            Some(pem) => certificates(pem, given.len())?,
            None => Vec::new(),
        };
        if let Some(other) = roots.iter().find(|root| !root.is_self_signed()) {
            return Err(ChainError::NotRoot(other.subject_text()));
        }
        let issuing = path::issuing(&mut given).ok_or(ChainError::NoIssuing)?;
        let above = path::above(&issuing, &given, &roots)?;
        let chain = Self { issuing, above };
        let top = chain.top();
        if !roots.is_empty() && !roots.iter().any(|root| root.der() == top.der()) {
            return Err(ChainError::OtherRoot(top.subject_text()));
        }
        chain.check_path_lengths()?;
        Ok(chain)
    }

    /// Checks that every certificate is valid at `now`.
    ///
    /// # Errors
    ///
    /// [`ChainError::Expired`] or [`ChainError::NotYetValid`], with the certificate's subject.
    pub fn check_at(&self, now: Timestamp) -> Result<(), ChainError> {
        for certificate in self.certificates() {
            if now > certificate.not_after() {
                return Err(ChainError::Expired {
                    subject: certificate.subject_text(),
                    not_after: certificate.not_after(),
                });
            }
            if now < certificate.not_before() {
                return Err(ChainError::NotYetValid {
                    subject: certificate.subject_text(),
                    not_before: certificate.not_before(),
                });
            }
        }
        Ok(())
    }

    /// The certificate whose key signs.
    #[must_use]
    pub const fn issuing(&self) -> &IssuerCertificate {
        &self.issuing
    }

    /// Every certificate, issuing first.
    pub fn certificates(&self) -> impl Iterator<Item = &IssuerCertificate> {
        std::iter::once(&self.issuing).chain(&self.above)
    }

    /// Whether the chain ends in a self-signed root.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.top().is_self_signed()
    }

    /// What `status.ca` carries; `None` for [`CaField::None`], and for [`CaField::Root`] without a root.
    #[must_use]
    pub fn ca_pem(&self, which: CaField) -> Option<String> {
        match which {
            CaField::Root => self.has_root().then(|| self.top().pem()),
            CaField::Issuing => Some(self.issuing.pem()),
            CaField::Bundle => Some(self.certificates().map(IssuerCertificate::pem).collect()),
            CaField::None => None,
        }
    }

    /// The certificates that follow the leaf in `status.certificate`: all but the root.
    pub(super) fn intermediates_pem(&self) -> String {
        self.certificates()
            .filter(|certificate| !certificate.is_self_signed())
            .map(IssuerCertificate::pem)
            .collect()
    }

    /// Judges what a certificate below this chain names, by the constraints of every certificate of it. Those of the
    /// root count too: some verifiers apply them.
    pub(super) fn check_names(
        &self,
        subject: &Name,
        names: &[GeneralName],
        role: Role,
    ) -> Result<(), Refusal> {
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

    /// Judges the purposes of a certificate below this chain. What a root says of purposes no verifier reads.
    pub(super) fn check_purposes(&self, purposes: &[ObjectIdentifier]) -> Result<(), Refusal> {
        for certificate in self.certificates().filter(|c| !c.is_self_signed()) {
            if let Some(purpose) = purposes.iter().find(|&&p| !certificate.allows_purpose(p)) {
                return Err(Refusal::new(
                    RefusalReason::CaEkuConstraint,
                    format!(
                        "the CA certificate {:?} allows no certificates with extended key usage {}; ask for another usage",
                        certificate.subject_text(),
                        Usage::Extended(*purpose)
                            .word()
                            .map_or_else(|| purpose.to_string(), |word| format!("{word:?}")),
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Judges whether a certificate authority may stand below this chain, with this path length of its own.
    pub(super) fn check_authority(&self, path_length: Option<u8>) -> Result<(), Refusal> {
        let mut below = 1;
        for certificate in self.certificates() {
            if let Some(allowed) = certificate.path_length().map(usize::from) {
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

    fn top(&self) -> &IssuerCertificate {
        self.above.last().unwrap_or(&self.issuing)
    }

    /// RFC 5280, section 4.2.1.9: self-issued certificates do not count.
    fn check_path_lengths(&self) -> Result<(), ChainError> {
        let mut below = 0;
        for certificate in self.certificates() {
            if let Some(allowed) = certificate.path_length()
                && below > usize::from(allowed)
            {
                return Err(ChainError::PathLength {
                    subject: certificate.subject_text(),
                    allowed,
                    present: below,
                });
            }
            if !certificate.is_self_issued() {
                below += 1;
            }
        }
        Ok(())
    }
}

/// Decodes every block; never empty when `Ok`.
fn certificates(text: &[u8], before: usize) -> Result<Vec<IssuerCertificate>, ChainError> {
    if text.len() > MAX_PEM {
        return Err(ChainError::TooLarge(text.len()));
    }
    let read = pem::scan(text).map_err(ChainError::Pem)?;
    if read.blocks.len() > MAX_CERTIFICATES {
        return Err(ChainError::TooMany(read.blocks.len()));
    }
    let mut certificates: Vec<IssuerCertificate> = Vec::new();
    for (index, block) in read.blocks.iter().enumerate() {
        if block.label != b"CERTIFICATE" {
            return Err(ChainError::NotCertificate(
                String::from_utf8_lossy(block.label).into_owned(),
            ));
        }
        let certificate =
            IssuerCertificate::parse(&block.der).map_err(|source| ChainError::Certificate {
                source,
                position: before + index + 1,
            })?;
        // The same certificate twice says nothing new.
        if certificates
            .iter()
            .all(|known| known.der() != certificate.der())
        {
            certificates.push(certificate);
        }
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests;
