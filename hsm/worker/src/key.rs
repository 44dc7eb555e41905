//! Look-up of exactly one private key, or an error with the keys that matched.

mod list;
mod object;
mod public;
mod search;
mod told;

use cryptoki::{
    error::Error,
    object::{Attribute, ObjectClass, ObjectHandle},
    session::Session,
};
use hsm::protocol::{Failure, KeyAttributes, KeyIdentity, KeyName, KeySelector};

pub(crate) use self::{
    list::{certificates, keys},
    search::Search,
};
use self::{object::find, public::PublicHalf};

/// Private key on the token, as this process sees it now.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) handle: ObjectHandle,
    pub(crate) identity: KeyIdentity,
    pub(crate) attributes: KeyAttributes,
}

/// Why a look-up did not find exactly one usable key.
#[derive(Debug)]
pub(crate) enum NotOne {
    /// A call failed.
    Token(Error),
    /// No key matches, several do, or the one that does cannot be used.
    Failure(Failure),
}

impl From<Error> for NotOne {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

const MOST_NAMED: usize = 32;

/// Finds the one key that the selector describes.
pub(crate) fn select(search: &Search<'_>, selector: &KeySelector) -> Result<Candidate, NotOne> {
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
    let expected = wanted.as_ref().map(|wanted| wanted.algorithm);
    for found in find(search, label, id.as_deref(), expected)? {
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
    // A token may have no public objects. Then label or id must be enough, and a probe signature shows whether the key is
    // the right one.
    let named = label.is_some() || id.is_some();
    if matching.is_empty() && named {
        matching = hidden;
    } else if matching.is_empty() && !hidden.is_empty() {
        let names = hidden.iter().map(Found::name).take(MOST_NAMED).collect();
        return Err(NotOne::Failure(Failure::KeysHidden(names)));
    }
    if matching.is_empty() && !named {
        // Without label and id every other key of the token is in the list, which helps nobody.
        differing.clear();
    }
    only(matching, differing)
}

/// Finds a key again that was found before.
pub(crate) fn find_again(search: &Search<'_>, identity: &KeyIdentity) -> Result<Candidate, NotOne> {
    let expected = Some(identity.algorithm);
    let found = find(search, Some(&identity.label), Some(&identity.id), expected)?;
    let same = found
        .into_iter()
        .filter(|found| matches!(found, Found::Usable(key) if key.identity == *identity));
    only(same.collect(), Vec::new())
}

/// Returns whether the token shows any private key. If a token that had keys shows none, the library has lost the token.
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
    /// Its type cannot sign certificates here.
    Unusable(KeyName),
    /// The token tells neither its type and size nor its public half.
    Untold(KeyName),
}

impl Found {
    fn name(&self) -> KeyName {
        match self {
            Self::Usable(key) => key.identity.name(),
            Self::Unusable(name) | Self::Untold(name) => name.clone(),
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
        Found::Untold(name) => Err(NotOne::Failure(Failure::KeyTypeUnknown(name))),
        Found::Usable(key) if key.attributes.always_authenticate == Some(true) => Err(
            NotOne::Failure(Failure::AlwaysAuthenticate(key.identity.name())),
        ),
        Found::Usable(key) => Ok(key),
    }
}
