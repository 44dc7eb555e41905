//! Grants: which issuers may sign with which keys of a token, and within which limits. Pure.

use std::{collections::BTreeMap, fmt};

use serde_saphyr::{Location, Spanned};

use super::{
    error::{Problem, Wrong},
    raw::{RawGrant, RawSelector},
};
use crate::issuance::Limits;

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// Scope of an issuer, on which the grants depend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IssuerScope<'a> {
    /// A `PKCS11ClusterIssuer`.
    Cluster,
    /// A `PKCS11Issuer`.
    Namespace {
        /// Namespace of the issuer.
        name: &'a str,
        /// Labels of that namespace; empty if they are unknown, so that no selector matches.
        labels: &'a Labels,
    },
}

impl fmt::Display for IssuerScope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster issuers"),
            Self::Namespace { name, labels: _ } => write!(f, "issuers in namespace {name}"),
        }
    }
}

/// A set of keys of one token, the issuers that may use them, and the limits for their certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    grantee: Grantee,
    keys: Vec<KeyPattern>,
    /// SHA-256 of the DER of each allowed issuing certificate; `None` allows any.
    certificates: Option<Vec<[u8; 32]>>,
    /// Whether revocations in the issuer's namespace may name any certificate of its CA.
    revoke_any: bool,
    limits: Limits,
    /// SHA-256 of the JSON of the grant as it is written, hexadecimal; `None` for the default grant.
    sha256: Option<String>,
}

/// Issuers that a grant covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Grantee {
    ClusterIssuers,
    Namespaces {
        /// Names of the namespaces; `None` for every namespace with the labels.
        names: Option<Vec<String>>,
        /// Labels that a namespace must have as well; may be empty.
        labels: Labels,
    },
}

/// A pattern that selects keys. A grant covers a key if any of its patterns matches.
#[derive(Clone, Debug, Eq, PartialEq)]
enum KeyPattern {
    /// A glob on CKA_LABEL. `*` stands for any text, and no other character is special.
    Label(String),
    /// A complete CKA_ID.
    Id(Vec<u8>),
}

impl Grantee {
    fn is(&self, owner: IssuerScope<'_>) -> bool {
        match (self, owner) {
            (Self::ClusterIssuers, IssuerScope::Cluster) => true,
            (
                Self::Namespaces { names, labels },
                IssuerScope::Namespace {
                    name,
                    labels: found,
                },
            ) => {
                names
                    .as_ref()
                    .is_none_or(|names| names.iter().any(|listed| listed == name))
                    && labels
                        .iter()
                        .all(|(label, value)| found.get(label) == Some(value))
            }
            (Self::ClusterIssuers, IssuerScope::Namespace { .. })
            | (Self::Namespaces { .. }, IssuerScope::Cluster) => false,
        }
    }
}

impl Grant {
    /// Grants all keys of the token, with the default limits, which allow no CA certificates.
    pub(super) fn of_all_keys(grantee: Grantee) -> Self {
        Self {
            grantee,
            keys: vec![KeyPattern::Label("*".to_owned())],
            certificates: None,
            revoke_any: false,
            limits: Limits::default(),
            sha256: None,
        }
    }

    pub(super) const fn grantee(&self) -> &Grantee {
        &self.grantee
    }

    /// Returns whether the grant depends on the labels of namespaces.
    pub(super) fn has_selector(&self) -> bool {
        matches!(&self.grantee, Grantee::Namespaces { labels, .. } if !labels.is_empty())
    }

    /// Returns whether this grant covers issuers of that scope.
    pub(super) fn covers_scope(&self, owner: IssuerScope<'_>) -> bool {
        self.grantee.is(owner)
    }

    /// Returns whether this grant lets issuers of that scope sign with the key that has this CKA_LABEL and CKA_ID, with any
    /// issuing certificate.
    pub(super) fn covers(&self, owner: IssuerScope<'_>, key_label: &str, key_id: &[u8]) -> bool {
        self.covers_scope(owner) && self.covers_key(Some(key_label), Some(key_id))
    }

    /// Returns whether a pattern of this grant matches the key with this CKA_LABEL and CKA_ID. An unknown label (`None`)
    /// matches only a pattern for every label, an unknown id no pattern of an id.
    pub(super) fn covers_key(&self, key_label: Option<&str>, key_id: Option<&[u8]>) -> bool {
        self.keys.iter().any(|pattern| match pattern {
            KeyPattern::Label(glob) => match key_label {
                Some(label) => matches(glob, label),
                None => glob.bytes().all(|octet| octet == b'*'),
            },
            KeyPattern::Id(id) => key_id == Some(id.as_slice()),
        })
    }

