//! Checks that a key is protected as the operator requires, by the attributes that the token reports. Pure.

use std::fmt;

use hsm::{KeyAttributes, KeyName};

use crate::config::KeyProtection;

/// A granted key that is not protected as the operator requires.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "key {key} is not protected as the operator requires: {}; use a key that is, or relax `keys` of the token in the configuration",
    .broken.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
)]
pub struct Unprotected {
    /// The key.
    pub key: KeyName,
    /// Every rule that the key breaks; never empty.
    pub broken: Vec<Broken>,
}

/// One attribute with the wrong value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Name of the attribute in PKCS#11.
    pub attribute: &'static str,
    /// Value that the token reports; `None` if it reports none.
    pub found: Option<bool>,
    /// Value that the operator requires.
    pub required: bool,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            attribute,
            found,
            required,
        } = self;
        match found {
            Some(found) => write!(f, "{attribute} is {found} and must be {required}"),
            None => write!(
                f,
                "the token does not report {attribute}, which must be {required}"
            ),
        }
    }
}

/// Returns the rules that a key with these attributes breaks, in a fixed order; empty if the key is protected.
///
/// PKCS#11 3.1, section 4.9: a key with `CKA_SENSITIVE` false can be read in plain text, and a key with `CKA_EXTRACTABLE`
/// true can leave the token, wrapped by any key that its user has. No setting allows `CKA_SENSITIVE` false. If the operator
/// requires `CKA_NEVER_EXTRACTABLE` or `CKA_LOCAL`, the token must report it, even with `unknown_allowed`.
#[must_use]
pub fn broken(attributes: &KeyAttributes, rules: KeyProtection) -> Vec<Broken> {
    let KeyProtection {
        extractable_allowed,
        unknown_allowed,
        never_extractable_required,
        local_required,
    } = rules;
    // Attribute, reported value, required value, whether the rule applies, whether the token must report the attribute.
    let rows = [
        (
            "CKA_SENSITIVE",
            attributes.sensitive,
            true,
            true,
            !unknown_allowed,
        ),
        (
            "CKA_EXTRACTABLE",
            attributes.extractable,
            false,
            !extractable_allowed,
            !unknown_allowed,
        ),
        (
            "CKA_NEVER_EXTRACTABLE",
            attributes.never_extractable,
            true,
            never_extractable_required,
            true,
        ),
        ("CKA_LOCAL", attributes.local, true, local_required, true),
    ];
    let breaks = |found: Option<bool>, required: bool, must_report: bool| {
        found.map_or(must_report, |found| found != required)
    };
    rows.into_iter()
        .filter(|(_, found, required, applies, must_report)| {
            *applies && breaks(*found, *required, *must_report)
        })
        .map(|(attribute, found, required, _, _)| Broken {
            attribute,
            found,
            required,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attributes that a token reports for a key that it generated.
    const GENERATED: KeyAttributes = KeyAttributes {
        sensitive: Some(true),
        extractable: Some(false),
        never_extractable: Some(true),
        local: Some(true),
        always_authenticate: Some(false),
        always_sensitive: Some(true),
        sign: Some(true),
        modulus_bits: None,
    };
    /// Attributes that a token reports for an imported key.
    const IMPORTED: KeyAttributes = KeyAttributes {
        never_extractable: Some(false),
        local: Some(false),
        always_sensitive: Some(false),
        ..GENERATED
    };
    const DEFAULT: KeyProtection = KeyProtection {
        extractable_allowed: false,
        unknown_allowed: false,
        never_extractable_required: false,
        local_required: false,
    };
    const WRAPPED_BACKUP: KeyProtection = KeyProtection {
        extractable_allowed: true,
        ..DEFAULT
    };
    const UNKNOWN_ALLOWED: KeyProtection = KeyProtection {
        unknown_allowed: true,
        ..DEFAULT
    };
    const STRICT: KeyProtection = KeyProtection {
        never_extractable_required: true,
        local_required: true,
        ..DEFAULT
    };
    const STRICT_BUT_UNKNOWN_ALLOWED: KeyProtection = KeyProtection {
        unknown_allowed: true,
        ..STRICT
    };

    const SENSITIVE: &str = "CKA_SENSITIVE is false and must be true";
    const EXTRACTABLE: &str = "CKA_EXTRACTABLE is true and must be false";
    const UNREPORTED: [&str; 4] = [
        "the token does not report CKA_SENSITIVE, which must be true",
        "the token does not report CKA_EXTRACTABLE, which must be false",
        "the token does not report CKA_NEVER_EXTRACTABLE, which must be true",
        "the token does not report CKA_LOCAL, which must be true",
    ];

    fn said(attributes: KeyAttributes, rules: KeyProtection) -> Vec<String> {
        let broken = broken(&attributes, rules);
        broken.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_key_must_be_sensitive_and_not_extractable_and_the_token_must_tell_both() {
        let extractable = KeyAttributes {
            extractable: Some(true),
            never_extractable: Some(false),
            ..GENERATED
        };
        let plain = KeyAttributes {
            sensitive: Some(false),
            always_sensitive: Some(false),
            ..GENERATED
        };
        let silent = KeyAttributes::default();
        let of_each: [(KeyAttributes, KeyProtection, &[&str]); 16] = [
            (GENERATED, DEFAULT, &[]),
            (GENERATED, STRICT, &[]),
            (GENERATED, STRICT_BUT_UNKNOWN_ALLOWED, &[]),
            (IMPORTED, DEFAULT, &[]),
            (
                IMPORTED,
                STRICT,
                &[
                    "CKA_NEVER_EXTRACTABLE is false and must be true",
                    "CKA_LOCAL is false and must be true",
                ],
            ),
            (extractable, DEFAULT, &[EXTRACTABLE]),
            (extractable, WRAPPED_BACKUP, &[]),
            (extractable, UNKNOWN_ALLOWED, &[EXTRACTABLE]),
            (plain, DEFAULT, &[SENSITIVE]),
            (plain, WRAPPED_BACKUP, &[SENSITIVE]),
            (plain, UNKNOWN_ALLOWED, &[SENSITIVE]),
            (silent, DEFAULT, &UNREPORTED[..2]),
            (silent, WRAPPED_BACKUP, &UNREPORTED[..1]),
            (silent, UNKNOWN_ALLOWED, &[]),
            (silent, STRICT, &UNREPORTED),
            (silent, STRICT_BUT_UNKNOWN_ALLOWED, &UNREPORTED[2..]),
        ];
        for (attributes, rules, expected) in of_each {
            assert_eq!(
                said(attributes, rules),
                expected,
                "{attributes:?} {rules:?}"
            );
        }
    }

    #[test]
    fn the_error_names_the_key_and_every_broken_rule_and_gives_advice() {
        let plain = KeyAttributes {
            sensitive: Some(false),
            extractable: None,
            ..GENERATED
        };
        let unprotected = Unprotected {
            key: KeyName {
                label: "ca".to_owned(),
                id: vec![1, 0xab],
            },
            broken: broken(&plain, DEFAULT),
        };
        assert_eq!(
            unprotected.to_string(),
            "key \"ca\" (id 01ab) is not protected as the operator requires: \
             CKA_SENSITIVE is false and must be true, \
             the token does not report CKA_EXTRACTABLE, which must be false; \
             use a key that is, or relax `keys` of the token in the configuration"
        );
    }
}
