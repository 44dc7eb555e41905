//! Makes key pairs, finds those of an interrupted run, and reads back what the token says of them.

use cryptoki::{
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, MlDsaParameterSetType, ObjectClass, ObjectHandle},
};
use der::{
    Decode as _, Encode as _, Sequence,
    asn1::{AnyRef, BitString, ObjectIdentifier, OctetStringRef, UintRef},
};
use pkcs11_issuer::issuance::PublicKey;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfo};

use super::{Token, TokenError, failed};
use crate::plan::{Algorithm, KeyStep};

const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// A key pair on the token, whose attributes are those that were asked for.
pub(crate) struct Halves {
    pub(super) private: ObjectHandle,
    pub(crate) facts: Facts,
}

/// What is known of a key pair.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) algorithm: Algorithm,
    pub(crate) public: PublicKey,
    /// The attributes of the private half as the token tells them.
    pub(crate) attributes: String,
}

/// RFC 8017, A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// The attributes of every private half, as they are asked for and must be read back. The token sets the last three itself.
const PRIVATE: [(&str, Attribute, bool); 10] = [
    ("SENSITIVE", Attribute::Sensitive(true), true),
    ("not EXTRACTABLE", Attribute::Extractable(false), true),
    ("not MODIFIABLE", Attribute::Modifiable(false), true),
    ("SIGN", Attribute::Sign(true), true),
    ("not DECRYPT", Attribute::Decrypt(false), true),
    ("not UNWRAP", Attribute::Unwrap(false), true),
    ("PRIVATE", Attribute::Private(true), true),
    ("LOCAL", Attribute::Local(true), false),
    (
        "NEVER_EXTRACTABLE",
        Attribute::NeverExtractable(true),
        false,
    ),
    ("ALWAYS_SENSITIVE", Attribute::AlwaysSensitive(true), false),
];

impl Token {
    /// Refuses keys that the token cannot make, and labels that it has already, before anything is made.
    pub(crate) fn check_room_for(&self, id: &[u8], step: &KeyStep) -> Result<(), TokenError> {
        let (mechanism, _) = generation(step.algorithm)?;
        let kind = mechanism.mechanism_type();
        if !self.mechanisms.contains(&kind) {
            return Err(TokenError::NoMechanism {
                label: step.label.clone(),
                mechanism: kind.to_string(),
            });
        }
        let same_label = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Label(step.label.as_bytes().to_vec()),
        ];
        let found = failed("look for a key's label");
        let handles = self.session().find_objects(&same_label).map_err(found)?;
        for handle in handles {
            let attributes = self
                .session()
                .get_attributes(handle, &[AttributeType::Id])
                .map_err(failed("read a key's id"))?;
            if !attributes.contains(&Attribute::Id(id.to_vec())) {
                return Err(wrong(
                    step,
                    "another key on the token has this label, so that an issuer could mistake one for the other; choose another label, and approve that plan",
                ));
            }
        }
        Ok(())
    }

    /// Finds the key pair of a step. `None`: there is none, and it can be made.
    pub(crate) fn find(&self, id: &[u8], step: &KeyStep) -> Result<Option<Halves>, TokenError> {
        let of = |class| {
            let template = [Attribute::Class(class), Attribute::Id(id.to_vec())];
            self.session()
                .find_objects(&template)
                .map_err(failed("look for a key"))
        };
        let private = of(ObjectClass::PRIVATE_KEY)?;
        let public = of(ObjectClass::PUBLIC_KEY)?;
        match (private.as_slice(), public.as_slice()) {
            ([], []) => Ok(None),
            ([private], [public]) => self.read(*private, *public, step).map(Some),
            _ => Err(wrong(
                step,
                &format!(
                    "the token has {} private and {} public keys of its CKA_ID {}; delete them, and run the same command again",
                    private.len(),
                    public.len(),
                    hex::encode(id)
                ),
            )),
        }
    }

    /// Makes the key pair of a step.
    pub(crate) fn generate(&self, id: &[u8], step: &KeyStep) -> Result<Halves, TokenError> {
        let both = [
            Attribute::Token(true),
            Attribute::Label(step.label.as_bytes().to_vec()),
            Attribute::Id(id.to_vec()),
        ];
        let (mechanism, special) = generation(step.algorithm)?;
        let mut public = both.to_vec();
        public.extend([Attribute::Private(false), Attribute::Verify(true)]);
        public.extend(special);
        let mut private = both.to_vec();
        private.extend([Attribute::Derive(false)]);
        private.extend(
            PRIVATE
                .into_iter()
                .filter(|(_, _, asked)| *asked)
                .map(|(_, attribute, _)| attribute),
        );
        let (public, private) = self
            .session()
            .generate_key_pair(&mechanism, &public, &private)
            .map_err(|source| {
                if matches!(source, Error::Pkcs11(RvError::DeviceMemory, _)) {
                    let label = step.label.clone();
                    TokenError::Full { label, source }
                } else {
                    failed(&format!("make key {:?}", step.label))(source)
                }
            })?;
        self.read(private, public, step)
    }

    /// Reads a key pair back, and compares its attributes with what was asked for.
    fn read(
        &self,
        private: ObjectHandle,
        public: ObjectHandle,
        step: &KeyStep,
    ) -> Result<Halves, TokenError> {
        let asked: Vec<_> = PRIVATE
            .iter()
            .map(|(_, attribute, _)| attribute.attribute_type())
            .collect();
        let read = || failed("read a key back");
        let told = self
            .session()
            .get_attributes(private, &asked)
            .map_err(read())?;
        let missing: Vec<_> = PRIVATE
            .iter()
            .filter(|(_, attribute, _)| !told.contains(attribute))
            .map(|(name, _, _)| *name)
            .collect();
        if !missing.is_empty() {
            return Err(wrong(
                step,
                &format!(
                    "the token does not say that it is {}; it must not be used; delete it",
                    missing.join(", ")
                ),
            ));
        }
        let asked = [
            AttributeType::Modulus,
            AttributeType::PublicExponent,
            AttributeType::EcPoint,
            AttributeType::Value,
        ];
        let told = self
            .session()
            .get_attributes(public, &asked)
            .map_err(read())?;
        let spki = spki(step.algorithm, &told)
            .ok_or_else(|| wrong(step, "its public half is not of the right form"))?;
        let public = PublicKey::parse(&spki).map_err(|error| wrong(step, &error.to_string()))?;
        let names: Vec<_> = PRIVATE.iter().map(|(name, _, _)| *name).collect();
        Ok(Halves {
            private,
            facts: Facts {
                algorithm: step.algorithm,
                public,
                attributes: names.join(", "),
            },
        })
    }
}

