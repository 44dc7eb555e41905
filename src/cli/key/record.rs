//! What commands about keys print as JSON and YAML. The names of fields stay.

use std::collections::BTreeSet;

use hsm::{
    KeySelector, SeenCertificate, SeenKey, SeenKeyKind, Uri,
    protocol::{KeyAttributes, MOST_NAME},
};
use serde::Serialize;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{
    Objects,
    owner::{Bond, bond},
};
use crate::cli::words::sha256;

/// The keys of a token.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeysRecord {
    /// URI of the token, RFC 7512.
    pub(super) token: String,
    /// Without a login, most tokens show no private keys.
    pub(super) logged_in: bool,
    /// The token has more keys or certificates than were read.
    pub(super) is_cut: bool,
    pub(super) keys: Vec<KeyRecord>,
    /// Certificates on the token that belong to none of the keys.
    pub(super) other_certificates: Vec<OnToken>,
}

/// A private key or, if the token shows no private key to it, a public key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyRecord {
    /// For `spec.key.uri` of an issuer; `null` if neither label nor id can be written in a URI.
    pub(super) uri: Option<String>,
    pub(super) class: KeyClass,
    pub(super) label: String,
    /// Hexadecimal.
    pub(super) id: String,
    /// Type and size or curve; `null` if the token does not tell.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// Why this program cannot sign with it; `null` if it can.
    pub(super) unusable: Option<&'static str>,
    /// What the attributes say about copies of a private key.
    pub(super) copies: Option<MayHaveCopies>,
    pub(super) attributes: AttributesRecord,
    /// `CKA_ALLOWED_MECHANISMS`; empty without such a limit.
    pub(super) allowed_mechanisms: Vec<String>,
    /// What the token claims to sign with such keys.
    pub(super) mechanisms: Vec<&'static str>,
    pub(super) certificates: Vec<OnToken>,
    #[serde(skip)]
    octets: Vec<u8>,
    #[serde(skip)]
    id_octets: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum KeyClass {
    Private,
    Public,
}

/// Whether copies of a key may exist outside the token, by the attributes of the key. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum MayHaveCopies {
    /// `CKA_SENSITIVE` is false: it can be read in plain text.
    Readable,
    /// `CKA_EXTRACTABLE` is true: it can leave the token.
    Extractable,
    /// `CKA_NEVER_EXTRACTABLE` or `CKA_LOCAL` is false: it was outside, or could leave the token once.
    Possible,
    /// The token does not tell enough.
    Unknown,
    /// It was made on the token and could never leave it.
    None,
}

/// Attributes as the token reports them, `null` where it reports none.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttributesRecord {
    pub(super) sensitive: Option<bool>,
    pub(super) always_sensitive: Option<bool>,
    pub(super) extractable: Option<bool>,
    pub(super) never_extractable: Option<bool>,
    pub(super) local: Option<bool>,
    pub(super) modifiable: Option<bool>,
    pub(super) always_authenticate: Option<bool>,
    pub(super) sign: Option<bool>,
}

/// A certificate object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnToken {
    pub(super) label: String,
    /// Hexadecimal.
    pub(super) id: String,
    /// `null` if it cannot be read as a certificate.
    pub(super) subject: Option<String>,
    /// RFC 3339.
    pub(super) not_after: Option<String>,
    pub(super) sha256: Option<String>,
    /// Only the `CKA_ID` shows that it belongs to the key: the token does not show the public half, or the certificate
    /// cannot be read.
    pub(super) by_id_only: bool,
}

impl KeysRecord {
    pub(super) fn of(objects: Objects) -> Self {
        let Objects {
            token,
            logged_in,
            private,
            public,
            certificates,
        } = objects;
        let is_cut = private.is_cut || public.is_cut || certificates.is_cut;
        let has_private = |half: &SeenKey| {
            private.objects.iter().any(|key| match &key.public {
                Some(octets) => Some(octets) == half.public.as_ref(),
                None => !key.id.is_empty() && key.id == half.id,
            })
        };
        let lonely = public.objects.iter().filter(|half| !has_private(half));
        let mut owned = BTreeSet::new();
        let private_keys = private.objects.iter().map(|key| (KeyClass::Private, key));
        let all = private_keys.chain(lonely.map(|key| (KeyClass::Public, key)));
        let mut keys: Vec<_> = all
            .map(|(class, key)| {
                let mut own = Vec::new();
                for (place, certificate) in certificates.objects.iter().enumerate() {
                    if let Some(bond) = bond(key, certificate) {
                        owned.insert(place);
                        own.push(OnToken::of(certificate, bond == Bond::Id));
                    }
                }
                KeyRecord::of(&token, class, key, own)
            })
            .collect();
        // Tokens list their objects in any order.
        keys.sort_by(|a, b| (&a.label, &a.id).cmp(&(&b.label, &b.id)));
        let others = certificates.objects.iter().enumerate();
        Self {
            token: token.to_string(),
            logged_in,
            is_cut,
            keys,
            other_certificates: others
                .filter(|(place, _)| !owned.contains(place))
                .map(|(_, certificate)| OnToken::of(certificate, false))
                .collect(),
        }
    }
}

