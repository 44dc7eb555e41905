//! Lists of keys and certificates for people: everything that the token shows, whether it can be used here or not.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use der::{Decode as _, asn1::ObjectIdentifier};
use hsm::protocol::{
    KeyAlgorithm, KeyAttributes, MOST_NAME, MOST_OBJECTS, MOST_VALUE, ObjectPage, SeenCertificate,
    SeenKey, SeenKeyKind,
};

use super::{
    NotOne, Search,
    object::{OwnAttributes, own_attributes},
    told::{self, KeyValues, Kind},
};
use crate::token::Token;

/// A page ends with the object that exceeds this, so that it fits into a frame with the largest object.
const PAGE_OCTETS: usize = 32 * 1024;
/// Octets of an object besides its value, at most: names, attributes and mechanisms.
const OTHER_OCTETS: usize = 4096;
const MOST_ALLOWED: usize = 64;
/// Most characters of the name of a mechanism or a type.
const MOST_MECHANISM_NAME: usize = 50;

/// Lists private or public keys, without the first `from`.
pub(crate) fn keys(
    search: &Search<'_>,
    token: &Token,
    private: bool,
    from: u16,
) -> Result<ObjectPage<SeenKey>, NotOne> {
    let class = match private {
        true => ObjectClass::PRIVATE_KEY,
        false => ObjectClass::PUBLIC_KEY,
    };
    let read = |handle| match private {
        true => private_key(search, token, handle),
        false => public_key(search, handle),
    };
    page(search, class, from, read, |key| {
        key.public.as_ref().map_or(0, Vec::len)
    })
}

/// Lists certificates, without the first `from`.
pub(crate) fn certificates(
    search: &Search<'_>,
    from: u16,
) -> Result<ObjectPage<SeenCertificate>, NotOne> {
    let read = |handle| certificate(search, handle);
    page(search, ObjectClass::CERTIFICATE, from, read, |one| {
        one.der.as_ref().map_or(0, Vec::len)
    })
}

fn page<T>(
    search: &Search<'_>,
    class: ObjectClass,
    from: u16,
    read: impl Fn(ObjectHandle) -> Result<T, NotOne>,
    octets: impl Fn(&T) -> usize,
) -> Result<ObjectPage<T>, NotOne> {
    let template = [Attribute::Class(class), Attribute::Token(true)];
    let (handles, mut more) = search.first_objects(&template, MOST_OBJECTS.into())?;
    let mut objects = Vec::new();
    let mut length = 0;
    let mut handles = handles.into_iter().skip(from.into());
    for handle in handles.by_ref() {
        let object = read(handle)?;
        length += octets(&object) + OTHER_OCTETS;
        objects.push(object);
        if length > PAGE_OCTETS {
            break;
        }
    }
    more |= handles.next().is_some();
    Ok(ObjectPage { objects, more })
}

fn private_key(
    search: &Search<'_>,
    token: &Token,
    handle: ObjectHandle,
) -> Result<SeenKey, NotOne> {
    let OwnAttributes {
        label,
        id,
        told,
        mut attributes,
    } = own_attributes(search, handle)?;
    let (kind, public) = match told.kind(search, handle)? {
        Kind::Unsupported => (other(&told), None),
        Kind::Known(algorithm @ KeyAlgorithm::Rsa { bits }) => {
            attributes.modulus_bits = Some(bits);
            (SeenKeyKind::Known(algorithm), told.modulus())
        }
        Kind::Known(algorithm) => {
            let public = told::public_octets(search, &label, &id, algorithm)?;
            (SeenKeyKind::Known(algorithm), public)
        }
        Kind::Untold => match told.public_half(search, &id)? {
            Some((algorithm, public)) => (SeenKeyKind::Known(algorithm), Some(public)),
            None => (SeenKeyKind::Untold, None),
        },
    };
    let mut modifiable = None;
    let mut allowed_mechanisms = Vec::new();
    // Each on its own: a library that does not know the one may stop there.
    for asked in [AttributeType::Modifiable, AttributeType::AllowedMechanisms] {
        for attribute in search.attributes(handle, &[asked])? {
            if let Attribute::Modifiable(value) = attribute {
                modifiable = Some(value);
            } else if let Attribute::AllowedMechanisms(mechanisms) = attribute {
                let named = mechanisms.iter().take(MOST_ALLOWED);
                allowed_mechanisms = named.map(|one| cut(one.to_string())).collect();
            }
        }
    }
    search.next_call()?;
    let mechanisms = match &kind {
        SeenKeyKind::Known(algorithm) => token.mechanisms(*algorithm),
        SeenKeyKind::Other(_) | SeenKeyKind::Untold => Vec::new(),
    };
    Ok(SeenKey {
        label: name(label),
        id: name(id),
        kind,
        public: public.filter(|octets| octets.len() <= MOST_VALUE),
        attributes,
        modifiable,
        allowed_mechanisms,
        mechanisms,
    })
}

fn public_key(search: &Search<'_>, handle: ObjectHandle) -> Result<SeenKey, NotOne> {
    let (label, id) = names(search, handle)?;
    let told = KeyValues::of_public(search, handle)?;
    let (kind, public) = match told.kind(search, handle)? {
        Kind::Unsupported => (other(&told), None),
        Kind::Untold => (SeenKeyKind::Untold, None),
        Kind::Known(algorithm) => (
            SeenKeyKind::Known(algorithm),
            told::octets(search, handle, algorithm, &told)?,
        ),
    };
    Ok(SeenKey {
        label: name(label),
        id: name(id),
        kind,
        public: public.filter(|octets| octets.len() <= MOST_VALUE),
        attributes: KeyAttributes::default(),
        modifiable: None,
        allowed_mechanisms: Vec::new(),
        mechanisms: Vec::new(),
    })
}

fn certificate(search: &Search<'_>, handle: ObjectHandle) -> Result<SeenCertificate, NotOne> {
    let (label, id) = names(search, handle)?;
    let mut der = None;
    for attribute in search.attributes(handle, &[AttributeType::Value])? {
        if let Attribute::Value(value) = attribute {
            der = Some(value).filter(|der| (1..=MOST_VALUE).contains(&der.len()));
        }
    }
    Ok(SeenCertificate {
        label: name(label),
        id: name(id),
        der,
    })
}

/// Returns `CKA_LABEL` and `CKA_ID`.
fn names(search: &Search<'_>, handle: ObjectHandle) -> Result<(Vec<u8>, Vec<u8>), NotOne> {
    let (mut label, mut id) = (Vec::new(), Vec::new());
    for attribute in search.attributes(handle, &[AttributeType::Label, AttributeType::Id])? {
        if let Attribute::Label(value) = attribute {
            label = value;
        } else if let Attribute::Id(value) = attribute {
            id = value;
        }
    }
    Ok((label, id))
}

/// Names a type of key that this program does not sign with.
fn other(told: &KeyValues) -> SeenKeyKind {
    let Some(key_type) = told.key_type else {
        return SeenKeyKind::Untold;
    };
    let curve: Option<Result<ObjectIdentifier, _>> =
        told.curve.as_deref().map(ObjectIdentifier::from_der);
    SeenKeyKind::Other(cut(match curve {
        Some(Ok(curve)) => format!("{key_type} on curve {curve}"),
        Some(Err(_)) | None => key_type.to_string(),
    }))
}

fn name(mut octets: Vec<u8>) -> Vec<u8> {
    octets.truncate(MOST_NAME);
    octets
}

/// Cuts a name of the standard, none of which is so long.
fn cut(name: String) -> String {
    name.chars().take(MOST_MECHANISM_NAME).collect()
}
