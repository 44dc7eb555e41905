//! The certificates given for an issuer, and the paths that they allow.

use jiff::Timestamp;

use super::{
    CertificateError, ChainError, IssuerCertificate, IssuerChain, Verifies,
    anchors::Anchors,
    certificates,
    links::Links,
    path::{self, Goal},
};

/// The certificates of an issuer, in any order, and the roots that may be above them.
///
/// # Guarantees
///
/// Every path has the properties of an [`IssuerChain`].
#[derive(Debug)]
pub struct Bundle {
    links: Links,
    /// The places of the certificates of the issuing authority: the chosen one, then its twins.
    issuing: Vec<usize>,
    goal: Goal,
    /// The path that stays valid longest.
    longest: IssuerChain,
}

impl Bundle {
    /// Reads the certificates from PEM text, in any order, with or without the root. Text between the blocks is ignored,
    /// and so are certificates of other paths to a root, such as cross-certificates.
    ///
    /// The issuing certificate is the first one, unless that one signed another; then it is the one that signed none.
    ///
    /// The roots are trust anchors. Only the name and the key of a root count when the path is found (RFC 5280, section
    /// 6.1.1 (d)): neither its own signature nor its version is judged. Its other fields limit what is issued, like those
    /// of every certificate of the chain, because verifiers apply them. Roots that are not needed are ignored; only their
    /// names are read.
    ///
    /// # Errors
    ///
    /// There is no path. Returns the first problem, with the certificate that has it.
    pub fn parse(certificates_pem: &[u8], roots_pem: Option<&[u8]>) -> Result<Self, ChainError> {
        Self::build(
            certificates_pem,
            roots_pem,
            &mut IssuerCertificate::verifies,
        )
    }

    pub(super) fn build(
        certificates_pem: &[u8],
        roots_pem: Option<&[u8]>,
        verifies: &mut Verifies<'_>,
    ) -> Result<Self, ChainError> {
        let given = certificates(certificates_pem)?;
        let Anchors { fit, unfit } = match roots_pem {
            Some(pem) => Anchors::among(pem, &given)?,
            None => Anchors::default(),
        };
        let links = Links::new(given, fit, verifies);
        let issuing = path::issuing(&links).ok_or(ChainError::NoIssuing)?;
        // RFC 5280, section 4.1.2.9: a certificate with extensions has version 3, and only a root may lack them.
        if links.get(issuing).is_some_and(|it| !it.has_version_3()) {
            return Err(ChainError::Certificate {
                source: CertificateError::Version,
                position: issuing + 1,
            });
        }
        let goal = match roots_pem {
            Some(_) => Goal::Anchor,
            None => Goal::of(&links, issuing),
        };
        if let Err(problem) = path::check(&links, issuing, goal) {
            let misnamed = path::misnamed(&links, issuing, verifies);
            return Err(misnamed.or(unfit).unwrap_or(problem));
        }
        let longest = match longest(&links, issuing, goal, |_| true) {
            Some(path) => chain(&links, &path)?,
            None => {
                // A path exists, but it exceeds a path length.
                let path = path::shortest(&links, issuing, goal, |_, _| true);
                let chain = chain(&links, &path.unwrap_or_default())?;
                chain.check_path_lengths()?;
                chain
            }
        };
        let twins = links
            .given()
            .filter(|&other| other != issuing && links.are_twins(other, issuing));
        Ok(Self {
            issuing: std::iter::once(issuing).chain(twins).collect(),
            links,
            goal,
            longest,
        })
    }

    /// Returns the path that stays valid longest.
    #[must_use]
    pub const fn longest(&self) -> &IssuerChain {
        &self.longest
    }

    /// Returns a path that is valid at `now`: of several, the one that stays valid longest, then the shortest one, then the
    /// one whose certificates end last (RFC 4158, section 3.5). If the chosen issuing certificate is not valid, another
    /// certificate of the same name and key takes its place.
    ///
    /// # Errors
    ///
    /// No path is valid: [`ChainError::Expired`] or [`ChainError::NotYetValid`], with a certificate of the path that stays
    /// valid longest.
    pub fn at(&self, now: Timestamp) -> Result<IssuerChain, ChainError> {
        let is_valid = |it: &IssuerCertificate| it.not_before() <= now && now <= it.not_after();
        let mut paths = self.issuing.iter();
        match paths.find_map(|&issuing| longest(&self.links, issuing, self.goal, is_valid)) {
            Some(path) => chain(&self.links, &path),
            None => {
                self.longest.check_at(now)?;
                Ok(self.longest.clone())
            }
        }
    }
}

/// Returns the path that stays valid longest, of those whose certificates `is_usable` accepts.
fn longest(
    links: &Links,
    issuing: usize,
    goal: Goal,
    is_usable: impl Fn(&IssuerCertificate) -> bool,
) -> Option<Vec<usize>> {
    let mut ends: Vec<_> = links
        .all()
        .filter(|certificate| is_usable(certificate))
        .map(IssuerCertificate::not_after)
        .collect();
    ends.sort_unstable_by(|one, other| other.cmp(one));
    ends.dedup();
    ends.into_iter().find_map(|end| {
        path::shortest(links, issuing, goal, |certificate, authorities| {
            is_usable(certificate)
                && certificate.not_after() >= end
                && certificate
                    .path_length()
                    .is_none_or(|most| authorities <= most)
        })
    })
}

fn chain(links: &Links, path: &[usize]) -> Result<IssuerChain, ChainError> {
    let mut certificates = path.iter().filter_map(|&place| links.share(place));
    Ok(IssuerChain {
        issuing: certificates.next().ok_or(ChainError::NoIssuing)?,
        above: certificates.collect(),
    })
}
