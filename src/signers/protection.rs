//! Whether a key is kept as the operator requires, by what its token says of it. Pure.

use std::fmt;

use hsm::{KeyAttributes, KeyName};

use crate::config::KeyRules;

/// A key that an issuer may use, and that is not kept as the operator requires.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "key {key} is not protected as the operator requires: {}; use a key that is, or relax `keys` of the token in the configuration",
    .broken.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
)]
pub struct Unprotected {
    /// The key.
    pub key: KeyName,
    /// Every rule that it breaks; never empty.
    pub broken: Vec<Broken>,
}

/// One attribute that is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name in PKCS#11.
    pub attribute: &'static str,
    /// What the token says; `None` where it does not tell.
    pub found: Option<bool>,
    /// What it must be.
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
                "the token does not tell {attribute}, which must be {required}"
            ),
        }
    }
}

/// The rules that a key with these attributes breaks, in a fixed order; none is good.
///
/// PKCS#11 3.1, section 4.9: a key with `CKA_SENSITIVE` false can be read in plain text, and one with `CKA_EXTRACTABLE` true
/// can leave the token wrapped by any key that its user has. Nothing relaxes the first; what is required by name must be
/// told.
#[must_use]
pub fn broken(attributes: &KeyAttributes, rules: KeyRules) -> Vec<Broken> {
    let KeyRules {
        extractable_allowed,
        unknown_allowed,
        never_extractable_required,
        local_required,
    } = rules;
    // Attribute, what is told of it, what it must be, whether it must be so, whether it must be told.
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
    let breaks = |found: Option<bool>, required: bool, told: bool| {
        found.map_or(told, |found| found != required)
    };
    rows.into_iter()
        .filter(|(_, found, required, applies, told)| *applies && breaks(*found, *required, *told))
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

    /// As a token describes a key that it has made.
    const MADE: KeyAttributes = KeyAttributes {
        sensitive: Some(true),
        extractable: Some(false),
        never_extractable: Some(true),
        local: Some(true),
        always_authenticate: Some(false),
        always_sensitive: Some(true),
        sign: Some(true),
        modulus_bits: None,
    };
    /// The same of a key that was put there.
    const IMPORTED: KeyAttributes = KeyAttributes {
        never_extractable: Some(false),
        local: Some(false),
        always_sensitive: Some(false),
        ..MADE
    };
    const DEFAULT: KeyRules = KeyRules {
        extractable_allowed: false,
        unknown_allowed: false,
        never_extractable_required: false,
        local_required: false,
    };
    const WRAPPED_BACKUP: KeyRules = KeyRules {
        extractable_allowed: true,
        ..DEFAULT
    };
    const TACITURN: KeyRules = KeyRules {
        unknown_allowed: true,
        ..DEFAULT
    };
    const STRICT: KeyRules = KeyRules {
        never_extractable_required: true,
        local_required: true,
        ..DEFAULT
    };
    const STRICT_AND_TACITURN: KeyRules = KeyRules {
        unknown_allowed: true,
        ..STRICT
    };

    const SENSITIVE: &str = "CKA_SENSITIVE is false and must be true";
    const EXTRACTABLE: &str = "CKA_EXTRACTABLE is true and must be false";
    const NOT_TOLD: [&str; 4] = [
        "the token does not tell CKA_SENSITIVE, which must be true",
        "the token does not tell CKA_EXTRACTABLE, which must be false",
        "the token does not tell CKA_NEVER_EXTRACTABLE, which must be true",
        "the token does not tell CKA_LOCAL, which must be true",
    ];

    fn said(attributes: KeyAttributes, rules: KeyRules) -> Vec<String> {
        let broken = broken(&attributes, rules);
        broken.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_key_must_be_sensitive_and_not_extractable_and_the_token_must_tell_both() {
        let extractable = KeyAttributes {
            extractable: Some(true),
            never_extractable: Some(false),
            ..MADE
        };
        let plain = KeyAttributes {
            sensitive: Some(false),
            always_sensitive: Some(false),
            ..MADE
        };
        let silent = KeyAttributes::default();
        let of_each: [(KeyAttributes, KeyRules, &[&str]); 16] = [
            (MADE, DEFAULT, &[]),
            (MADE, STRICT, &[]),
            (MADE, STRICT_AND_TACITURN, &[]),
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
            (extractable, TACITURN, &[EXTRACTABLE]),
            (plain, DEFAULT, &[SENSITIVE]),
            (plain, WRAPPED_BACKUP, &[SENSITIVE]),
            (plain, TACITURN, &[SENSITIVE]),
            (silent, DEFAULT, &NOT_TOLD[..2]),
            (silent, WRAPPED_BACKUP, &NOT_TOLD[..1]),
            (silent, TACITURN, &[]),
            (silent, STRICT, &NOT_TOLD),
            (silent, STRICT_AND_TACITURN, &NOT_TOLD[2..]),
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
    fn every_broken_rule_is_named_with_the_key_and_what_to_do() {
        let plain = KeyAttributes {
            sensitive: Some(false),
            extractable: None,
            ..MADE
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
             the token does not tell CKA_EXTRACTABLE, which must be false; \
             use a key that is, or relax `keys` of the token in the configuration"
        );
    }
}