impl KeyRecord {
    fn of(token: &Uri, class: KeyClass, key: &SeenKey, certificates: Vec<OnToken>) -> Self {
        let mut mechanisms: Vec<_> = key.mechanisms.iter().map(|one| one.name()).collect();
        mechanisms.dedup();
        // What was cut names nothing.
        let whole = |octets: &&Vec<u8>| (1..MOST_NAME).contains(&octets.len());
        let label = Some(&key.label).filter(whole).cloned();
        let label = label.and_then(|label| String::from_utf8(label).ok());
        let id = Some(&key.id).filter(whole).cloned();
        let is_named = label.is_some() || id.is_some();
        let uri = Uri::of_key(token.token().unwrap_or_default(), label, id);
        Self {
            uri: is_named.then(|| uri.to_string()),
            class,
            label: String::from_utf8_lossy(&key.label).into_owned(),
            id: hex::encode(&key.id),
            kind: match &key.kind {
                SeenKeyKind::Known(algorithm) => Some(algorithm.to_string()),
                SeenKeyKind::Other(name) => Some(name.clone()),
                SeenKeyKind::Untold => None,
            },
            unusable: unusable(class, key),
            copies: (class == KeyClass::Private).then(|| MayHaveCopies::of(&key.attributes)),
            attributes: AttributesRecord {
                sensitive: key.attributes.sensitive,
                always_sensitive: key.attributes.always_sensitive,
                extractable: key.attributes.extractable,
                never_extractable: key.attributes.never_extractable,
                local: key.attributes.local,
                modifiable: key.modifiable,
                always_authenticate: key.attributes.always_authenticate,
                sign: key.attributes.sign,
            },
            allowed_mechanisms: key.allowed_mechanisms.clone(),
            mechanisms,
            certificates,
            octets: key.label.clone(),
            id_octets: key.id.clone(),
        }
    }

    pub(super) fn is_private(&self) -> bool {
        self.class == KeyClass::Private
    }

    pub(super) fn matches(&self, wanted: &KeySelector) -> bool {
        let label = wanted.label.as_ref().map(String::as_bytes);
        label.is_none_or(|label| *label == self.octets)
            && wanted.id.as_ref().is_none_or(|id| *id == self.id_octets)
    }

    /// Returns the URI or, without one, label and id.
    pub(super) fn name(&self) -> String {
        self.uri
            .clone()
            .unwrap_or_else(|| format!("{:?} (id {})", self.label, self.id))
    }
}

fn unusable(class: KeyClass, key: &SeenKey) -> Option<&'static str> {
    match (class, &key.kind) {
        (KeyClass::Public, _) => Some("the token shows only its public half"),
        (_, _) if key.attributes.sign == Some(false) => Some("it may not sign (CKA_SIGN)"),
        (_, _) if key.attributes.always_authenticate == Some(true) => {
            Some("it wants its PIN for every signature (CKA_ALWAYS_AUTHENTICATE)")
        }
        (_, SeenKeyKind::Other(_)) => Some("keys of this type cannot sign certificates here"),
        (_, SeenKeyKind::Untold) => {
            Some("the token tells neither its type and size nor its public half")
        }
        (_, SeenKeyKind::Known(_)) => None,
    }
}

impl MayHaveCopies {
    /// PKCS#11 3.1, section 4.9.
    const fn of(attributes: &KeyAttributes) -> Self {
        match (
            attributes.sensitive,
            attributes.extractable,
            attributes.never_extractable,
            attributes.local,
        ) {
            (Some(false), _, _, _) => Self::Readable,
            (_, Some(true), _, _) => Self::Extractable,
            (_, _, Some(false), _) | (_, _, _, Some(false)) => Self::Possible,
            (Some(true), Some(false), Some(true), Some(true)) => Self::None,
            (None, _, _, _) | (_, None, _, _) | (_, _, None, _) | (_, _, _, None) => Self::Unknown,
        }
    }
}

impl OnToken {
    fn of(seen: &SeenCertificate, by_id_only: bool) -> Self {
        let der = seen.der.as_deref();
        let read = der.and_then(|der| Some(X509Certificate::from_der(der).ok()?.1));
        let end = read
            .as_ref()
            .map(|read| read.validity().not_after.timestamp());
        let end = end.and_then(|end| jiff::Timestamp::from_second(end).ok());
        Self {
            label: String::from_utf8_lossy(&seen.label).into_owned(),
            id: hex::encode(&seen.id),
            subject: read.as_ref().map(|read| read.subject().to_string()),
            not_after: end.map(|end| end.to_string()),
            sha256: read.as_ref().and(der).map(sha256),
            by_id_only,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_excluded_only_by_four_attributes_that_the_token_reports() {
        let good = KeyAttributes {
            sensitive: Some(true),
            extractable: Some(false),
            never_extractable: Some(true),
            local: Some(true),
            ..KeyAttributes::default()
        };
        let cases = [
            (good, MayHaveCopies::None),
            (KeyAttributes::default(), MayHaveCopies::Unknown),
            (
                KeyAttributes {
                    local: None,
                    ..good
                },
                MayHaveCopies::Unknown,
            ),
            (
                KeyAttributes {
                    local: Some(false),
                    ..good
                },
                MayHaveCopies::Possible,
            ),
            (
                KeyAttributes {
                    never_extractable: Some(false),
                    sensitive: None,
                    ..good
                },
                MayHaveCopies::Possible,
            ),
            (
                KeyAttributes {
                    extractable: Some(true),
                    never_extractable: Some(false),
                    ..good
                },
                MayHaveCopies::Extractable,
            ),
            (
                KeyAttributes {
                    sensitive: Some(false),
                    extractable: Some(true),
                    ..good
                },
                MayHaveCopies::Readable,
            ),
        ];
        for (attributes, expected) in cases {
            assert_eq!(MayHaveCopies::of(&attributes), expected, "{attributes:?}");
        }
    }
}
