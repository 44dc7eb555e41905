//! Signs with the mechanism that the client asks for (RSA and ECDSA over a digest, or over the message where the token
//! hashes), and returns signature octets as X.509 uses them.

use cryptoki::{
    error::Error,
    mechanism::{
        Mechanism as Pkcs11Mechanism, MechanismType,
        dsa::{HedgeType, SignAdditionalContext},
        eddsa::{EddsaParams, EddsaSignatureScheme},
        rsa::{PkcsMgfType, PkcsPssParams},
    },
    object::ObjectHandle,
    session::Session,
};
use der::{Encode, Sequence, asn1::UintRef};
use hsm::protocol::{Curve, Failure, Hash, KeyAlgorithm, Mechanism};
use pkcs11_two_calls::TwoCallSigner;

/// Why there is no signature.
#[derive(Debug)]
pub(crate) enum SignFailure {
    /// A call failed.
    Token(Error),
    /// The token returned `CKR_OK` and octets that cannot be a signature by this key.
    Malformed {
        /// Number of octets that the token claims to have returned.
        octets: u64,
    },
}

impl From<pkcs11_two_calls::CallError> for SignFailure {
    fn from(why: pkcs11_two_calls::CallError) -> Self {
        match why {
            pkcs11_two_calls::CallError::Call(error) => Self::Token(error),
            pkcs11_two_calls::CallError::Overlong { told, room: _ } => {
                Self::Malformed { octets: told }
            }
        }
    }
}

/// Input of `C_Sign`, checked here because tokens do not check it: SoftHSM signs a SHA-1 digest as ECDSA with SHA-256.
#[derive(Debug)]
pub(crate) struct Input(Vec<u8>);

impl Input {
    /// Checks that payload, mechanism and key fit together, and builds the input.
    pub(crate) fn new(
        algorithm: KeyAlgorithm,
        mechanism: Mechanism,
        payload: &[u8],
    ) -> Result<Self, Failure> {
        match (algorithm, mechanism) {
            (KeyAlgorithm::Rsa { .. }, Mechanism::RsaPkcs1(hash)) => Ok(Self(
                [digest_info_prefix(hash), digest(hash, payload)?].concat(),
            )),
            (KeyAlgorithm::Rsa { .. }, Mechanism::RsaPss(hash)) => {
                Ok(Self(digest(hash, payload)?.to_vec()))
            }
            (KeyAlgorithm::Ec(curve), Mechanism::Ecdsa(hash)) => {
                // FIPS 186-5, 6.4.1: the leftmost bits of the digest, as many as the order has. The orders of P-256
                // and P-384 are whole octets long, and the order of P-521 is longer than every digest. Not every token
                // truncates the digest itself.
                let digest = digest(hash, payload)?;
                Ok(Self(
                    digest.iter().copied().take(curve.field_octets()).collect(),
                ))
            }
            (
                KeyAlgorithm::Rsa { .. },
                Mechanism::RsaPkcs1InToken(_) | Mechanism::RsaPssInToken(_),
            )
            | (KeyAlgorithm::Ec(_), Mechanism::EcdsaInToken(_))
            | (KeyAlgorithm::Ed25519, Mechanism::Ed25519)
            | (KeyAlgorithm::MlDsa(_), Mechanism::MlDsa) => Ok(Self(payload.to_vec())),
            (
                KeyAlgorithm::Rsa { .. }
                | KeyAlgorithm::Ec(_)
                | KeyAlgorithm::Ed25519
                | KeyAlgorithm::MlDsa(_),
                Mechanism::RsaPkcs1(_)
                | Mechanism::RsaPss(_)
                | Mechanism::Ecdsa(_)
                | Mechanism::RsaPkcs1InToken(_)
                | Mechanism::RsaPssInToken(_)
                | Mechanism::EcdsaInToken(_)
                | Mechanism::Ed25519
                | Mechanism::MlDsa,
            ) => Err(Failure::MechanismRefused {
                why: format!("{mechanism:?} does not fit a key of type {algorithm}"),
            }),
        }
    }
}

fn digest(hash: Hash, payload: &[u8]) -> Result<&[u8], Failure> {
    if payload.len() == hash.octets() {
        return Ok(payload);
    }
    let why = format!(
        "a {hash:?} digest has {} octets, not {}",
        hash.octets(),
        payload.len()
    );
    Err(Failure::BadRequest { why })
}

/// Returns the DER of `DigestInfo` up to the digest (RFC 8017, section 9.2, note 1).
fn digest_info_prefix(hash: Hash) -> &'static [u8] {
    match hash {
        Hash::Sha256 => &[
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x01, 0x05, 0x00, 0x04, 0x20,
        ],
        Hash::Sha384 => &[
            0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x02, 0x05, 0x00, 0x04, 0x30,
        ],
        Hash::Sha512 => &[
            0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x03, 0x05, 0x00, 0x04, 0x40,
        ],
    }
}

