//! Which certificate of a bundle signed which: every signature is verified at most once under each key.
//!
//! A bundle is a tenant's to write. With `n` certificates and `a` trust anchors at most `n * (n + a)` signatures are
//! verified, less where names or key identifiers say already that a key did not sign; the anchors' own are verified
//! apart, one each.

use super::{IssuerCertificate, Verifies};

/// The certificates of an issuer, by their places: first those that are given as its chain, then the trust anchors that
/// may stand above them.
pub(super) struct Links {
    certificates: Vec<IssuerCertificate>,
    /// Where the anchors begin.
    given: usize,
    /// For each certificate of the chain, the place of one whose key made its signature.
    signed_by: Vec<Option<usize>>,
}

impl Links {
    /// Verifies what names and key identifiers leave open.
    pub(super) fn new(
        mut given: Vec<IssuerCertificate>,
        anchors: Vec<IssuerCertificate>,
        verifies: &mut Verifies<'_>,
    ) -> Self {
        let count = given.len();
        given.extend(anchors);
        let mut links = Self {
            certificates: given,
            given: count,
            signed_by: Vec::with_capacity(count),
        };
        for place in 0..count {
            let found = links.find(place, verifies);
            links.signed_by.push(found);
        }
        for place in 0..count {
            let is_self_signed = links.signed(place, place);
            if let Some(certificate) = links.certificates.get_mut(place) {
                certificate.set_self_signed(is_self_signed);
            }
        }
        links
    }

    /// A certificate whose key signed this one. First those that follow it, for most bundles are in order; itself last.
    fn find(&self, place: usize, verifies: &mut Verifies<'_>) -> Option<usize> {
        let certificate = self.certificates.get(place)?;
        let places = (place + 1..self.certificates.len()).chain(0..=place);
        let mut tried: Vec<&[u8]> = Vec::new();
        for signer in places {
            let candidate = self.certificates.get(signer)?;
            let key = candidate.spki_der();
            if self.may_have_signed(signer, place) && !tried.contains(&key) {
                if verifies(candidate, certificate) {
                    return Some(signer);
                }
                tried.push(key);
            }
        }
        None
    }

    /// By name and key identifiers.
    fn may_have_signed(&self, signer: usize, place: usize) -> bool {
        self.is_named(signer, place)
            && self
                .pair(signer, place)
                .is_some_and(|(signer, other)| signer.may_be_authority_key_of(other))
    }

    /// Whether the first certificate bears the name of the second's issuer. In a chain both are the same octets, or
    /// verifiers do not find it (RFC 5280, section 4.1.2.6); the name of an anchor may be encoded in another way.
    pub(super) fn is_named(&self, signer: usize, place: usize) -> bool {
        self.pair(signer, place).is_some_and(|(candidate, other)| {
            candidate.is_named_as_issuer_of(other)
                || (self.is_anchor(signer) && candidate.could_anchor(other))
        })
    }

    /// Whether the first certificate's key signed the second, which is one of the chain, and its name fits.
    pub(super) fn signed(&self, signer: usize, place: usize) -> bool {
        let known = self.signed_by.get(place).copied().flatten();
        let known = known.and_then(|known| self.get(known));
        let key = self.get(signer).map(IssuerCertificate::spki_der);
        key.is_some()
            && known.map(IssuerCertificate::spki_der) == key
            && self.may_have_signed(signer, place)
    }

    pub(super) fn get(&self, place: usize) -> Option<&IssuerCertificate> {
        self.certificates.get(place)
    }

    /// The places of the chain's certificates.
    pub(super) const fn given(&self) -> std::ops::Range<usize> {
        0..self.given
    }

    /// The places of the anchors.
    pub(super) fn anchors(&self) -> std::ops::Range<usize> {
        self.given..self.certificates.len()
    }

    pub(super) const fn is_anchor(&self, place: usize) -> bool {
        place >= self.given
    }

    /// Whether both are one certificate.
    pub(super) fn are_same(&self, one: usize, other: usize) -> bool {
        self.pair(one, other)
            .is_some_and(|(one, other)| one.der() == other.der())
    }

    /// Whether both certify the same key under the same name: one authority, certified twice.
    pub(super) fn are_twins(&self, one: usize, other: usize) -> bool {
        self.pair(one, other)
            .is_some_and(|(one, other)| one.is_twin_of(other))
    }

    fn pair(&self, one: usize, other: usize) -> Option<(&IssuerCertificate, &IssuerCertificate)> {
        Some((self.get(one)?, self.get(other)?))
    }
}
