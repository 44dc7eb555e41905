//! A private key found on a token, usable across restarts of its worker.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::protocol::{
    FoundKey, KeyAlgorithm, KeyAttributes, KeyIdentity, KeyName, KeyNumber, Mechanism,
};

/// Number of a connection of one token. A [`KeyNumber`] is valid only on the connection that gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) u32);

/// Private key on one token.
///
/// *Guarantees*: it signs with the key that was found, or fails. After a restart of the worker, a key with the same
/// label, id, type and public half (where the token shows it) is looked up; without one, signing fails with
/// `KeyNotFound`.
/// *Caveats*: where the token hides the public half, only verifying a signature shows that the key is the same.
#[derive(Clone, Debug)]
pub struct Key(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: KeyIdentity,
    attributes: KeyAttributes,
    mechanisms: Vec<Mechanism>,
    /// Whether the token has refused to sign a digest with this key.
    refuses_digests: AtomicBool,
    /// Generation in the upper half, number in the lower.
    place: AtomicU64,
}

impl Key {
    pub(crate) fn new(found: FoundKey, generation: Generation) -> Self {
        let FoundKey {
            number,
            identity,
            attributes,
            mechanisms,
        } = found;
        Self(Arc::new(Inner {
            identity,
            attributes,
            mechanisms,
            refuses_digests: AtomicBool::new(false),
            place: AtomicU64::new(place(generation, number)),
        }))
    }

    /// Returns `CKA_LABEL` and `CKA_ID`.
    #[must_use]
    pub fn name(&self) -> KeyName {
        self.0.identity.name()
    }

    /// Returns whether both are the same key, last found in the same run of the worker. The result is meaningless for
    /// keys of two tokens.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let run = |key: &Self| key.0.place.load(Ordering::Relaxed) >> 32;
        self.0.identity == other.0.identity && run(self) == run(other)
    }

    /// Returns type and size.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.0.identity.algorithm
    }

    /// Returns the public half: the RSA modulus, the elliptic curve point as the token stores it, without its OCTET STRING, or
    /// the ML-DSA public key. `None` where the token does not show it.
    #[must_use]
    pub fn public(&self) -> Option<&[u8]> {
        self.0.identity.public.as_deref()
    }

    /// Returns how the token protects the key.
    #[must_use]
    pub fn attributes(&self) -> KeyAttributes {
        self.0.attributes
    }

    /// Returns the mechanisms that the token claims for the key; empty where it does not tell. Some tokens claim too few
    /// (a proxy hides mechanisms that it does not know): only a signature that verifies is proof.
    #[must_use]
    pub fn mechanisms(&self) -> &[Mechanism] {
        &self.0.mechanisms
    }

    /// Returns whether the token must get the message: it offers to hash it and does not offer to sign a digest, or it has
    /// refused a digest.
    pub(crate) fn wants_message(&self, of_digest: Mechanism, of_message: Mechanism) -> bool {
        self.0.refuses_digests.load(Ordering::Relaxed)
            || self.0.mechanisms.contains(&of_message) && !self.0.mechanisms.contains(&of_digest)
    }

    pub(crate) fn note_refused_digest(&self) {
        self.0.refuses_digests.store(true, Ordering::Relaxed);
    }

    pub(crate) fn identity(&self) -> &KeyIdentity {
        &self.0.identity
    }

    /// Returns the key's number on the connection of this generation, if it was found there already.
    pub(crate) fn number(&self, generation: Generation) -> Option<KeyNumber> {
        let [a, b, c, d, number @ ..] = self.0.place.load(Ordering::Relaxed).to_be_bytes();
        (u32::from_be_bytes([a, b, c, d]) == generation.0)
            .then_some(KeyNumber(u32::from_be_bytes(number)))
    }

    pub(crate) fn found_again(&self, generation: Generation, number: KeyNumber) {
        self.0
            .place
            .store(place(generation, number), Ordering::Relaxed);
    }
}

fn place(generation: Generation, number: KeyNumber) -> u64 {
    u64::from(generation.0) << 32 | u64::from(number.0)
}
