//! The chain of an issuer: the issuing certificate, those above it, and which of them are published.

use std::{collections::BTreeSet, sync::Arc};

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};

use super::pem;

mod anchors;
mod bundle;
mod certificate;
mod error;
mod judge;
mod links;
mod path;

#[cfg(test)]
pub(super) use judge::MAX_COMPARISONS;

pub use bundle::Bundle;
pub use certificate::IssuerCertificate;
pub use error::{CertificateError, ChainError, NoCrlSign};

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
    issuing: Arc<IssuerCertificate>,
    /// From the one that signed `issuing` upwards.
    above: Vec<Arc<IssuerCertificate>>,
}

impl IssuerChain {
    /// Reads PEM text as [`Bundle`] does, and returns the path that stays valid longest.
    ///
    /// # Errors
    ///
    /// The first problem of the chain, with the certificate that has it.
    pub fn parse(certificates_pem: &[u8], roots_pem: Option<&[u8]>) -> Result<Self, ChainError> {
        Bundle::parse(certificates_pem, roots_pem).map(|bundle| bundle.longest().clone())
    }

    /// Returns whether both chains have the same certificates.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let ours = self.certificates().map(IssuerCertificate::der);
        ours.eq(other.certificates().map(IssuerCertificate::der))
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
    pub fn issuing(&self) -> &IssuerCertificate {
        &self.issuing
    }

    /// Every certificate, issuing first.
    pub fn certificates(&self) -> impl Iterator<Item = &IssuerCertificate> {
        std::iter::once(&self.issuing)
            .chain(&self.above)
            .map(|certificate| &**certificate)
    }

    /// Returns the certificate that ends first; if several do, the lowest one. No issued certificate outlives it.
    #[must_use]
    pub fn first_to_end(&self) -> &IssuerCertificate {
        let first = |one, other| match IssuerCertificate::not_after(other) {
            end if end < IssuerCertificate::not_after(one) => other,
            _ => one,
        };
        self.certificates().fold(&self.issuing, first)
    }

    /// Returns the certificate that begins last. No issued certificate begins before it.
    #[must_use]
    pub fn last_to_begin(&self) -> &IssuerCertificate {
        let last = |one, other| match IssuerCertificate::not_before(other) {
            begin if begin > IssuerCertificate::not_before(one) => other,
            _ => one,
        };
        self.certificates().fold(&self.issuing, last)
    }

    /// Returns the times at which the answer of [`check_at`](Self::check_at) may change: the first second of each
    /// certificate, and the time right after its last second.
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
                && below > allowed
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

/// Returns a time right after the last second of a certificate; `None` if a timestamp cannot hold it.
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
