//! Finding private keys: exactly one, or what matched.

use cryptoki::{
    error::Error,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use der::{
    Decode, Encode, Sequence, Tag, Tagged,
    asn1::{AnyRef, ObjectIdentifier, OctetStringRef, UintRef},
};
use hsm::protocol::{
    Curve, Failure, KeyAlgorithm, KeyAttributes, KeyIdentity, KeyName, KeySelector,
};
use spki::SubjectPublicKeyInfoRef;

/// A private key on the token, as this process sees it now.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) handle: ObjectHandle,
    pub(crate) identity: KeyIdentity,
    pub(crate) attributes: KeyAttributes,
}

/// Why no single key came out.
#[derive(Debug)]
pub(crate) enum NotOne {
    /// A call failed.
    Token(Error),
    /// None, several, or one that cannot be used.
    Failure(Failure),
}

impl From<Error> for NotOne {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const MOST_NAMED: usize = 32;

/// The one key that the selector describes.
pub(crate) fn select(session: &Session, selector: &KeySelector) -> Result<Candidate, NotOne> {
    let KeySelector {
        label,
        id,
        public_key,
    } = selector;
    let wanted = public_key
        .as_deref()
        .map(PublicHalf::parse)
        .transpose()
        .map_err(NotOne::Failure)?;
    let label = label.as_deref().map(str::as_bytes);
    let mut matching = Vec::new();
    let mut hidden = Vec::new();
    let mut differing = Vec::new();
    for found in find(session, label, id.as_deref())? {
        match (&wanted, found) {
            (None, found) => matching.push(found),
            (Some(wanted), Found::Usable(key)) if key.identity.algorithm == wanted.algorithm => {
                match &key.identity.public {
                    Some(public) if *public == wanted.public => matching.push(Found::Usable(key)),
                    Some(_) => differing.push(key.identity.name()),
                    None => hidden.push(Found::Usable(key)),
                }
            }
            (Some(_), other) => differing.push(other.name()),
        }
    }
    // A token may keep no public objects. Then label or id must do, and a probe signature shows whether it is the key.
    if matching.is_empty() && (label.is_some() || id.is_some()) {
        matching = hidden;
    }
    if matching.is_empty() && label.is_none() && id.is_none() {
        // Every other key of the token differs; that says nothing.
        differing.clear();
    }
    only(matching, differing)
}

/// The very key that was found before.
pub(crate) fn find_again(session: &Session, identity: &KeyIdentity) -> Result<Candidate, NotOne> {
    let found = find(session, Some(&identity.label), Some(&identity.id))?;
    let same = found
        .into_iter()
        .filter(|found| matches!(found, Found::Usable(key) if key.identity == *identity));
    only(same.collect(), Vec::new())
}

/// Whether the token shows any private key at all: none on a token that had some means that the library lost it.
pub(crate) fn any(session: &Session) -> Result<bool, Error> {
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
    ];
    session
        .iter_objects(&template)?
        .next()
        .transpose()
        .map(|first| first.is_some())
}

enum Found {
    Usable(Candidate),
    Unusable(KeyName),
}

impl Found {
    fn name(&self) -> KeyName {
        match self {
            Self::Usable(key) => key.identity.name(),
            Self::Unusable(name) => name.clone(),
        }
    }
}

fn only(mut matching: Vec<Found>, mut differing: Vec<KeyName>) -> Result<Candidate, NotOne> {
    let Some(last) = matching.pop() else {
        differing.truncate(MOST_NAMED);
        return Err(NotOne::Failure(Failure::KeyNotFound { differing }));
    };
    if !matching.is_empty() {
        let names = matching
            .iter()
            .chain([&last])
            .map(Found::name)
            .take(MOST_NAMED)
            .collect();
        return Err(NotOne::Failure(Failure::SeveralKeys(names)));
    }
    match last {
        Found::Unusable(name) => Err(NotOne::Failure(Failure::KeyType(name))),
        Found::Usable(key) if key.attributes.always_authenticate == Some(true) => Err(
            NotOne::Failure(Failure::AlwaysAuthenticate(key.identity.name())),
        ),
        Found::Usable(key) => Ok(key),
    }
}