/// Makes one signature on this session. Blocks the thread for as long as the token takes.
pub(crate) fn sign(
    signer: &TwoCallSigner,
    session: &Session,
    key: ObjectHandle,
    algorithm: KeyAlgorithm,
    mechanism: Mechanism,
    input: &Input,
) -> Result<Vec<u8>, SignFailure> {
    let mechanism = match mechanism {
        Mechanism::RsaPkcs1(_) => Pkcs11Mechanism::RsaPkcs,
        Mechanism::RsaPss(hash) => {
            Pkcs11Mechanism::RsaPkcsPss(pss(hash).map_err(SignFailure::Token)?)
        }
        Mechanism::Ecdsa(_) => Pkcs11Mechanism::Ecdsa,
        Mechanism::RsaPkcs1InToken(Hash::Sha256) => Pkcs11Mechanism::Sha256RsaPkcs,
        Mechanism::RsaPkcs1InToken(Hash::Sha384) => Pkcs11Mechanism::Sha384RsaPkcs,
        Mechanism::RsaPkcs1InToken(Hash::Sha512) => Pkcs11Mechanism::Sha512RsaPkcs,
        Mechanism::RsaPssInToken(hash) => {
            let parameters = pss(hash).map_err(SignFailure::Token)?;
            match hash {
                Hash::Sha256 => Pkcs11Mechanism::Sha256RsaPkcsPss(parameters),
                Hash::Sha384 => Pkcs11Mechanism::Sha384RsaPkcsPss(parameters),
                Hash::Sha512 => Pkcs11Mechanism::Sha512RsaPkcsPss(parameters),
            }
        }
        Mechanism::EcdsaInToken(Hash::Sha256) => Pkcs11Mechanism::EcdsaSha256,
        Mechanism::EcdsaInToken(Hash::Sha384) => Pkcs11Mechanism::EcdsaSha384,
        Mechanism::EcdsaInToken(Hash::Sha512) => Pkcs11Mechanism::EcdsaSha512,
        Mechanism::Ed25519 => {
            Pkcs11Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519))
        }
        // RFC 9881, section 3: pure ML-DSA with an empty context; hedged where the token can (FIPS 204, section 3.4).
        Mechanism::MlDsa => {
            Pkcs11Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None))
        }
    };
    let octets = signature_octets(algorithm).map_err(SignFailure::Token)?;
    let raw = signer.sign(session, &mechanism, key, &input.0, octets)?;
    let malformed = SignFailure::Malformed {
        octets: raw.len().try_into().unwrap_or(u64::MAX),
    };
    match algorithm {
        _ if raw.len() != octets => Err(malformed),
        KeyAlgorithm::Rsa { .. } | KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa(_) => Ok(raw),
        KeyAlgorithm::Ec(curve) => ecdsa_sig_value(curve, &raw).ok_or(malformed),
    }
}

/// Returns the length in octets of a signature as the token returns it: for RSA the length of the modulus (RFC 8017,
/// sections 8.1 and 8.2), for ECDSA two field elements (PKCS#11 3.1, section 6.3.1), for Ed25519 as in RFC 8032.
fn signature_octets(algorithm: KeyAlgorithm) -> Result<usize, Error> {
    Ok(match algorithm {
        KeyAlgorithm::Rsa { bits } => bits.div_ceil(8).try_into()?,
        KeyAlgorithm::Ec(curve) => 2 * curve.field_octets(),
        KeyAlgorithm::Ed25519 => 64,
        KeyAlgorithm::MlDsa(set) => set.signature_octets(),
    })
}

/// Returns the parameters of RFC 4055, section 3.1: MGF1 with the same hash, and a salt as long as its output.
fn pss(hash: Hash) -> Result<PkcsPssParams, Error> {
    let (hash_alg, mgf) = match hash {
        Hash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        Hash::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        Hash::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    };
    Ok(PkcsPssParams {
        hash_alg,
        mgf,
        s_len: hash.octets().try_into()?,
    })
}

/// RFC 3279, section 2.2.3.
#[derive(Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// Converts a signature from PKCS#11's form, r and s side by side and each as long as the field, to DER with minimal
/// integers.
fn ecdsa_sig_value(curve: Curve, raw: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = raw.split_at_checked(curve.field_octets())?;
    EcdsaSigValue {
        r: UintRef::new(r).ok()?,
        s: UintRef::new(s).ok()?,
    }
    .to_der()
    .ok()
}

#[cfg(test)]
mod tests {
    use hsm::protocol::{Curve, Failure, Hash, KeyAlgorithm, Mechanism};

    use super::{Input, ecdsa_sig_value};

    const RSA: KeyAlgorithm = KeyAlgorithm::Rsa { bits: 2048 };
    const P256: KeyAlgorithm = KeyAlgorithm::Ec(Curve::P256);

    #[test]
    fn a_digest_of_the_wrong_length_never_reaches_the_token() {
        for (key, mechanism) in [
            (RSA, Mechanism::RsaPkcs1(Hash::Sha256)),
            (P256, Mechanism::Ecdsa(Hash::Sha256)),
        ] {
            let refused = Input::new(key, mechanism, &[0; 20]).unwrap_err();
            assert!(matches!(refused, Failure::BadRequest { .. }), "{refused:?}");
        }
    }

    #[test]
    fn a_mechanism_that_does_not_fit_the_key_never_reaches_the_token() {
        let refused = Input::new(P256, Mechanism::RsaPkcs1(Hash::Sha256), &[0; 32]).unwrap_err();
        assert!(
            matches!(refused, Failure::MechanismRefused { .. }),
            "{refused:?}"
        );
    }

    #[test]
    fn a_digest_longer_than_the_curve_keeps_its_leftmost_octets() {
        let digest: Vec<u8> = (0..64).collect();
        assert_eq!(
            Input::new(P256, Mechanism::Ecdsa(Hash::Sha512), &digest)
                .unwrap()
                .0,
            digest[..32]
        );
    }

    #[test]
    fn integers_of_a_signature_are_minimal_and_positive() {
        let mut raw = [0_u8; 64];
        raw[31] = 0x7f; // r: 31 octets of zeros are dropped
        raw[32] = 0x80; // s: the top bit is set, so an octet of zeros precedes it
        let der = ecdsa_sig_value(Curve::P256, &raw).unwrap();
        assert_eq!(der[..7], [0x30, 38, 0x02, 1, 0x7f, 0x02, 33]);
        assert_eq!(der[7..9], [0, 0x80]);
    }
}
