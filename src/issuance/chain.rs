//! The chain of an issuer: the issuing certificate, those above it, and which of them are published.

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};

use super::{
    Fault,
    pem::{self, PemError},
    refusal::RefusalReason,
};

mod anchors;
mod certificate;
mod judge;
mod links;
mod path;

use self::{anchors::Anchors, links::Links};

#[cfg(test)]
pub(super) use judge::MAX_COMPARISONS;

pub use certificate::{CertificateError, IssuerCertificate};

/// Largest PEM text that is read, in octets: cert-manager's own limit for a bundle.
const MAX_PEM: usize = 330_000;

/// Most certificates that are read for one chain. Each may have signed any other, and only verifying the signatures
/// shows which one did.
const MAX_CERTIFICATES: usize = 16;

/// Most roots that are read, of those with the name of an issuer in the chain. Any of them may have signed any
/// certificate of the chain. Only the size of the text limits the number of roots with other names.
const MAX_ANCHORS: usize = 16;

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

/// Reason why an issuer's certificates cannot be used. Messages name a certificate by its subject.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The text is not PEM.
    #[error("the issuer's certificates are not PEM")]
    Pem(#[source] PemError),
    /// The text is too large.
    #[error("the issuer's certificates have {0} octets of PEM, but at most {MAX_PEM} are read")]
    TooLarge(usize),
    /// A block of another kind, such as a private key.
    #[error(
        "the issuer's certificates include a PEM block {0:?}; only CERTIFICATE blocks are allowed"
    )]
    NotCertificate(String),
    /// A certificate that cannot issue certificates.
    #[error("certificate number {position} of the issuer cannot issue certificates")]
    Certificate {
        /// Why.
        #[source]
        source: CertificateError,
        /// Counted from 1, each certificate once.
        position: usize,
    },
    /// A root that has the right name but cannot be the root of the chain.
    #[error("root certificate number {position} cannot be the root of the chain")]
    Root {
        /// Why.
        #[source]
        source: CertificateError,
        /// Counted from 1, each certificate once.
        position: usize,
    },
    /// No certificate with the issuer's name has the key that signed.
    #[error(
        "{subject:?} names {issuer:?} as its issuer, but none of the given certificates with that name signed it; replace that certificate"
    )]
    WrongSigner {
        /// The certificate whose signature does not verify.
        subject: String,
        /// The name of its issuer.
        issuer: String,
    },
    /// Too many certificates for one chain and its cross-certificates.
    #[error(
        "the issuer's chain has {0} certificates, but at most {MAX_CERTIFICATES} are read; remove those that are not between the issuing certificate and its root"
    )]
    TooMany(usize),
    /// Too many roots that may be the root of the chain.
    #[error(
        "{0} of the given roots have the name of an issuer in the chain, but at most {MAX_ANCHORS} are read; remove those that are not needed"
    )]
    TooManyRoots(usize),
    /// The first certificate signed another, and the others do not show which one is the issuing certificate.
    #[error(
        "several of the issuer's certificates could be the issuing one; put it first, or remove the others"
    )]
    NoIssuing,
    /// A certificate that is not on any path from the issuing certificate to a root.
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
    #[error(
        "the chain ends at {0:?}, which none of the given roots signed; add its root, or give no roots"
    )]
    OtherRoot(String),
    /// A path length constraint that the chain exceeds.
    #[error(
        "{subject:?} allows {allowed} certificate authorities below it, but there are {present}"
    )]
    PathLength {
        /// The certificate with the constraint.
        subject: String,
        /// Its pathLenConstraint.
        allowed: u8,
        /// How many certificate authorities are below it.
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
    #[error("{subject:?} is not valid before {not_before}; wait, or check the clock")]
    NotYetValid {
        /// The certificate.
        subject: String,
        /// Its first second.
        not_before: Timestamp,
    },
}

impl ChainError {
    /// Returns the reason: the chain is invalid, or it is only expired or not yet valid.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::Expired { .. } | Self::NotYetValid { .. } => RefusalReason::IssuerNotValid,
            Self::Pem(_)
            | Self::TooLarge(_)
            | Self::NotCertificate(_)
            | Self::Certificate { .. }
            | Self::Root { .. }
            | Self::WrongSigner { .. }
            | Self::TooMany(_)
            | Self::TooManyRoots(_)
            | Self::NoIssuing
            | Self::NotInChain(_)
            | Self::NotRoot(_)
            | Self::OtherRoot(_)
            | Self::PathLength { .. } => RefusalReason::IssuerInvalid,
        }
    }

    /// Who has to act: always the issuer's owner.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Issuer
    }
}

/// The issuing certificate and the certificates above it.
///
/// # Guarantees
///
/// * Each certificate names the next one as its issuer, and the key of the next one made its signature.
/// * Each has CA:TRUE, and keyCertSign if it has keyUsage. No path length constraint is exceeded.
///
/// # Caveats
///
/// Validity depends on the time: call [`check_at`](Self::check_at).
#[derive(Clone, Debug)]
pub struct IssuerChain {
    issuing: IssuerCertificate,
    /// From the one that signed `issuing` upwards.
    above: Vec<IssuerCertificate>,
}

impl IssuerChain {
    /// Builds the chain from PEM text, in any order, with or without the root. Text between the blocks is ignored, and
    /// so are certificates of other paths to a root, such as cross-certificates.
    ///
    /// The issuing certificate is the first one, unless that one signed another; then it is the one that signed none.
    ///
    /// The roots are trust anchors. Only the name and the key of a root count when the path is found (RFC 5280, section
    /// 6.1.1 (d)). If several roots have the same name and key, the one that ends last is used. The other fields of a
    /// root limit what is issued, like those of every certificate of the chain, because verifiers apply them. Roots
    /// that are not needed are ignored; only their names are read.
    ///
    /// # Errors
    ///
    /// The first problem of the chain, with the certificate that has it.
    pub fn parse(certificates_pem: &[u8], roots_pem: Option<&[u8]>) -> Result<Self, ChainError> {
        Self::build(
            certificates_pem,
            roots_pem,
            &mut IssuerCertificate::verifies,
        )
    }

