//! The mechanisms that the token offers, as far as it tells.

use std::collections::BTreeMap;

use cryptoki::mechanism::{MechanismInfo, MechanismType};
use hsm::protocol::{Curve, Hash, KeyAlgorithm, Mechanism};

use super::Token;

impl Token {
    /// Returns the mechanisms that the token claims for keys of this type. Those that hash in the token are listed only
    /// where the token does not claim to sign digests. An empty list is no reason not to try.
    pub(crate) fn mechanisms(&self, algorithm: KeyAlgorithm) -> Vec<Mechanism> {
        // Mechanisms that differ only in the hash of the digest are one mechanism to the token.
        let mut asked = BTreeMap::new();
        let mut claimed = |mechanisms: Vec<Mechanism>| {
            let claimed = mechanisms.into_iter().filter(|mechanism| {
                *asked
                    .entry(mechanism.name())
                    .or_insert_with(|| self.claims(algorithm, *mechanism))
            });
            claimed.collect::<Vec<_>>()
        };
        let mut all = Vec::new();
        for family in families(algorithm) {
            let of_digests = claimed(family.clone());
            if of_digests.is_empty() {
                all.extend(claimed(
                    family.into_iter().filter_map(Mechanism::in_token).collect(),
                ));
            }
            all.extend(of_digests);
        }
        all
    }

    /// Returns what the token offers for keys of this type, for a message about a mechanism that it refuses.
    pub(crate) fn offer(&self, algorithm: KeyAlgorithm) -> String {
        let mut offered = Vec::new();
        for mechanism in families(algorithm).into_iter().flatten() {
            for mechanism in [Some(mechanism), mechanism.in_token()]
                .into_iter()
                .flatten()
            {
                if !offered.contains(&mechanism.name()) && self.claims(algorithm, mechanism) {
                    offered.push(mechanism.name());
                }
            }
        }
        if offered.is_empty() {
            format!("it offers no mechanism that this program uses with {algorithm} keys")
        } else {
            format!("with {algorithm} keys it offers {}", offered.join(", "))
        }
    }

    fn claims(&self, algorithm: KeyAlgorithm, mechanism: Mechanism) -> bool {
        let info = self.module.get_mechanism_info(self.slot, kind(mechanism));
        info.is_ok_and(|info| info.sign() && fits(algorithm, &info))
    }
}

/// Returns the mechanisms of a type of key that sign a digest or, if it has none, a message.
fn families(algorithm: KeyAlgorithm) -> Vec<Vec<Mechanism>> {
    let each = |mechanism: fn(Hash) -> Mechanism| {
        [Hash::Sha256, Hash::Sha384, Hash::Sha512]
            .map(mechanism)
            .to_vec()
    };
    match algorithm {
        KeyAlgorithm::Rsa { .. } => vec![each(Mechanism::RsaPkcs1), each(Mechanism::RsaPss)],
        KeyAlgorithm::Ec(_) => vec![each(Mechanism::Ecdsa)],
        KeyAlgorithm::Ed25519 => vec![vec![Mechanism::Ed25519]],
        KeyAlgorithm::MlDsa(_) => vec![vec![Mechanism::MlDsa]],
    }
}

fn kind(mechanism: Mechanism) -> MechanismType {
    match mechanism {
        Mechanism::RsaPkcs1(_) => MechanismType::RSA_PKCS,
        Mechanism::RsaPss(_) => MechanismType::RSA_PKCS_PSS,
        Mechanism::Ecdsa(_) => MechanismType::ECDSA,
        Mechanism::RsaPkcs1InToken(Hash::Sha256) => MechanismType::SHA256_RSA_PKCS,
        Mechanism::RsaPkcs1InToken(Hash::Sha384) => MechanismType::SHA384_RSA_PKCS,
        Mechanism::RsaPkcs1InToken(Hash::Sha512) => MechanismType::SHA512_RSA_PKCS,
        Mechanism::RsaPssInToken(Hash::Sha256) => MechanismType::SHA256_RSA_PKCS_PSS,
        Mechanism::RsaPssInToken(Hash::Sha384) => MechanismType::SHA384_RSA_PKCS_PSS,
        Mechanism::RsaPssInToken(Hash::Sha512) => MechanismType::SHA512_RSA_PKCS_PSS,
        Mechanism::EcdsaInToken(Hash::Sha256) => MechanismType::ECDSA_SHA256,
        Mechanism::EcdsaInToken(Hash::Sha384) => MechanismType::ECDSA_SHA384,
        Mechanism::EcdsaInToken(Hash::Sha512) => MechanismType::ECDSA_SHA512,
        Mechanism::Ed25519 => MechanismType::EDDSA,
        Mechanism::MlDsa => MechanismType::ML_DSA,
    }
}

/// Returns whether a mechanism covers the size of a key. The standard defines the unit (bits) only for RSA and ECDSA, and
/// some libraries leave the sizes zero.
fn fits(algorithm: KeyAlgorithm, info: &MechanismInfo) -> bool {
    let bits = match algorithm {
        KeyAlgorithm::Rsa { bits } => bits,
        KeyAlgorithm::Ec(Curve::P256) => 256,
        KeyAlgorithm::Ec(Curve::P384) => 384,
        KeyAlgorithm::Ec(Curve::P521) => 521,
        KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa(_) => return true,
    };
    info.max_key_size() == 0
        || usize::try_from(bits)
            .is_ok_and(|bits| (info.min_key_size()..=info.max_key_size()).contains(&bits))
}
