//! Trust anchors: the roots given for an issuer, which may be a whole public bundle.

use super::{CertificateError, ChainError, IssuerCertificate, MAX_ANCHORS, blocks};
use crate::issuance::{name::Name, raw};

/// Roots that may be the root of a chain.
#[derive(Default)]
pub(super) struct Anchors {
    /// The roots that can be used, in the order given.
    pub(super) fit: Vec<IssuerCertificate>,
    /// Why the first unusable root is unusable. This matters only if no path ends in one of `fit`.
    pub(super) unfit: Option<ChainError>,
}

impl Anchors {
    /// Picks the roots that have the name of an issuer of these certificates, and reads only the names of the others. The
    /// signature of a root is never verified, because the anchor is its name and its key (RFC 5280, section 6.1.1 (d)).
    ///
    /// # Errors
    ///
    /// The text is not PEM, or too many roots have the name of an issuer.
    pub(super) fn among(roots_pem: &[u8], given: &[IssuerCertificate]) -> Result<Self, ChainError> {
        let mut meant = Vec::new();
        let mut anchors = Self::default();
        let mut unreadable = None;
        for (position, der) in (1..).zip(blocks(roots_pem)?) {
            let Some((subject, issuer)) = names(&der).map_or_else(
                |source| {
                    let source = CertificateError::Encoding(source);
                    unreadable.get_or_insert(ChainError::Root { source, position });
                    None
                },
                Some,
            ) else {
                continue;
            };
            let is = |name: &Name| subject.is_same_as(name) == Some(true);
            if !is(&issuer) {
                if given.iter().any(|it| is(it.issuer()) || is(it.subject())) {
                    let why = ChainError::NotRoot(subject.to_string());
                    anchors.unfit.get_or_insert(why);
                }
            } else if given.iter().any(|certificate| is(certificate.issuer())) {
                meant.push((position, der));
            }
        }
        if meant.len() > MAX_ANCHORS {
            return Err(ChainError::TooManyRoots(meant.len()));
        }
        for (position, der) in meant {
            match IssuerCertificate::anchor(&der) {
                Ok(mut anchor) => {
                    anchor.set_self_signed(true);
                    anchors.fit.push(anchor);
                }
                Err(source) => {
                    let why = ChainError::Root { source, position };
                    anchors.unfit.get_or_insert(why);
                }
            }
        }
        anchors.unfit = anchors.unfit.or(unreadable);
        Ok(anchors)
    }
}

fn names(der: &[u8]) -> der::Result<(Name, Name)> {
    let (issuer, subject) = raw::names(der)?;
    Ok((Name::parse(subject)?, Name::parse(issuer)?))
}
