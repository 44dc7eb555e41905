//! Checks the profile and converts it to rules that are consistent by type. An error names the field by its path.

use std::{fmt::Display, str::FromStr};

use jiff::SignedDuration;

use super::{
    AllowedSpec, BeyondCa, Curve, DeniedSpec, DnsSyntax, KeysSpec, MlDsa, OnIncompatible,
    ProfileSpec, RsaSpec, SansSpec, Spiffe, UsagesSpec, ValiditySpec,
};
use crate::{
    duration::GoDuration,
    issuance::{
        profile::{self, ProfileError, Rules},
        san, scheme,
        usage::Usage,
    },
};

impl TryFrom<ProfileSpec> for Rules {
    type Error = ProfileError;

    fn try_from(spec: ProfileSpec) -> Result<Self, ProfileError> {
        let ProfileSpec {
            validity,
            keys,
            usages,
            subject,
            sans,
            ca,
            extensions,
            // The pipeline draws the serial numbers and passes them to the core.
            serial: _,
        } = spec;
        Ok(Self {
            validity: validity.try_into()?,
            keys: keys.try_into()?,
            usages: usages.try_into()?,
            subject: subject.try_into()?,
            names: sans.try_into()?,
            ca: ca.try_into()?,
            extensions: extensions.try_into()?,
        })
    }
}

pub(super) fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, ProfileError> {
    text.parse()
        .map_err(|problem| ProfileError::new(field, problem))
}

pub(super) fn each<T>(
    field: &str,
    texts: &[String],
    read: impl Fn(&str, &str) -> Result<T, ProfileError>,
) -> Result<Vec<T>, ProfileError> {
    texts
        .iter()
        .enumerate()
        .map(|(index, text)| read(&format!("{field}[{index}]"), text))
        .collect()
}

/// Parses a list that may be omitted. An omitted list differs from an empty one.
fn limited<T: FromStr<Err: Display>>(
    field: &str,
    texts: Option<&Vec<String>>,
) -> Result<Option<Vec<T>>, ProfileError> {
    texts.map(|texts| each(field, texts, parse)).transpose()
}

impl TryFrom<ValiditySpec> for profile::ValidityRules {
    type Error = ProfileError;

    fn try_from(spec: ValiditySpec) -> Result<Self, ProfileError> {
        let ValiditySpec {
            default,
            min,
            max,
            backdate,
            beyond_ca,
            min_remaining,
        } = spec;
        let duration = |field: &str, text: &str| -> Result<SignedDuration, ProfileError> {
            parse::<GoDuration>(&format!("validity.{field}"), text).map(GoDuration::signed)
        };
        let min_remaining = duration("minRemaining", &min_remaining)?;
        Ok(Self {
            default: duration("default", &default)?,
            min: duration("min", &min)?,
            max: duration("max", &max)?,
            backdate: duration("backdate", &backdate)?,
            beyond_ca: match beyond_ca {
                BeyondCa::Reject => profile::BeyondCa::Reject,
                BeyondCa::Clamp => profile::BeyondCa::Clamp { min_remaining },
            },
        })
    }
}

impl TryFrom<KeysSpec> for profile::KeyRules {
    type Error = ProfileError;

    fn try_from(spec: KeysSpec) -> Result<Self, ProfileError> {
        let KeysSpec {
            rsa: RsaSpec { min_bits, max_bits },
            ecdsa,
            ed25519,
            mldsa,
            blocked_spki_sha256,
        } = spec;
        let hash = |field: &str, text: &str| {
            let mut hash = [0; 32];
            hex::decode_to_slice(text, &mut hash)
                .map(|()| hash)
                .map_err(|_| ProfileError::new(field, "must be 64 hexadecimal digits"))
        };
        Ok(Self {
            rsa_min_bits: usize::from(min_bits),
            rsa_max_bits: usize::from(max_bits),
            p256: ecdsa.contains(&Curve::P256),
            p384: ecdsa.contains(&Curve::P384),
            p521: ecdsa.contains(&Curve::P521),
            ed25519,
            ml_dsa: mldsa
                .into_iter()
                .map(|set| match set {
                    MlDsa::MlDsa44 => scheme::MlDsa::MlDsa44,
                    MlDsa::MlDsa65 => scheme::MlDsa::MlDsa65,
                    MlDsa::MlDsa87 => scheme::MlDsa::MlDsa87,
                })
                .collect(),
            blocked: each("keys.blockedSpkiSha256", &blocked_spki_sha256, hash)?,
        })
    }
}

impl TryFrom<UsagesSpec> for profile::UsageRules {
    type Error = ProfileError;

    fn try_from(spec: UsagesSpec) -> Result<Self, ProfileError> {
        let UsagesSpec {
            allowed,
            extra_eku,
            on_incompatible,
        } = spec;
        let usage = |field: &str, word: &str| {
            Usage::parse(word).ok_or_else(|| {
                ProfileError::new(field, format!("{word:?} is not a usage of cert-manager"))
            })
        };
        Ok(Self {
            allowed: each("usages.allowed", &allowed, usage)?,
            extra: each("usages.extraEKU", &extra_eku, parse)?,
            incompatible: match on_incompatible {
                OnIncompatible::Normalize => profile::Incompatible::Normalize,
                OnIncompatible::Reject => profile::Incompatible::Reject,
            },
        })
    }
}

impl TryFrom<SansSpec> for profile::NameRules {
    type Error = ProfileError;

