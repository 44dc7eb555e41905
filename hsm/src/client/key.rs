//! A private key that was found on a token, usable across restarts of its worker.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::protocol::{
    FoundKey, KeyAlgorithm, KeyAttributes, KeyIdentity, KeyName, KeyNumber, Mechanism,
};

/// Counts the connections of one token: a [`KeyNumber`] means nothing on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) u32);

/// One private key on one token.
///
/// *Guarantees*: signing with it uses the key it was found as, or fails: after a restart of the worker the same
/// label, id, type and public half (where the token tells it) are found again, else `KeyNotFound`.
/// *Caveats*: where the token hides the public half, only verifying a signature shows that the key is the same.
#[derive(Clone, Debug)]
pub struct Key(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: KeyIdentity,
    attributes: KeyAttributes,
    mechanisms: Vec<Mechanism>,
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
            place: AtomicU64::new(place(generation, number)),
        }))
    }

    /// `CKA_LABEL` and `CKA_ID`.
    #[must_use]
    pub fn name(&self) -> KeyName {
        self.0.identity.name()
    }

    /// Whether both are one key, and were last found on one run of the worker. Of keys of two tokens this tells nothing.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let run = |key: &Self| key.0.place.load(Ordering::Relaxed) >> 32;
        self.0.identity == other.0.identity && run(self) == run(other)
    }

    /// Type and size.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.0.identity.algorithm
    }

    /// How the token keeps it.
    #[must_use]
    pub fn attributes(&self) -> KeyAttributes {
        self.0.attributes
    }

    /// What the token says that it can do with the key; empty where it does not tell. Some tokens say too little
    /// (a proxy that does not know a mechanism hides it): a signature that verifies is the proof.
    #[must_use]
    pub fn mechanisms(&self) -> &[Mechanism] {
        &self.0.mechanisms
    }

    pub(crate) fn identity(&self) -> &KeyIdentity {
        &self.0.identity
    }

    /// Its number on the connection of this generation, if it was found there already.
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