fn wrong(step: &KeyStep, why: &str) -> TokenError {
    TokenError::Key {
        label: step.label.clone(),
        why: why.to_owned(),
    }
}

/// Returns the mechanism that makes a key, and the attributes of its public half that choose the size.
fn generation(algorithm: Algorithm) -> Result<(Mechanism<'static>, Vec<Attribute>), TokenError> {
    let curve = |oid: ObjectIdentifier| {
        let der = oid.to_der().map_err(|error| TokenError::Key {
            label: String::new(),
            why: error.to_string(),
        })?;
        Ok((Mechanism::EccKeyPairGen, vec![Attribute::EcParams(der)]))
    };
    let ml_dsa = |set: MlDsaParameterSetType| {
        (
            Mechanism::MlDsaKeyPairGen,
            vec![Attribute::ParameterSet(set.into())],
        )
    };
    Ok(match algorithm {
        Algorithm::Rsa4096 => (
            Mechanism::RsaPkcsKeyPairGen,
            vec![
                Attribute::ModulusBits(4096.into()),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ],
        ),
        Algorithm::P256 => return curve(P256),
        Algorithm::P384 => return curve(P384),
        // SoftHSM requires the curve's name as a PrintableString.
        Algorithm::Ed25519 => (
            Mechanism::EccEdwardsKeyPairGen,
            vec![Attribute::EcParams(b"\x13\x0cedwards25519".to_vec())],
        ),
        Algorithm::MlDsa65 => ml_dsa(MlDsaParameterSetType::ML_DSA_65),
        Algorithm::MlDsa87 => ml_dsa(MlDsaParameterSetType::ML_DSA_87),
    })
}

/// Returns the SubjectPublicKeyInfo (DER) of a public half.
fn spki(algorithm: Algorithm, told: &[Attribute]) -> Option<Vec<u8>> {
    let find = |read: fn(&Attribute) -> Option<&Vec<u8>>| told.iter().find_map(read);
    let value = || {
        find(|a| {
            if let Attribute::Value(v) = a {
                Some(v)
            } else {
                None
            }
        })
    };
    let point = || {
        find(|a| {
            if let Attribute::EcPoint(v) = a {
                Some(v)
            } else {
                None
            }
        })
    };
    // An OCTET STRING around the point; some libraries leave it out.
    let unwrapped = |length: usize| {
        let octets = point()?;
        if octets.len() == length {
            return Some(octets.clone());
        }
        Some(
            <&OctetStringRef>::from_der(octets)
                .ok()?
                .as_bytes()
                .to_vec(),
        )
    };
    let p256 = P256.to_der().ok()?;
    let p384 = P384.to_der().ok()?;
    let (oid, parameters, octets) = match algorithm {
        Algorithm::Rsa4096 => {
            let modulus = find(|a| {
                if let Attribute::Modulus(v) = a {
                    Some(v)
                } else {
                    None
                }
            })?;
            let exponent = find(|a| {
                if let Attribute::PublicExponent(v) = a {
                    Some(v)
                } else {
                    None
                }
            })?;
            let key = RsaPublicKey {
                modulus: UintRef::new(modulus).ok()?,
                exponent: UintRef::new(exponent).ok()?,
            };
            (RSA, Some(AnyRef::NULL), key.to_der().ok()?)
        }
        Algorithm::P256 => (EC, Some(AnyRef::from_der(&p256).ok()?), unwrapped(65)?),
        Algorithm::P384 => (EC, Some(AnyRef::from_der(&p384).ok()?), unwrapped(97)?),
        Algorithm::Ed25519 => (ED25519, None, unwrapped(32)?),
        Algorithm::MlDsa65 => (ML_DSA_65, None, value()?.clone()),
        Algorithm::MlDsa87 => (ML_DSA_87, None, value()?.clone()),
    };
    SubjectPublicKeyInfo {
        algorithm: AlgorithmIdentifierRef { oid, parameters },
        subject_public_key: BitString::from_bytes(&octets).ok()?,
    }
    .to_der()
    .ok()
}
