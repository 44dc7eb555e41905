//! Finds for each certificate of a bundle the certificate that signed it. Every signature is verified at most once
//! under each key.
//!
//! A tenant writes the bundle, so the cost is bounded. With `n` certificates and `a` trust anchors, at most `n * (n + a)`
//! signatures are verified, fewer if names or key identifiers already show that a key did not sign.

use std::{cmp::Reverse, sync::Arc};

use super::{IssuerCertificate, Verifies};

/// The certificates of an issuer, by place: first those given as its chain, then the trust anchors that may be above them.
#[derive(Debug)]
pub(super) struct Links {
    certificates: Vec<Arc<IssuerCertificate>>,
    /// The place of the first anchor.
    given: usize,
    /// For each certificate of the chain, the place of a certificate whose key made its signature.
    signed_by: Vec<Option<usize>>,
    /// For each certificate of the chain, the places of the other certificates that signed it: the anchors first, and in
    /// each group those that end last.
    signers: Vec<Vec<usize>>,
}

impl Links {
    /// Links the certificates. Verifies the signatures that names and key identifiers do not rule out.
    pub(super) fn new(
        mut given: Vec<IssuerCertificate>,
        anchors: Vec<IssuerCertificate>,
        verifies: &mut Verifies<'_>,
    ) -> Self {
        let count = given.len();
        given.extend(anchors);
        let mut links = Self {
            certificates: given.into_iter().map(Arc::new).collect(),
            given: count,
            signed_by: Vec::with_capacity(count),
            signers: Vec::with_capacity(count),
        };
        for place in 0..count {
            let found = links.find(place, verifies);
            links.signed_by.push(found);
        }
        for place in 0..count {
            let mut signers: Vec<_> = links
                .anchors()
                .chain(links.given())
                .filter(|&signer| links.signed(signer, place) && !links.are_same(signer, place))
                .collect();
            signers.sort_by_key(|&signer| {
                let end = links.get(signer).map(IssuerCertificate::not_after);
                (!links.is_anchor(signer), Reverse(end))
            });
            links.signers.push(signers);
            let is_self_signed = links.signed(place, place)
                || links
                    .get(place)
                    .is_some_and(IssuerCertificate::may_be_old_root);
            if let Some(certificate) = links.certificates.get_mut(place).and_then(Arc::get_mut) {
                certificate.set_self_signed(is_self_signed);
            }
        }
        links
    }

    /// Finds a certificate whose key signed this one. Those that follow it are tried first, because most bundles are in
    /// order; the certificate itself is tried last.
    fn find(&self, place: usize, verifies: &mut Verifies<'_>) -> Option<usize> {
        let certificate = self.get(place)?;
        let places = (place + 1..self.certificates.len()).chain(0..=place);
        let mut tried: Vec<&[u8]> = Vec::new();
        for signer in places {
            let candidate = self.get(signer)?;
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

    /// Whether the first certificate may have signed the second, as far as names and key identifiers show.
    fn may_have_signed(&self, signer: usize, place: usize) -> bool {
        self.is_named(signer, place)
            && self
                .pair(signer, place)
                .is_some_and(|(signer, other)| signer.may_be_authority_key_of(other))
    }

    /// Whether the first certificate has the name of the second's issuer. In a chain both names must be the same octets, or
    /// verifiers do not find the issuer (RFC 5280, section 4.1.2.6). The name of an anchor may be encoded differently.
    pub(super) fn is_named(&self, signer: usize, place: usize) -> bool {
        self.pair(signer, place).is_some_and(|(candidate, other)| {
            candidate.is_named_as_issuer_of(other)
                || (self.is_anchor(signer) && candidate.could_anchor(other))
        })
    }

    /// Whether the first certificate's key signed the second, and names and key identifiers match. The second must be a
    /// certificate of the chain.
    pub(super) fn signed(&self, signer: usize, place: usize) -> bool {
        let known = self.signed_by.get(place).copied().flatten();
        let known = known.and_then(|known| self.get(known));
        let key = self.get(signer).map(IssuerCertificate::spki_der);
        key.is_some()
            && known.map(IssuerCertificate::spki_der) == key
            && self.may_have_signed(signer, place)
    }

    /// The places of the other certificates that signed this one. No certificate is above an anchor.
    pub(super) fn signers(&self, place: usize) -> &[usize] {
        self.signers.get(place).map_or(&[], Vec::as_slice)
    }

    pub(super) fn get(&self, place: usize) -> Option<&IssuerCertificate> {
        self.certificates.get(place).map(Arc::as_ref)
    }

    pub(super) fn share(&self, place: usize) -> Option<Arc<IssuerCertificate>> {
        self.certificates.get(place).cloned()
    }

    /// Every certificate, anchors included.
    pub(super) fn all(&self) -> impl Iterator<Item = &IssuerCertificate> {
        self.certificates.iter().map(Arc::as_ref)
    }

    /// Every place, anchors included.
    pub(super) const fn everywhere(&self) -> std::ops::Range<usize> {
        0..self.certificates.len()
    }

    /// The places of the chain's certificates.
    pub(super) const fn given(&self) -> std::ops::Range<usize> {
        0..self.given
    }

    /// The places of the anchors.
    fn anchors(&self) -> std::ops::Range<usize> {
        self.given..self.certificates.len()
    }

    const fn is_anchor(&self, place: usize) -> bool {
        place >= self.given
    }

    /// Whether the certificate is an anchor, or the same as one.
    pub(super) fn is_anchored(&self, place: usize) -> bool {
        self.anchors().any(|anchor| self.are_same(anchor, place))
    }

    /// Whether both places hold the same certificate.
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
