//! Makes key pairs, finds those of an interrupted run, and reads back what the token says of them.

use cryptoki::{
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, MlDsaParameterSetType, ObjectClass, ObjectHandle},
};
use der::{Encode as _, asn1::ObjectIdentifier};
use pkcs11_issuer::{
    issuance::{Probe, PublicKey},
    telemetry::ErrorChain,
};

use super::{
    Token, TokenError, failed,
    public::{P256, P384, spki},
};
use crate::plan::{Algorithm, CaStep, KeyStep};

/// A key pair on the token, whose attributes are those that were asked for.
pub(crate) struct Halves {
    pub(super) private: ObjectHandle,
    pub(crate) facts: Facts,
}

/// What is known of a key pair.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) public: PublicKey,
    /// The attributes of the private half as the token tells them.
    pub(crate) attributes: String,
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

/// Those without which no key of a CA is used, not even one that was made elsewhere.
const CA: [&str; 4] = ["SENSITIVE", "not EXTRACTABLE", "SIGN", "PRIVATE"];

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

    /// Finds the private key of a CA that exists, and has it sign a probe, which can be no certificate. Attributes that only a key
    /// of a ceremony must have may be missing; those that it has are in the facts.
    pub(crate) fn find_ca(&self, step: &str, ca: &CaStep) -> Result<Halves, TokenError> {
        let wrong = |why: String| TokenError::Key {
            label: step.to_owned(),
            why,
        };
        let template = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Id(ca.key_id.clone()),
        ];
        let found = self.session().find_objects(&template);
        let found = found.map_err(failed("look for the key of a CA"))?;
        let [private] = found.as_slice() else {
            return Err(wrong(format!(
                "the token has {} private keys of CKA_ID {}; name that of the CA as keyId in a new plan",
                found.len(),
                hex::encode(&ca.key_id)
            )));
        };
        let told = self.told(*private)?;
        let lacks: Vec<_> = CA
            .iter()
            .filter(|needed| !told.contains(needed))
            .copied()
            .collect();
        if !lacks.is_empty() {
            return Err(wrong(format!(
                "the token does not say that it is {}; it must not be used",
                lacks.join(", ")
            )));
        }
        let certificate = ca.issuer.chain().issuing();
        let halves = Halves {
            private: *private,
            facts: Facts {
                public: certificate.public_key().key().clone(),
                attributes: told.join(", "),
            },
        };
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| wrong("the operating system gave no random octets".to_owned()))?;
        let probe = Probe::new(ca.issuer.algorithm(), random);
        let signer = self.signer(&halves);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| wrong(error.to_string()))?;
        match runtime.block_on(probe.prove(&signer, certificate.public_key())) {
            Ok(()) => Ok(halves),
            Err(error) => Err(wrong(ErrorChain(&error).to_string())),
        }
    }

    /// Returns which of [`PRIVATE`] the token says of a private key.
    fn told(&self, private: ObjectHandle) -> Result<Vec<&'static str>, TokenError> {
        let asked: Vec<_> = PRIVATE
            .iter()
            .map(|(_, attribute, _)| attribute.attribute_type())
            .collect();
        let told = self
            .session()
            .get_attributes(private, &asked)
            .map_err(failed("read a key back"))?;
        let holds = PRIVATE
            .iter()
            .filter(|(_, attribute, _)| told.contains(attribute));
        Ok(holds.map(|(name, _, _)| *name).collect())
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
        let attributes = self.told(private)?;
        let missing: Vec<_> = PRIVATE
            .iter()
            .map(|(name, _, _)| *name)
            .filter(|name| !attributes.contains(name))
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
            .map_err(failed("read a key back"))?;
        let spki = spki(step.algorithm, &told)
            .ok_or_else(|| wrong(step, "its public half is not of the right form"))?;
        let public = PublicKey::parse(&spki).map_err(|error| wrong(step, &error.to_string()))?;
        Ok(Halves {
            private,
            facts: Facts {
                public,
                attributes: attributes.join(", "),
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
