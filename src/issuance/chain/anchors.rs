//! The roots that an issuer is given: trust anchors, of which a whole public bundle may be there.

use super::{CertificateError, ChainError, IssuerCertificate, MAX_ANCHORS, Verifies, blocks};
use crate::issuance::{name::Name, raw};

/// The roots that may stand above a chain.
#[derive(Default)]
pub(super) struct Anchors {
    /// The one that ends last first.
    pub(super) fit: Vec<IssuerCertificate>,
    /// Why the first of those that are not fit is not. That matters only if none that is fit will do.
    pub(super) unfit: Option<ChainError>,
}

impl Anchors {
    /// Picks the roots that bear the name of an issuer of these certificates. The others are not looked into.
    ///
    /// # Errors
    ///
    /// A certificate that is no root, or more roots that may be meant than can be tried.
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