    fn build(
        certificates_pem: &[u8],
        roots_pem: Option<&[u8]>,
        verifies: &mut Verifies<'_>,
    ) -> Result<Self, ChainError> {
        let given = certificates(certificates_pem)?;
        let Anchors { fit, unfit } = match roots_pem {
            Some(pem) => Anchors::among(pem, &given, verifies)?,
            None => Anchors::default(),
        };
        let links = Links::new(given, fit, verifies);
        let issuing = path::issuing(&links).ok_or(ChainError::NoIssuing)?;
        let above = path::above(&links, issuing, roots_pem.is_some())?;
        let is_anchored = |&place: &usize| {
            let mut anchors = links.anchors();
            anchors.any(|anchor| links.are_same(anchor, place))
        };
        let top = above.last().unwrap_or(&issuing);
        let certificate = |place: usize| links.get(place).cloned();
        let chain = Self {
            issuing: certificate(issuing).ok_or(ChainError::NoIssuing)?,
            above: above.iter().copied().filter_map(certificate).collect(),
        };
        if roots_pem.is_some() && !is_anchored(top) {
            return Err(unfit.unwrap_or_else(|| ChainError::OtherRoot(chain.top().subject_text())));
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

    /// Returns the certificate that ends first; if several do, the lowest one. No issued certificate outlives it.
    #[must_use]
    pub fn first_to_end(&self) -> &IssuerCertificate {
        let first = |one, other| match IssuerCertificate::not_after(other) {
            end if end < IssuerCertificate::not_after(one) => other,
            _ => one,
        };
        self.above.iter().fold(&self.issuing, first)
    }

    /// Returns the certificate that begins last. No issued certificate begins before it.
    #[must_use]
    pub fn last_to_begin(&self) -> &IssuerCertificate {
        let last = |one, other| match IssuerCertificate::not_before(other) {
            begin if begin > IssuerCertificate::not_before(one) => other,
            _ => one,
        };
        self.above.iter().fold(&self.issuing, last)
    }

    /// Returns the times at which the answer of [`check_at`](Self::check_at) may change: the first second of each
    /// certificate, and the end of its last one.
    pub fn turning_points(&self) -> impl Iterator<Item = Timestamp> {
        self.certificates().flat_map(|certificate| {
            [
                Some(certificate.not_before()),
                just_after(certificate.not_after()),
            ]
            .into_iter()
            .flatten()
        })
    }

    /// Whether the chain ends in a self-signed root.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.top().is_self_signed()
    }

    /// Returns the value of `status.ca`; `None` for [`CaField::None`], and for [`CaField::Root`] without a root.
    #[must_use]
    pub fn ca_pem(&self, which: CaField) -> Option<String> {
        match which {
            CaField::Root => self.has_root().then(|| self.top().pem()),
            CaField::Issuing => Some(self.issuing.pem()),
            CaField::Bundle => Some(self.certificates().map(IssuerCertificate::pem).collect()),
            CaField::None => None,
        }
    }

    /// Returns the certificates that follow the leaf in `status.certificate`: all but the root.
    pub(super) fn intermediates_pem(&self) -> String {
        self.certificates()
            .filter(|certificate| !certificate.is_self_signed())
            .map(IssuerCertificate::pem)
            .collect()
    }

    fn top(&self) -> &IssuerCertificate {
        self.above.last().unwrap_or(&self.issuing)
    }

    /// Checks the path length constraints. Self-issued certificates do not count (RFC 5280, section 4.2.1.9).
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

/// Returns a time right after the last second of a certificate; `None` after the end of time.
fn just_after(not_after: Timestamp) -> Option<Timestamp> {
    not_after.checked_add(SignedDuration::from_millis(1)).ok()
}

/// A function that tells whether the key of the first certificate made the signature of the second.
type Verifies<'a> = dyn FnMut(&IssuerCertificate, &IssuerCertificate) -> bool + 'a;

/// Returns the DER of every block, without duplicates.
fn blocks(text: &[u8]) -> Result<Vec<Vec<u8>>, ChainError> {
    if text.len() > MAX_PEM {
        return Err(ChainError::TooLarge(text.len()));
    }
    let read = pem::scan(text).map_err(ChainError::Pem)?;
    if let Some(other) = read.blocks.iter().find(|b| b.label != b"CERTIFICATE") {
        return Err(ChainError::NotCertificate(
            String::from_utf8_lossy(other.label).into_owned(),
        ));
    }
    let mut seen = BTreeSet::new();
    let mut blocks: Vec<_> = read.blocks.into_iter().map(|block| block.der).collect();
    blocks.retain(|der| seen.insert(digest::digest(&digest::SHA256, der).as_ref().to_vec()));
    Ok(blocks)
}

/// Decodes the certificates of a chain; never empty when `Ok`.
fn certificates(text: &[u8]) -> Result<Vec<IssuerCertificate>, ChainError> {
    let blocks = blocks(text)?;
    if blocks.len() > MAX_CERTIFICATES {
        return Err(ChainError::TooMany(blocks.len()));
    }
    let certificate = |(position, der): (usize, &Vec<u8>)| {
        IssuerCertificate::parse(der).map_err(|source| ChainError::Certificate { source, position })
    };
    (1..).zip(&blocks).map(certificate).collect()
}

#[cfg(test)]
mod tests;
