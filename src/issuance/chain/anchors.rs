//! Trust anchors: the roots given for an issuer, which may be a whole public bundle.

use super::{CertificateError, ChainError, IssuerCertificate, MAX_ANCHORS, Verifies, blocks};
use crate::issuance::{name::Name, raw};

/// Roots that may be the root of a chain.
#[derive(Default)]
pub(super) struct Anchors {
    /// The roots that can be used, sorted by their end, the latest first.
    pub(super) fit: Vec<IssuerCertificate>,
    /// Why the first of the roots that cannot be used is unfit. This matters only if none of `fit` signed the chain.
    pub(super) unfit: Option<ChainError>,
}

impl Anchors {
    /// Picks the roots that have the name of an issuer of these certificates. Of the other roots, reads only the names.
    ///
    /// # Errors
    ///
    /// A certificate is not a root, or too many roots have the name of an issuer.
    pub(super) fn among(
        roots_pem: &[u8],
        given: &[IssuerCertificate],
        verifies: &mut Verifies<'_>,
    ) -> Result<Self, ChainError> {
        let mut meant = Vec::new();
        for (position, der) in (1..).zip(blocks(roots_pem)?) {
            let (subject, issuer) = names(&der).map_err(|source| ChainError::Root {
                source: CertificateError::Encoding(source),
                position,
            })?;
            if subject.is_same_as(&issuer) != Some(true) {
                return Err(ChainError::NotRoot(subject.to_string()));
            }
            let names_it =
                |certificate: &IssuerCertificate| subject.is_same_as(certificate.issuer());
            if given
                .iter()
                .any(|certificate| names_it(certificate) == Some(true))
            {
                meant.push((position, der));
            }
        }
        if meant.len() > MAX_ANCHORS {
            return Err(ChainError::TooManyRoots(meant.len()));
        }
        let mut anchors = Self::default();
        for (position, der) in meant {
            match IssuerCertificate::anchor(&der) {
                Ok(mut anchor) => {
                    if !anchor.is_root(verifies) {
                        return Err(ChainError::NotRoot(anchor.subject_text()));
                    }
                    anchor.set_self_signed(true);
                    anchors.fit.push(anchor);
                }
                Err(source) => {
                    let why = ChainError::Root { source, position };
                    anchors.unfit.get_or_insert(why);
                }
            }
        }
        anchors
            .fit
            .sort_by_key(|anchor| std::cmp::Reverse(anchor.not_after()));
        Ok(anchors)
    }
}

fn names(der: &[u8]) -> der::Result<(Name, Name)> {
    let (issuer, subject) = raw::names(der)?;
    Ok((Name::parse(subject)?, Name::parse(issuer)?))
}
