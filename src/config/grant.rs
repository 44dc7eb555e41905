//! Which issuers may sign with which keys of a token, and how far. Pure.

use serde_saphyr::{Location, Spanned};

use super::{
    check::is_name,
    error::{Problem, Wrong},
    raw::{RawGrant, RawLimits},
};
use crate::duration::GoDuration;

/// Where an issuer lives; this decides which keys it may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IssuerScope<'a> {
    /// A `PKCS11ClusterIssuer`.
    Cluster,
    /// A `PKCS11Issuer` in this namespace.
    Namespace(&'a str),
}

/// A set of keys of one token, the issuers that may use them, and the limits of what they sign.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    grantee: Grantee,
    keys: Vec<KeyPattern>,
    limits: Limits,
}

/// To whom a grant is given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Grantee {
    ClusterIssuers,
    Namespaces(Vec<String>),
}

/// One way to name keys; a key is covered when any pattern of the grant matches.
#[derive(Clone, Debug, Eq, PartialEq)]
enum KeyPattern {
    /// A glob on CKA_LABEL; `*` stands for any text, all else for itself.
    Label(String),
    /// The whole of CKA_ID.
    Id(Vec<u8>),
}

/// What certificates may be signed under a grant. An issuer's profile may narrow it and never widen it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Whether CA certificates may be signed. Never so without `limits` that say it.
    pub allow_ca: bool,
    /// The longest validity; `None` leaves it to the profile. Always above zero.
    pub max_duration: Option<GoDuration>,
    /// The DNS names allowed, in lower case: a name itself, or `*.name` for every name below it.
    /// `None` leaves it to the profile; an empty list allows no DNS name.
    pub allowed_dns: Option<Vec<String>>,
}

impl Grant {
    /// All keys of the token for one sort of issuer, without limits (hence without CA certificates).
    pub(super) fn of_all_keys(grantee: Grantee) -> Self {
        Self {
            grantee,
            keys: vec![KeyPattern::Label("*".to_owned())],
            limits: Limits::default(),
        }
    }

    pub(super) const fn grantee(&self) -> &Grantee {
        &self.grantee
    }

    /// The limits, if this grant lets issuers of that scope sign with the key that has this CKA_LABEL and CKA_ID.
    #[must_use]
    pub fn covers(
        &self,
        owner: IssuerScope<'_>,
        key_label: &str,
        key_id: &[u8],
    ) -> Option<&Limits> {
        let granted = match (&self.grantee, owner) {
            (Grantee::ClusterIssuers, IssuerScope::Cluster) => true,
            (Grantee::Namespaces(namespaces), IssuerScope::Namespace(owner)) => {
                namespaces.iter().any(|n| n == owner)
            }
            (Grantee::ClusterIssuers, IssuerScope::Namespace(_))
            | (Grantee::Namespaces(_), IssuerScope::Cluster) => false,
        };
        let covered = self.keys.iter().any(|pattern| match pattern {
            KeyPattern::Label(glob) => matches(glob, key_label),
            KeyPattern::Id(id) => id == key_id,
        });
        (granted && covered).then_some(&self.limits)
    }
}

/// Whether the text is what the glob says; `*` stands for any text, also none, and nothing else is special.
fn matches(glob: &str, text: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut rest = rest;
    // Between two stars the earliest occurrence is right: it leaves the most for what follows.
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
            cluster_issuers,
            keys,
            key_ids,
            limits,
        } = raw;
        let grantee = match (namespaces.is_empty(), cluster_issuers) {
            (true, true) => Grantee::ClusterIssuers,
            (false, false) => Grantee::Namespaces(each("namespaces", namespaces, namespace_name)?),
            (true, false) | (false, true) => {
                return Err(Wrong::new("", Location::UNKNOWN, Problem::Grantee));
            }
        };
        let mut patterns = each("keys", keys, label_pattern)?;
        patterns.extend(each("keyIds", key_ids, id_pattern)?);
        if patterns.is_empty() {
            return Err(Wrong::new("", Location::UNKNOWN, Problem::NoKeys));
        }
        let limits =
            Limits::try_from(limits).map_err(|wrong| wrong.within("limits", Location::UNKNOWN))?;
        Ok(Self {
            grantee,
            keys: patterns,
            limits,
        })
    }
}

