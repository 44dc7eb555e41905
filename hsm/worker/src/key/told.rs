//! Type, size and public half of a private key, as far as the token tells.
//!
//! Only values of the public key are taken from a public object, because anyone who can open a session may create public
//! objects. A probe proves that the values are right.

use cryptoki::object::{
    Attribute, AttributeType, KeyType, MlDsaParameterSetType, ObjectClass, ObjectHandle,
};
use der::{Decode, asn1::ObjectIdentifier};
use hsm::protocol::{KeyAlgorithm, MlDsa};

use super::{
    NotOne, Search,
    public::{bits, curve_of, is_ed25519, unwrapped, without_leading_zeros},
};

/// Most public objects that are read for one private key.
const MOST_HALVES: usize = 8;

/// Attributes of an object that tell its type and size.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyValues {
    pub(super) key_type: Option<KeyType>,
    /// `CKA_MODULUS`, perhaps with leading zeros.
    pub(super) modulus: Option<Vec<u8>>,
    /// `CKA_EC_PARAMS`.
    pub(super) curve: Option<Vec<u8>>,
}

/// Type and size of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Known(KeyAlgorithm),
    Unsupported,
    /// The token does not tell.
    Untold,
}

impl KeyValues {
    /// Returns the modulus without leading zeros, or `None` if nothing is left.
    pub(super) fn modulus(&self) -> Option<Vec<u8>> {
        let modulus = without_leading_zeros(self.modulus.clone()?);
        (!modulus.is_empty()).then_some(modulus)
    }

    /// Returns the type and size of the object with these attributes.
    pub(super) fn kind(&self, search: &Search<'_>, handle: ObjectHandle) -> Result<Kind, NotOne> {
        let supported =
            |algorithm: Option<KeyAlgorithm>| algorithm.map_or(Kind::Unsupported, Kind::Known);
        let Some(key_type) = self.key_type else {
            return Ok(Kind::Untold);
        };
        Ok(match (key_type, &self.curve) {
            (KeyType::RSA, _) => self.modulus().map_or(Kind::Untold, |modulus| {
                let bits = bits(&modulus);
                Kind::Known(KeyAlgorithm::Rsa { bits })
            }),
            (KeyType::EC | KeyType::EC_EDWARDS, Some(params)) if params.is_empty() => Kind::Untold,
            (KeyType::EC | KeyType::EC_EDWARDS, None) => Kind::Untold,
            (KeyType::EC, Some(params)) => {
                let oid = ObjectIdentifier::from_der(params).ok();
                supported(oid.and_then(curve_of).map(KeyAlgorithm::Ec))
            }
            // Ed25519's parameters are an OID (RFC 8410) or, with SoftHSM, the name "edwards25519".
            (KeyType::EC_EDWARDS, Some(params)) => {
                supported(is_ed25519(params).then_some(KeyAlgorithm::Ed25519))
            }
            (KeyType::ML_DSA, _) => parameter_set(search, handle)?
                .map_or(Kind::Untold, |set| supported(set.map(KeyAlgorithm::MlDsa))),
            _ => Kind::Unsupported,
        })
    }

    /// Returns whether a key with these attributes may be of this type.
    pub(super) fn may_be(&self, algorithm: KeyAlgorithm) -> bool {
        let key_type = match algorithm {
            KeyAlgorithm::Rsa { .. } => KeyType::RSA,
            KeyAlgorithm::Ec(_) => KeyType::EC,
            KeyAlgorithm::Ed25519 => KeyType::EC_EDWARDS,
            KeyAlgorithm::MlDsa(_) => KeyType::ML_DSA,
        };
        self.key_type.is_none_or(|told| told == key_type)
    }

    /// Reads the attributes of a public object.
    pub(super) fn of_public(search: &Search<'_>, handle: ObjectHandle) -> Result<Self, NotOne> {
        let mut public = Self::default();
        let asked = [
            AttributeType::KeyType,
            AttributeType::Modulus,
            AttributeType::EcParams,
        ];
        for attribute in search.attributes(handle, &asked)? {
            if let Attribute::KeyType(value) = attribute {
                public.key_type = Some(value);
            } else if let Attribute::Modulus(value) = attribute {
                public.modulus = Some(value);
            } else if let Attribute::EcParams(value) = attribute {
                public.curve = Some(value);
            }
        }
        Ok(public)
    }