    /// Returns whether the grant's keys may sign with the issuing certificate that has this SHA-256.
    pub(super) fn allows_certificate(&self, sha256: &[u8; 32]) -> bool {
        self.certificates
            .as_ref()
            .is_none_or(|allowed| allowed.contains(sha256))
    }

    /// Returns whether revocations in the namespace of a covered issuer may name any certificate of its CA, without a proof
    /// that its key is held. Other namespaces may have certificates of that CA.
    #[must_use]
    pub const fn revokes_any(&self) -> bool {
        self.revoke_any
    }

    /// Notes the SHA-256 of the JSON of the grant as it is written.
    pub(super) fn identify(&mut self, sha256: String) {
        self.sha256 = Some(sha256);
    }

    /// Returns the limits of the certificates.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the SHA-256 of the JSON of the grant as it is written, hexadecimal; `None` for the default grant.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }
}

/// Returns whether the text matches the glob. `*` stands for any text, also none; no other character is special.
fn matches(glob: &str, text: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut rest = rest;
    // Between two stars, take the earliest occurrence: it leaves the most text for the rest of the glob.
    while let Some((middle, after)) = rest.split_once('*') {
        match text.split_once(middle) {
            Some((_, remaining)) => (text, rest) = (remaining, after),
            None => return false,
        }
    }
    text.ends_with(rest)
}

impl TryFrom<RawGrant> for Grant {
    type Error = Wrong;

    fn try_from(raw: RawGrant) -> Result<Self, Wrong> {
        let RawGrant {
            namespaces,
            namespace_selector,
            cluster_issuers,
            keys,
            key_ids,
            certificates,
            revoke_any,
            limits,
        } = raw;
        let grantee = match (namespaces.is_empty(), namespace_selector, cluster_issuers) {
            (true, None, true) => Grantee::ClusterIssuers,
            (false, None, false) => Grantee::Namespaces {
                names: Some(each("namespaces", namespaces, namespace_name)?),
                labels: Labels::new(),
            },
            (listed, Some(selector), false) => Grantee::Namespaces {
                names: match listed {
                    true => None,
                    false => Some(each("namespaces", namespaces, namespace_name)?),
                },
                labels: selected(selector)?,
            },
            (true, None, false) | (false, None, true) | (_, Some(_), true) => {
                return Err(Wrong::new("", Location::UNKNOWN, Problem::Grantee));
            }
        };
        if revoke_any && grantee == Grantee::ClusterIssuers {
            return Err(Wrong::new(
                "revokeAny",
                Location::UNKNOWN,
                Problem::RevokeAny,
            ));
        }
        let mut patterns = each("keys", keys, label_pattern)?;
        patterns.extend(each("keyIds", key_ids, id_pattern)?);
        if patterns.is_empty() {
            return Err(Wrong::new("", Location::UNKNOWN, Problem::NoKeys));
        }
        let certificates = certificates
            .map(|list| match list.value.is_empty() {
                true => Err(Wrong::new(
                    "certificates",
                    list.referenced,
                    Problem::NoCertificates,
                )),
                false => each("certificates", list.value, fingerprint),
            })
            .transpose()?;
        let limits =
            Limits::try_from(limits).map_err(|wrong| wrong.within("limits", Location::UNKNOWN))?;
        Ok(Self {
            grantee,
            keys: patterns,
            certificates,
            revoke_any,
            limits,
            sha256: None,
        })
    }
}

/// Checks every element of a list. The error names the first invalid element.
pub(super) fn each<T, U>(
    field: &str,
    list: Vec<Spanned<T>>,
    check: impl Fn(T) -> Result<U, Problem>,
) -> Result<Vec<U>, Wrong> {
    let checked = |(index, element): (usize, Spanned<T>)| {
        check(element.value).map_err(|problem| {
            Wrong::new(
                format_args!("{field}[{index}]"),
                element.referenced,
                problem,
            )
        })
    };
    list.into_iter().enumerate().map(checked).collect()
}

/// Returns the labels that a namespace must have. An empty selector is an error: it would select every namespace, also
/// namespaces of other tenants.
fn selected(selector: Spanned<RawSelector>) -> Result<Labels, Wrong> {
    let RawSelector { match_labels } = selector.value;
    if match_labels.is_empty() {
        let field = "namespaceSelector.matchLabels";
        return Err(Wrong::new(field, selector.referenced, Problem::NoLabels));
    }
    Ok(match_labels)
}

/// Parses `sha256:` and the hash of a certificate's DER in hexadecimal, with or without colons between the octets.
fn fingerprint(text: String) -> Result<[u8; 32], Problem> {
    let mut hash = [0; 32];
    text.strip_prefix("sha256:")
        .map(|digits| digits.replace(':', ""))
        .and_then(|digits| hex::decode_to_slice(digits, &mut hash).ok())
        .map(|()| hash)
        .ok_or(Problem::Fingerprint(text))
}

