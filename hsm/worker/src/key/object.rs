//! Reading private keys off the token, with as much of their public half as it tells.

use cryptoki::{
    error::Error,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use der::{Decode, asn1::ObjectIdentifier};
use hsm::protocol::{KeyAlgorithm, KeyAttributes, KeyIdentity, KeyName};

use super::{
    Candidate, Found,
    public::{bits, curve_of, is_ed25519, unwrapped, without_leading_zeros},
};

pub(super) fn find(
    session: &Session,
    label: Option<&[u8]>,
    id: Option<&[u8]>,
) -> Result<Vec<Found>, Error> {
    let mut template = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
    ];
    template.extend(label.map(|label| Attribute::Label(label.to_vec())));
    template.extend(id.map(|id| Attribute::Id(id.to_vec())));
    let handles = session.find_objects(&template)?;
    let keys = handles.into_iter().map(|handle| read(session, handle));
    keys.filter_map(Result::transpose).collect()
}

/// `None`: not a signing key.
fn read(session: &Session, handle: ObjectHandle) -> Result<Option<Found>, Error> {
    use AttributeType as T;
    let mut label = Vec::new();
    let mut id = Vec::new();
    let mut key_type = None;
    let mut modulus = None;
    let mut curve = None;
    let mut signs = true;
    let mut attributes = KeyAttributes::default();
    let asked = [
        T::Label,
        T::Id,
        T::KeyType,
        T::Sign,
        T::Sensitive,
        T::Extractable,
        T::NeverExtractable,
        T::Local,
        T::AlwaysAuthenticate,
        T::Modulus,
        T::EcParams,
    ];
    for attribute in attributes_of(session, handle, &asked)? {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "only what was asked for can come"
        )]
        match attribute {
            Attribute::Label(value) => label = value,
            Attribute::Id(value) => id = value,
            Attribute::KeyType(value) => key_type = Some(value),
            Attribute::Sign(value) => signs = value,
            Attribute::Sensitive(value) => attributes.sensitive = Some(value),
            Attribute::Extractable(value) => attributes.extractable = Some(value),
            Attribute::NeverExtractable(value) => attributes.never_extractable = Some(value),
            Attribute::Local(value) => attributes.local = Some(value),
            Attribute::AlwaysAuthenticate(value) => attributes.always_authenticate = Some(value),
            Attribute::Modulus(value) => modulus = Some(without_leading_zeros(value)),
            Attribute::EcParams(value) => curve = Some(value),
            _ => {}
        }
    }
    if !signs {
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
        _ => None,
    };
    let Some(algorithm) = algorithm else {
        return Ok(Some(Found::Unusable(KeyName {
            label: String::from_utf8_lossy(&label).into_owned(),
            id,
        })));
    };
    let public = match algorithm {
        KeyAlgorithm::Rsa { .. } => modulus,
        KeyAlgorithm::Ec(_) | KeyAlgorithm::Ed25519 => point(session, &label, &id, algorithm)?,
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

/// All at once; one by one where a single attribute that cannot be read would hide the others.
fn attributes_of(
    session: &Session,
    handle: ObjectHandle,
    asked: &[AttributeType],
) -> Result<Vec<Attribute>, Error> {
    match session.get_attributes(handle, asked) {
        Ok(attributes) => Ok(attributes),
        Err(error @ Error::Pkcs11(..)) => Err(error),
        Err(_undecodable) => {
            let each = asked
                .iter()
                .map(|kind| session.get_attributes(handle, &[*kind]));
            Ok(each.filter_map(Result::ok).flatten().collect())
        }
    }
}

/// The point of the public object that goes with a private key: same id, or same label where there is no id.
fn point(
    session: &Session,
    label: &[u8],
    id: &[u8],
    algorithm: KeyAlgorithm,
) -> Result<Option<Vec<u8>>, Error> {
    let same = if id.is_empty() {
        Attribute::Label(label.to_vec())
    } else {
        Attribute::Id(id.to_vec())
    };
    let handles = session.find_objects(&[
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::Token(true),
        same,
    ])?;
    let mut points = Vec::new();
    for handle in handles {
        for attribute in attributes_of(session, handle, &[AttributeType::EcPoint])? {
            if let Attribute::EcPoint(octets) = attribute {
                points.extend(unwrapped(&octets, algorithm));
            }
        }
    }
    points.dedup();
    // Two public objects that differ tell nothing.
    Ok(match points.len() {
        1 => points.pop(),
        _ => None,
    })
}