impl TryFrom<RawLimits> for Limits {
    type Error = Wrong;

    fn try_from(raw: RawLimits) -> Result<Self, Wrong> {
        let RawLimits {
            allow_ca,
            max_duration,
            allowed_dns,
        } = raw;
        if let Some(duration) = max_duration
            .as_ref()
            .filter(|duration| !duration.value.is_positive())
        {
            return Err(Wrong::new(
                "maxDuration",
                duration.referenced,
                Problem::MaxDuration(duration.value),
            ));
        }
        let max_duration = max_duration.map(|duration| duration.value);
        let allowed_dns = allowed_dns
            .map(|names| each("allowedDNS", names, dns_pattern))
            .transpose()?;
        Ok(Self {
            allow_ca,
            max_duration,
            allowed_dns,
        })
    }
}

/// Checks every element of a list, and names the first that is wrong.
fn each<T, U>(
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

/// A namespace as it is: a pattern would grant to namespaces that do not exist yet.
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
    match hex::decode(&text) {
        // An empty CKA_ID is what keys have that nobody gave one, so it names none of them.
        Ok(id) if !id.is_empty() => Ok(KeyPattern::Id(id)),
        Ok(_) | Err(_) => Err(Problem::KeyId(text)),
    }
}

/// RFC 1034, 3.5 and RFC 1123, 2.1: letters, digits, hyphens; RFC 6125, 6.4.3: a wildcard is the whole leftmost label.
fn dns_pattern(pattern: String) -> Result<String, Problem> {
    let pattern = pattern.to_ascii_lowercase();
    let name = pattern.strip_prefix("*.").unwrap_or(&pattern);
    if name.len() <= 253 && name.split('.').all(is_name) {
        Ok(pattern)
    } else {
        Err(Problem::Dns(pattern))
    }
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
            limits: Limits::default(),
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

    #[test]
    fn a_namespace_has_only_what_is_granted_to_it() {
        let grant = grant(
            Grantee::Namespaces(vec!["payments".into()]),
            &["payments-*"],
        );
        assert!(
            grant
                .covers(IssuerScope::Namespace("payments"), "payments-ca", b"")
                .is_some()
        );
        assert!(
            grant
                .covers(IssuerScope::Namespace("payments"), "issuing-ca", b"")
                .is_none()
        );
        assert!(
            grant
                .covers(IssuerScope::Namespace("payments-2"), "payments-ca", b"")
                .is_none()
        );
        assert!(
            grant
                .covers(IssuerScope::Cluster, "payments-ca", b"")
                .is_none()
        );
    }

    #[test]
    fn cluster_issuers_share_nothing_with_a_namespace() {
        let grant = Grant::of_all_keys(Grantee::ClusterIssuers);
        assert!(grant.covers(IssuerScope::Cluster, "", b"").is_some());
        assert!(
            grant
                .covers(IssuerScope::Namespace("payments"), "issuing-ca", b"")
                .is_none()
        );
    }

    #[test]
    fn a_key_is_covered_by_its_whole_id() {
        let keys = vec![KeyPattern::Id(vec![0xa1, 0xb2])];
        let grant = Grant {
            grantee: Grantee::ClusterIssuers,
            keys,
            limits: Limits::default(),
        };
        assert!(
            grant
                .covers(IssuerScope::Cluster, "any", &[0xa1, 0xb2])
                .is_some()
        );
        assert!(grant.covers(IssuerScope::Cluster, "any", &[0xa1]).is_none());
        assert!(
            grant
                .covers(IssuerScope::Cluster, "any", &[0xa1, 0xb2, 0xc3])
                .is_none()
        );
    }

    #[test]
    fn dns_patterns_are_names_or_a_star_before_one() {
        for good in [
            "shop.example",
            "*.shop.example",
            "SHOP.example",
            "localhost",
            "xn--bcher-kva.example",
        ] {
            assert!(dns_pattern(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "a.*.example",
            "w*.example",
            "a..example",
            "a.example.",
            "-a.example",
            "a b.example",
        ] {
            assert!(dns_pattern(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