    fn try_from(spec: SansSpec) -> Result<Self, ProfileError> {
        let SansSpec {
            max,
            allow_wildcards,
            dns_syntax,
            allowed:
                AllowedSpec {
                    dns,
                    ip,
                    uri,
                    email,
                    other_names,
                },
            denied:
                DeniedSpec {
                    dns: denied_dns,
                    ip: denied_ip,
                },
            spiffe,
        } = spec;
        Ok(Self {
            max: usize::from(max),
            wildcards: allow_wildcards,
            dns_syntax: match dns_syntax {
                DnsSyntax::Strict => san::DnsSyntax::Strict,
                DnsSyntax::Underscore => san::DnsSyntax::Underscore,
            },
            allowed: profile::AllowedNames {
                dns: limited("sans.allowed.dns", dns.as_ref())?,
                ip: limited("sans.allowed.ip", ip.as_ref())?,
                uri: limited("sans.allowed.uri", uri.as_ref())?,
                email: limited("sans.allowed.email", email.as_ref())?,
                other_names: each("sans.allowed.otherNames", &other_names, parse)?,
            },
            denied: profile::DeniedNames {
                dns: each("sans.denied.dns", &denied_dns, parse)?,
                ip: each("sans.denied.ip", &denied_ip, parse)?,
            },
            spiffe: match spiffe {
                Spiffe::Off => false,
                Spiffe::Strict => true,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(profile: Value) -> Result<Rules, ProfileError> {
        serde_json::from_value::<ProfileSpec>(profile)
            .unwrap()
            .try_into()
    }

    #[test]
    fn an_empty_profile_has_the_safe_defaults() {
        assert_eq!(read(json!({})), Ok(Rules::default()));
    }

    #[test]
    fn each_error_names_its_field() {
        let table = [
            (json!({"validity": {"min": "5"}}), "validity.min"),
            (
                json!({"validity": {"minRemaining": ""}}),
                "validity.minRemaining",
            ),
            (
                json!({"keys": {"blockedSpkiSha256": ["00"]}}),
                "keys.blockedSpkiSha256[0]",
            ),
            (
                json!({"usages": {"allowed": ["any", "Any"]}}),
                "usages.allowed[1]",
            ),
            (
                json!({"usages": {"extraEKU": ["9.9"]}}),
                "usages.extraEKU[0]",
            ),
            (
                json!({"sans": {"allowed": {"dns": ["a", "{{user}}.b"]}}}),
                "sans.allowed.dns[1]",
            ),
            (
                json!({"sans": {"allowed": {"ip": ["10.0.0.1/8"]}}}),
                "sans.allowed.ip[0]",
            ),
            (
                json!({"sans": {"allowed": {"uri": ["*"]}}}),
                "sans.allowed.uri[0]",
            ),
            (
                json!({"sans": {"allowed": {"email": ["a"]}}}),
                "sans.allowed.email[0]",
            ),
            (
                json!({"sans": {"allowed": {"otherNames": ["x"]}}}),
                "sans.allowed.otherNames[0]",
            ),
            (
                json!({"sans": {"denied": {"dns": [".a"]}}}),
                "sans.denied.dns[0]",
            ),
            (
                json!({"subject": {"allowedAttributes": ["CN", "X"]}}),
                "subject.allowedAttributes[1]",
            ),
            (json!({"subject": {"fixed": {"O": ["a"]}}}), "subject.fixed"),
            (
                json!({"subject": {"mode": "Fixed", "fixed": {"CN": ["a"]}}}),
                "subject.fixed.CN",
            ),
            (
                json!({"subject": {"mode": "Fixed", "fixed": {"O": ["{a}"]}}}),
                "subject.fixed.O[0]",
            ),
            (json!({"ca": {"pathLen": -2}}), "ca.pathLen"),
            (
                json!({"ca": {"nameConstraints": {"permitted": {"dns": ["*.a"]}}}}),
                "ca.nameConstraints.permitted.dns[0]",
            ),
            (
                json!({"ca": {"nameConstraints": {"excluded": {"uri": ["a/b"]}}}}),
                "ca.nameConstraints.excluded.uri[0]",
            ),
            (
                json!({"extensions": {"fromCSR": ["x"]}}),
                "extensions.fromCSR[0]",
            ),
            (
                json!({"extensions": {"policies": [{"oid": "1.2.3", "cps": "https://a/"}]}}),
                "extensions.policies[0].cps",
            ),
            (
                json!({"extensions": {"aia": {"ocsp": ["ftp://a/"]}}}),
                "extensions.aia.ocsp[0]",
            ),
            (
                json!({"extensions": {"crlDistributionPoints": ["http:///a"]}}),
                "extensions.crlDistributionPoints[0]",
            ),
            (
                json!({"sans": {"denied": {"ip": ["a"]}}}),
                "sans.denied.ip[0]",
            ),
        ];
        for (profile, field) in table {
            let error = read(profile).unwrap_err().to_string();
            assert!(error.starts_with(&format!("profile.{field}: ")), "{error}");
        }
    }

    #[test]
    fn an_empty_list_differs_from_an_omitted_list() {
        let names = |profile| read(profile).unwrap().names.allowed.dns;
        assert_eq!(names(json!({"sans": {"allowed": {}}})), None);
        assert_eq!(
            names(json!({"sans": {"allowed": {"dns": []}}})),
            Some(Vec::new())
        );
    }
}