fn find(session: &Session, label: Option<&[u8]>, id: Option<&[u8]>) -> Result<Vec<Found>, Error> {
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

/// `CKA_EC_POINT` is a DER OCTET STRING around the point; some libraries leave the wrapping out. A point's length
/// is known, so the two are told apart by it.
fn unwrapped(octets: &[u8], algorithm: KeyAlgorithm) -> Option<Vec<u8>> {
    let length = match algorithm {
        KeyAlgorithm::Rsa { .. } => return None,
        KeyAlgorithm::Ec(curve) => 1 + 2 * curve.field_octets(),
        KeyAlgorithm::Ed25519 => 32,
    };
    if octets.len() == length {
        return Some(octets.to_vec());
    }
    let inner = <&OctetStringRef>::from_der(octets).ok()?.as_bytes();
    (inner.len() == length).then(|| inner.to_vec())
}

/// The public half that a certificate names.
struct PublicHalf {
    algorithm: KeyAlgorithm,
    public: Vec<u8>,
}

/// RFC 8017, A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

impl PublicHalf {
    fn parse(spki: &[u8]) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::BadRequest {
            why: format!("the certificate's public key {why}"),
        };
        let spki = SubjectPublicKeyInfoRef::from_der(spki)
            .map_err(|_| bad("is not a SubjectPublicKeyInfo"))?;
        let octets = spki
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| bad("is not whole octets"))?;
        let unsupported = || {
            Failure::MechanismRefused {
            why: "the certificate's key is neither RSA nor ECDSA on P-256, P-384 or P-521 nor Ed25519".into(),
        }
        };
        match spki.algorithm.oid {
            RSA => {
                let key =
                    RsaPublicKey::from_der(octets).map_err(|_| bad("is not an RSAPublicKey"))?;
                let modulus = key.modulus.as_bytes().to_vec();
                Ok(Self {
                    algorithm: KeyAlgorithm::Rsa {
                        bits: bits(&modulus),
                    },
                    public: modulus,
                })
            }
            EC => {
                let curve = spki
                    .algorithm
                    .parameters_oid()
                    .ok()
                    .and_then(curve_of)
                    .ok_or_else(unsupported)?;
                Ok(Self {
                    algorithm: KeyAlgorithm::Ec(curve),
                    public: octets.to_vec(),
                })
            }
            ED25519 => Ok(Self {
                algorithm: KeyAlgorithm::Ed25519,
                public: octets.to_vec(),
            }),
            _ => Err(unsupported()),
        }
    }
}

fn curve_of(oid: ObjectIdentifier) -> Option<Curve> {
    match oid {
        P256 => Some(Curve::P256),
        P384 => Some(Curve::P384),
        P521 => Some(Curve::P521),
        _ => None,
    }
}

fn is_ed25519(params: &[u8]) -> bool {
    match AnyRef::from_der(params) {
        Ok(any) if any.tag() == Tag::PrintableString => any.value() == b"edwards25519",
        Ok(any) => any
            .to_der()
            .is_ok_and(|der| ObjectIdentifier::from_der(&der) == Ok(ED25519)),
        Err(_) => false,
    }
}

fn without_leading_zeros(mut octets: Vec<u8>) -> Vec<u8> {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    octets.drain(..zeros);
    octets
}

fn bits(modulus: &[u8]) -> u32 {
    let first = modulus.first().map_or(0, |first| first.leading_zeros());
    u32::try_from(modulus.len() * 8)
        .unwrap_or(u32::MAX)
        .saturating_sub(first)
}

#[cfg(test)]
mod tests {
    use hsm::protocol::{Curve, KeyAlgorithm};

    use super::{bits, unwrapped, without_leading_zeros};

    #[test]
    fn a_point_is_read_raw_and_wrapped() {
        let mut raw = vec![4_u8; 65];
        let algorithm = KeyAlgorithm::Ec(Curve::P256);
        assert_eq!(unwrapped(&raw, algorithm), Some(raw.clone()));
        let mut wrapped = vec![4, 65];
        wrapped.append(&mut raw);
        assert_eq!(unwrapped(&wrapped, algorithm), Some(wrapped[2..].to_vec()));
    }

    #[test]
    fn a_point_of_another_length_is_no_point() {
        assert_eq!(
            unwrapped(&[4, 3, 1, 2, 3], KeyAlgorithm::Ec(Curve::P384)),
            None
        );
    }

    #[test]
    fn the_size_of_an_rsa_key_is_that_of_its_modulus() {
        assert_eq!(bits(&without_leading_zeros(vec![0, 0x80, 0])), 16);
        assert_eq!(bits(&[0x7f]), 7);
    }
}