    /// Returns the type and public half of the private key with these attributes, from the public object with its id.
    /// `None` if there is no such object, or if several differ.
    pub(super) fn public_half(
        &self,
        search: &Search<'_>,
        id: &[u8],
    ) -> Result<Option<(KeyAlgorithm, Vec<u8>)>, NotOne> {
        if id.is_empty() {
            return Ok(None);
        }
        let mut found = Vec::new();
        for handle in halves(search, Attribute::Id(id.to_vec()))? {
            let public = Self::of_public(search, handle)?;
            if let Kind::Known(algorithm) = public.kind(search, handle)?
                && self.may_be(algorithm)
                && let Some(octets) = octets(search, handle, algorithm, &public)?
            {
                found.push((algorithm, octets));
            }
        }
        found.dedup();
        Ok(only(found))
    }
}

/// Reads the public half from the public object with the private key's id, or its label where it has no id.
pub(super) fn public_octets(
    search: &Search<'_>,
    label: &[u8],
    id: &[u8],
    algorithm: KeyAlgorithm,
) -> Result<Option<Vec<u8>>, NotOne> {
    let same = if id.is_empty() {
        Attribute::Label(label.to_vec())
    } else {
        Attribute::Id(id.to_vec())
    };
    let mut found = Vec::new();
    for handle in halves(search, same)? {
        found.extend(octets(search, handle, algorithm, &KeyValues::default())?);
    }
    found.dedup();
    Ok(only(found))
}

/// Returns the only element, because public objects that differ do not tell which one belongs to the key.
fn only<T>(mut found: Vec<T>) -> Option<T> {
    match found.len() {
        1 => found.pop(),
        _ => None,
    }
}

/// Returns the public objects with this id or label. If there are too many, none is read: they differ, or the token has not
/// been cleaned up for a long time.
fn halves(search: &Search<'_>, same: Attribute) -> Result<Vec<ObjectHandle>, NotOne> {
    let template = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::Token(true),
        same,
    ];
    let handles = search.objects(&template, MOST_HALVES)?;
    Ok(handles.unwrap_or_default())
}

/// Returns the public key in a public object.
pub(super) fn octets(
    search: &Search<'_>,
    handle: ObjectHandle,
    algorithm: KeyAlgorithm,
    told: &KeyValues,
) -> Result<Option<Vec<u8>>, NotOne> {
    let attribute = match algorithm {
        KeyAlgorithm::Rsa { .. } => return Ok(told.modulus()),
        KeyAlgorithm::Ec(_) | KeyAlgorithm::Ed25519 => AttributeType::EcPoint,
        KeyAlgorithm::MlDsa(_) => AttributeType::Value,
    };
    for value in search.attributes(handle, &[attribute])? {
        if let Attribute::EcPoint(octets) | Attribute::Value(octets) = value {
            return Ok(unwrapped(&octets, algorithm));
        }
    }
    Ok(None)
}

/// Reads the parameter set on its own, because libraries older than PKCS#11 3.2 do not know the attribute. `Some(None)`:
/// this program does not know the set.
fn parameter_set(
    search: &Search<'_>,
    handle: ObjectHandle,
) -> Result<Option<Option<MlDsa>>, NotOne> {
    let attributes = search.attributes(handle, &[AttributeType::ParameterSet])?;
    let Some(Attribute::ParameterSet(set)) = attributes.first() else {
        return Ok(None);
    };
    let sets = [
        (MlDsaParameterSetType::ML_DSA_44, MlDsa::MlDsa44),
        (MlDsaParameterSetType::ML_DSA_65, MlDsa::MlDsa65),
        (MlDsaParameterSetType::ML_DSA_87, MlDsa::MlDsa87),
    ];
    let known = sets.into_iter().find(|(known, _)| *set == (*known).into());
    Ok(Some(known.map(|(_, set)| set)))
}
