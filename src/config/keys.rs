//! Attributes that a private key must have before it signs anything.

use super::{
    error::{Problem, Wrong},
    raw::{Allow, RawKeys, Require},
};

/// Rules for the private keys of one token. By default `CKA_SENSITIVE` must be true and `CKA_EXTRACTABLE` false, and the
/// token must report both.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeyProtection {
    /// `CKA_EXTRACTABLE` may be true: the key can leave the token wrapped by another key, as for a backup.
    pub extractable_allowed: bool,
    /// The token need not report `CKA_SENSITIVE` and `CKA_EXTRACTABLE`.
    pub unknown_allowed: bool,
    /// The token must report `CKA_NEVER_EXTRACTABLE` as true.
    pub never_extractable_required: bool,
    /// The token must report `CKA_LOCAL` as true: the key was generated on the token.
    pub local_required: bool,
}

impl TryFrom<RawKeys> for KeyProtection {
    type Error = Wrong;

    fn try_from(raw: RawKeys) -> Result<Self, Wrong> {
        let RawKeys {
            extractable,
            unknown,
            never_extractable,
            local,
        } = raw;
        if let (Some(Allow::Allow), Some(never)) = (extractable, &never_extractable) {
            return Err(Wrong::new(
                "keys.neverExtractable",
                never.referenced,
                Problem::KeysContradict,
            ));
        }
        Ok(Self {
            extractable_allowed: matches!(extractable, Some(Allow::Allow)),
            unknown_allowed: matches!(unknown, Some(Allow::Allow)),
            never_extractable_required: never_extractable
                .is_some_and(|never| matches!(never.value, Require::Require)),
            local_required: matches!(local, Some(Require::Require)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, TokenConfig};

    /// Returns a token whose configuration has these lines.
    fn with(lines: &str) -> Result<TokenConfig, String> {
        let text = format!(
            "modules: {{hsm: {{path: /lib/hsm.so}}}}\ntokens:\n  t:\n    module: hsm\n    label: t\n    \
             pinFile: /p\n    {lines}\n"
        );
        let config = Config::parse(Path::new("config.yaml"), &text);
        let config = config.map_err(|error| error.to_string())?;
        Ok(config.token("t").unwrap().clone())
    }

    #[test]
    fn each_setting_changes_only_its_own_rule() {
        let none = KeyProtection::default();
        let each = [
            ("", none),
            ("keys: {}", none),
            (
                "keys: {extractable: Allow}",
                KeyProtection {
                    extractable_allowed: true,
                    ..none
                },
            ),
            (
                "keys: {unknown: Allow}",
                KeyProtection {
                    unknown_allowed: true,
                    ..none
                },
            ),
            (
                "keys: {neverExtractable: Require, local: Require}",
                KeyProtection {
                    never_extractable_required: true,
                    local_required: true,
                    ..none
                },
            ),
        ];
        for (lines, expected) in each {
            assert_eq!(with(lines).unwrap().key_rules(), expected, "{lines}");
        }
    }

    #[test]
    fn an_error_in_the_rules_for_keys_names_its_place() {
        for (lines, expected) in [
            (
                "keys: {extractible: Allow}",
                "config.yaml:7:12: unknown field `extractible`, expected one of extractable, unknown, neverExtractable, local",
            ),
            (
                "keys: {extractable: Require}",
                "config.yaml:7:25: extractable: unknown variant `Require`, expected one of Allow",
            ),
            (
                "keys: {extractable: true}",
                "config.yaml:7:25: extractable: unknown variant `true`, expected one of Allow",
            ),
            (
                "keys: {local: Allow}",
                "config.yaml:7:19: local: unknown variant `Allow`, expected one of Require",
            ),
            (
                "keys: {extractable: Allow, neverExtractable: Require}",
                "config.yaml:7:50: tokens.t.keys.neverExtractable: `neverExtractable: Require` refuses",
            ),
        ] {
            let error = with(lines).unwrap_err();
            assert!(error.starts_with(expected), "{error}\n{expected}");
        }
    }

    #[test]
    fn only_rules_for_keys_and_grants_can_change_without_a_new_worker() {
        let before = with("").unwrap();
        for (lines, same) in [
            ("keys: {unknown: Allow}", true),
            ("grants: [{namespaces: [a], keys: [a]}]", true),
            ("hangAfter: 31s", false),
            ("sessions: 2", false),
            ("maxRejectedLogins: 1", false),
            ("pinRecord: /r", false),
        ] {
            let now = with(lines).unwrap();
            assert_ne!(now, before, "{lines}");
            assert_eq!(now.fits_the_worker_of(&before), same, "{lines}");
        }
    }
}