/// Checks the name of a namespace. Patterns are not allowed: they would cover namespaces that do not exist yet.
pub(super) fn namespace_name(name: String) -> Result<String, Problem> {
    if is_name(&name) {
        Ok(name)
    } else {
        Err(Problem::Name(name))
    }
}

fn label_pattern(glob: String) -> Result<KeyPattern, Problem> {
    if glob.is_empty() {
        Err(Problem::EmptyPattern)
    } else {
        Ok(KeyPattern::Label(glob))
    }
}

fn id_pattern(text: String) -> Result<KeyPattern, Problem> {
    key_id(text).map(KeyPattern::Id)
}

/// Parses a CKA_ID in hexadecimal.
pub(super) fn key_id(text: String) -> Result<Vec<u8>, Problem> {
    match hex::decode(&text) {
        // Every key without an assigned CKA_ID has an empty one, so an empty CKA_ID names no particular key.
        Ok(id) if !id.is_empty() => Ok(id),
        Ok(_) | Err(_) => Err(Problem::KeyId(text)),
    }
}

/// Returns whether the text is a label of RFC 1123, 2.1, as Kubernetes restricts it: at most 63 lower-case letters, digits
/// and hyphens, with no hyphen at either end.
pub(super) fn is_name(text: &str) -> bool {
    let alphanumeric = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().last()];
    text.len() <= 63
        && ends.into_iter().all(|end| end.is_some_and(alphanumeric))
        && text
            .bytes()
            .all(|octet| alphanumeric(octet) || octet == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(grantee: Grantee, keys: &[&str]) -> Grant {
        let keys = keys
            .iter()
            .map(|glob| KeyPattern::Label((*glob).to_owned()))
            .collect();
        Grant {
            grantee,
            keys,
            certificates: None,
            revoke_any: false,
            limits: Limits::default(),
            sha256: None,
        }
    }

    #[test]
    fn only_a_star_is_special_in_a_glob() {
        for (glob, text, expected) in [
            ("issuing", "issuing", true),
            ("issuing", "issuing-2", false),
            ("*", "", true),
            ("*", "anything", true),
            ("payments-*", "payments-", true),
            ("payments-*", "payments-ca", true),
            ("payments-*", "payments", false),
            ("*-ca", "payments-ca", true),
            ("*-ca", "payments-ca-2", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a**a", "aa", true),
            ("*ab*ab", "ab", false),
            ("*ab*ab", "abab", true),
            ("k?y", "key", false),
            ("k[e]y", "key", false),
            ("Key", "key", false),
            ("schlüssel-*", "schlüssel-1", true),
        ] {
            assert_eq!(matches(glob, text), expected, "{glob} {text}");
        }
    }

    fn namespace(name: &str) -> IssuerScope<'_> {
        static NONE: Labels = Labels::new();
        IssuerScope::Namespace {
            name,
            labels: &NONE,
        }
    }

    #[test]
    fn a_namespace_may_use_only_keys_that_are_granted_to_it() {
        let payments = Grantee::Namespaces {
            names: Some(vec!["payments".into()]),
            labels: Labels::new(),
        };
        let grant = grant(payments, &["payments-*"]);
        assert!(grant.covers(namespace("payments"), "payments-ca", b""));
        assert!(!grant.covers(namespace("payments"), "issuing-ca", b""));
        assert!(!grant.covers(namespace("payments-2"), "payments-ca", b""));
        assert!(!grant.covers(IssuerScope::Cluster, "payments-ca", b""));
    }

    #[test]
    fn a_grant_to_cluster_issuers_does_not_cover_a_namespace() {
        let grant = Grant::of_all_keys(Grantee::ClusterIssuers);
        assert!(grant.covers(IssuerScope::Cluster, "", b""));
        assert!(!grant.covers(namespace("payments"), "issuing-ca", b""));
    }

    #[test]
    fn a_key_is_covered_by_its_whole_id() {
        let keys = vec![KeyPattern::Id(vec![0xa1, 0xb2])];
        let grant = Grant {
            grantee: Grantee::ClusterIssuers,
            keys,
            certificates: None,
            revoke_any: false,
            limits: Limits::default(),
            sha256: None,
        };
        let covers = |id: &[u8]| grant.covers(IssuerScope::Cluster, "any", id);
        assert!(covers(&[0xa1, 0xb2]));
        assert!(!covers(&[0xa1]));
        assert!(!covers(&[0xa1, 0xb2, 0xc3]));
    }
}
