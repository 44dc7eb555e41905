//! Reads private keys from the token, with their public half where the token shows it.

use cryptoki::object::{
    Attribute, AttributeType, KeyType, MlDsaParameterSetType, ObjectClass, ObjectHandle,
};
use der::{Decode, asn1::ObjectIdentifier};
use hsm::protocol::{Failure, KeyAlgorithm, KeyAttributes, KeyIdentity, KeyName, MlDsa};

use super::{
    Candidate, Found, NotOne, Search,
    public::{bits, curve_of, is_ed25519, unwrapped, without_leading_zeros},
};

/// Most private keys that one look-up reads, to tell them apart by their public halves. More keys would keep the token
/// busy for seconds while others wait.
const MOST_KEYS: u16 = 500;
/// Most public objects that are read for one private key.
const MOST_HALVES: usize = 8;

pub(super) fn find(
    search: &Search<'_>,
    label: Option<&[u8]>,
    id: Option<&[u8]>,
) -> Result<Vec<Found>, NotOne> {
    let mut template = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
    ];
    template.extend(label.map(|label| Attribute::Label(label.to_vec())));
    template.extend(id.map(|id| Attribute::Id(id.to_vec())));
    let too_many = || NotOne::Failure(Failure::TooManyKeys { most: MOST_KEYS });
    let handles = search
        .objects(&template, MOST_KEYS.into())?
        .ok_or_else(too_many)?;
    let keys = handles.into_iter().map(|handle| read(search, handle));
    keys.filter_map(Result::transpose).collect()
}

/// Reads one private key. `None`: it is not a signing key.
fn read(search: &Search<'_>, handle: ObjectHandle) -> Result<Option<Found>, NotOne> {
    use AttributeType as T;
    let mut label = Vec::new();
    let mut id = Vec::new();
    let mut key_type = None;
    let mut modulus = None;
    let mut curve = None;
    let mut attributes = KeyAttributes::default();
    let asked = [
        T::Label,
        T::Id,
        T::KeyType,
        T::Sign,
        // The order matters: a library that stops at an attribute it does not know leaves the later ones untouched, and
        // they read as false. The key then counts as not sensitive rather than as not extractable.
        T::Extractable,
        T::Sensitive,
        T::NeverExtractable,
        T::Local,
        T::AlwaysAuthenticate,
        T::AlwaysSensitive,
        T::Modulus,
        T::EcParams,
    ];
    for attribute in search.attributes(handle, &asked)? {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "only the attributes that were asked for can be returned"
        )]
        match attribute {
            Attribute::Label(value) => label = value,
            Attribute::Id(value) => id = value,
            Attribute::KeyType(value) => key_type = Some(value),
            Attribute::Sign(value) => attributes.sign = Some(value),
            Attribute::Sensitive(value) => attributes.sensitive = Some(value),
            Attribute::Extractable(value) => attributes.extractable = Some(value),
            Attribute::NeverExtractable(value) => attributes.never_extractable = Some(value),
            Attribute::Local(value) => attributes.local = Some(value),
            Attribute::AlwaysAuthenticate(value) => attributes.always_authenticate = Some(value),
            Attribute::AlwaysSensitive(value) => attributes.always_sensitive = Some(value),
            Attribute::Modulus(value) => modulus = Some(without_leading_zeros(value)),
            Attribute::EcParams(value) => curve = Some(value),
            _ => {}
        }
    }
    if attributes.sign == Some(false) {
        return Ok(None);
    }
    let algorithm = match (key_type, &modulus, &curve) {
        (Some(KeyType::RSA), Some(modulus), _) => Some(KeyAlgorithm::Rsa {
            bits: bits(modulus),
        }),
        (Some(KeyType::EC), _, Some(params)) => ObjectIdentifier::from_der(params)
            .ok()
            .and_then(curve_of)
            .map(KeyAlgorithm::Ec),
        // Ed25519's parameters are an OID (RFC 8410) or, with SoftHSM, the name "edwards25519".
        (Some(KeyType::EC_EDWARDS), _, Some(params)) if is_ed25519(params) => {
            Some(KeyAlgorithm::Ed25519)
        }
        (Some(KeyType::ML_DSA), _, _) => parameter_set(search, handle)?.map(KeyAlgorithm::MlDsa),
        _ => None,
    };
    let Some(algorithm) = algorithm else {
        return Ok(Some(Found::Unusable(KeyName {
            label: String::from_utf8_lossy(&label).into_owned(),
            id,
        })));
    };
    let public = match algorithm {
        KeyAlgorithm::Rsa { bits } => {
            attributes.modulus_bits = Some(bits);
            modulus
        }
        KeyAlgorithm::Ec(_) | KeyAlgorithm::Ed25519 => {
            public_octets(search, &label, &id, algorithm, AttributeType::EcPoint)?
        }
        KeyAlgorithm::MlDsa(_) => {
            public_octets(search, &label, &id, algorithm, AttributeType::Value)?
        }
    };
    let identity = KeyIdentity {
        label,
        id,
        algorithm,
        public,
    };
    Ok(Some(Found::Usable(Candidate {
        handle,
        identity,
        attributes,
    })))
}

/// Reads the parameter set on its own, because libraries older than PKCS#11 3.2 do not know the attribute.
fn parameter_set(search: &Search<'_>, handle: ObjectHandle) -> Result<Option<MlDsa>, NotOne> {
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
    Ok(known.map(|(_, set)| set))
}

/// Reads the public half from the public object with the private key's id, or its label where it has no id.
fn public_octets(
    search: &Search<'_>,
    label: &[u8],
    id: &[u8],
    algorithm: KeyAlgorithm,
    attribute: AttributeType,
) -> Result<Option<Vec<u8>>, NotOne> {
    let same = if id.is_empty() {
        Attribute::Label(label.to_vec())
    } else {
        Attribute::Id(id.to_vec())
    };
    let template = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::Token(true),
        same,
    ];
    // If there are too many objects, none is read: they differ, or the token has not been cleaned up for a long time.
    let handles = search.objects(&template, MOST_HALVES)?;
    let mut found = Vec::new();
    for handle in handles.unwrap_or_default() {
        for value in search.attributes(handle, &[attribute])? {
            if let Attribute::EcPoint(octets) | Attribute::Value(octets) = value {
                found.extend(unwrapped(&octets, algorithm));
            }
        }
    }
    found.dedup();
    // Public objects that differ do not tell which one belongs to the key.
    Ok(match found.len() {
        1 => found.pop(),
        _ => None,
    })
}
