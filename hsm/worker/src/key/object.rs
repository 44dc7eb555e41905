//! Reads private keys from the token, with their public half where the token shows it.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use hsm::protocol::{Failure, KeyAlgorithm, KeyAttributes, KeyIdentity, KeyName};

use super::{
    Candidate, Found, NotOne, Search,
    told::{self, KeyValues, Kind},
};

/// Most private keys that one look-up reads, to tell them apart by their public halves. More keys would keep the token
/// busy for seconds while others wait.
const MOST_KEYS: u16 = 500;

/// Finds private keys. `expected` is the type and size to assume for a key if the token does not tell them.
pub(super) fn find(
    search: &Search<'_>,
    label: Option<&[u8]>,
    id: Option<&[u8]>,
    expected: Option<KeyAlgorithm>,
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
    let keys = handles
        .into_iter()
        .map(|handle| read(search, handle, expected));
    keys.filter_map(Result::transpose).collect()
}

/// What a private key tells about itself.
#[derive(Debug, Default)]
pub(super) struct OwnAttributes {
    pub(super) label: Vec<u8>,
    pub(super) id: Vec<u8>,
    pub(super) told: KeyValues,
    pub(super) attributes: KeyAttributes,
}

/// Reads the attributes of one private key.
pub(super) fn own_attributes(
    search: &Search<'_>,
    handle: ObjectHandle,
) -> Result<OwnAttributes, NotOne> {
    use AttributeType as T;
    let mut own = OwnAttributes::default();
    let OwnAttributes {
        label,
        id,
        told,
        attributes,
    } = &mut own;
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
            Attribute::Label(value) => *label = value,
            Attribute::Id(value) => *id = value,
            Attribute::KeyType(value) => told.key_type = Some(value),
            Attribute::Sign(value) => attributes.sign = Some(value),
            Attribute::Sensitive(value) => attributes.sensitive = Some(value),
            Attribute::Extractable(value) => attributes.extractable = Some(value),
            Attribute::NeverExtractable(value) => attributes.never_extractable = Some(value),
            Attribute::Local(value) => attributes.local = Some(value),
            Attribute::AlwaysAuthenticate(value) => attributes.always_authenticate = Some(value),
            Attribute::AlwaysSensitive(value) => attributes.always_sensitive = Some(value),
            Attribute::Modulus(value) => told.modulus = Some(value),
            Attribute::EcParams(value) => told.curve = Some(value),
            _ => {}
        }
    }
    Ok(own)
}

/// Reads one private key. `None`: it is not a signing key.
fn read(
    search: &Search<'_>,
    handle: ObjectHandle,
    expected: Option<KeyAlgorithm>,
) -> Result<Option<Found>, NotOne> {
    let OwnAttributes {
        label,
        id,
        told,
        mut attributes,
    } = own_attributes(search, handle)?;
    if attributes.sign == Some(false) {
        return Ok(None);
    }
    let name = || KeyName {
        label: String::from_utf8_lossy(&label).into_owned(),
        id: id.clone(),
    };
    let (algorithm, public) = match told.kind(search, handle)? {
        Kind::Unsupported => return Ok(Some(Found::Unusable(name()))),
        Kind::Known(algorithm @ KeyAlgorithm::Rsa { .. }) => (algorithm, told.modulus()),
        Kind::Known(algorithm) => {
            let public = told::public_octets(search, &label, &id, algorithm)?;
            (algorithm, public)
        }
        // Vendors may leave the values of the public key out of the private key.
        Kind::Untold => match told.public_half(search, &id)? {
            Some((algorithm, public)) => (algorithm, Some(public)),
            None => match expected.filter(|expected| told.may_be(*expected)) {
                Some(expected) => (expected, None),
                None => return Ok(Some(Found::Untold(name()))),
            },
        },
    };
    if let KeyAlgorithm::Rsa { bits } = algorithm {
        attributes.modulus_bits = Some(bits);
    }
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
