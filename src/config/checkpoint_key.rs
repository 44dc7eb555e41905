//! The key that signs the checkpoints of the issuance log.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_saphyr::Location;

use super::{
    TokenConfig,
    error::{Problem, Wrong},
    field::{checked as field, or_default},
    grant::key_id,
    raw::RawCheckpoints,
};
use crate::duration::GoDuration;

const DEFAULT_EVERY: GoDuration = GoDuration::from_secs(10);
const MIN_EVERY: Duration = Duration::from_secs(1);
const MAX_EVERY: Duration = Duration::from_secs(3600);

/// How the checkpoints of the issuance log are signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoints {
    token: String,
    label: Option<String>,
    id: Option<Vec<u8>>,
    every: Duration,
}

impl Checkpoints {
    /// Returns the name of the token with the key.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the `CKA_LABEL` of the key; `None` for any.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Returns the `CKA_ID` of the key; `None` for any.
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// Returns the shortest time between two checkpoints.
    #[must_use]
    pub const fn every(&self) -> Duration {
        self.every
    }
}

/// Prints the key for messages.
impl fmt::Display for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.label, &self.id) {
            (Some(label), _) => write!(f, "key {label:?}"),
            (None, id) => write!(
                f,
                "the key with id {}",
                hex::encode(id.as_deref().unwrap_or_default())
            ),
        }
    }
}

/// Checks the settings. The token must be configured, and none of its grants may cover the key, as far as label or id tell.
pub(super) fn checked(
    raw: RawCheckpoints,
    tokens: &BTreeMap<String, TokenConfig>,
) -> Result<Checkpoints, Wrong> {
    let RawCheckpoints {
        token,
        key,
        key_id: id,
        every,
    } = raw;
    let token = field("token", token, |name| match tokens.get(&name) {
        Some(token) => Ok(token),
        None => {
            let known = tokens.keys().map(String::as_str);
            let known = known.collect::<Vec<_>>().join(", ");
            Err(Problem::UnknownToken(format!(
                "{name:?}: write one of {known}"
            )))
        }
    })?;
    let (place, named_by) = match (&key, &id) {
        (Some(key), _) => (key.referenced, "key"),
        (None, Some(id)) => (id.referenced, "keyId"),
        (None, None) => {
            return Err(Wrong::new("", Location::UNKNOWN, Problem::CheckpointKey));
        }
    };
    let label = key.map(|key| {
        field("key", key, |label| match label.is_empty() {
            true => Err(Problem::CheckpointKey),
            false => Ok(label),
        })
    });
    let checkpoints = Checkpoints {
        token: token.name().to_owned(),
        label: label.transpose()?,
        id: id.map(|id| field("keyId", id, key_id)).transpose()?,
        every: or_default("every", every, DEFAULT_EVERY, |every| {
            every
                .unsigned()
                .filter(|every| (MIN_EVERY..=MAX_EVERY).contains(every))
                .ok_or(Problem::CheckpointsEvery(every))
        })?,
    };
    match token.grant_of(checkpoints.label(), checkpoints.id()) {
        Some(grant) => Err(Wrong::new(
            named_by,
            place,
            Problem::CheckpointKeyGranted(format!(
                "{checkpoints} is granted by tokens.{}.{grant}",
                token.name()
            )),
        )),
        None => Ok(checkpoints),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    /// Returns the configuration with these grants of the token and these checkpoints, or its error.
    fn with(grants: &str, checkpoints: &str) -> Result<Config, String> {
        let text = format!(
            "modules: {{hsm: {{path: /lib/hsm.so}}}}\ntokens:\n  t:\n    module: hsm\n    label: t\n    \
             pinFile: /p\n    {grants}\naudit:\n  cluster: prod\n  checkpoints: {checkpoints}\n"
        );
        Config::parse(Path::new("config.yaml"), &text).map_err(|error| error.to_string())
    }

    const NARROW: &str = "grants: [{clusterIssuers: true, keys: [issuing-*], keyIds: [a1]}]";

    #[test]
    fn a_key_is_found_by_label_id_or_both() {
        for (text, label, id, seconds) in [
            ("{token: t, key: audit}", Some("audit"), None, 10),
            ("{token: t, keyId: B2}", None, Some([0xb2]), 10),
            (
                "{token: t, key: audit, keyId: b2, every: 1m}",
                Some("audit"),
                Some([0xb2]),
                60,
            ),
        ] {
            let config = with(NARROW, text).unwrap();
            let checkpoints = config.checkpoints().unwrap();
            assert_eq!(checkpoints.token(), "t");
            assert_eq!(checkpoints.label(), label, "{text}");
            assert_eq!(
                checkpoints.id(),
                id.as_ref().map(<[u8; 1]>::as_slice),
                "{text}"
            );
            assert_eq!(checkpoints.every().as_secs(), seconds, "{text}");
        }
        let unsigned = with(NARROW, "").unwrap();
        assert_eq!(unsigned.checkpoints(), None);
    }

    #[test]
    fn a_cluster_that_signs_checkpoints_has_a_name() {
        let text = "modules: {hsm: {path: /lib/hsm.so}}\n\
            tokens: {t: {module: hsm, label: t, grants: [{clusterIssuers: true, keys: [ca]}]}}\n\
            audit: {checkpoints: {token: t, key: audit}}\n";
        let error = Config::parse(Path::new("config.yaml"), text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "config.yaml:3:22: audit.checkpoints: the key that signs checkpoints is known by the cluster's name: write audit.cluster, too"
        );
    }

    #[test]
    fn no_issuer_can_be_granted_the_key_that_signs_checkpoints() {
        const ADVICE: &str = "and issuers must not sign with it: give every grant of the token `keys` and `keyIds` that do not match this key";
        for (grants, checkpoints, expected) in [
            (
                "",
                "{token: t, key: audit}",
                "config.yaml:10:32: audit.checkpoints.key: key \"audit\" is granted by tokens.t.grants[0] (every key, which is also the default), ",
            ),
            (
                "grants: [{clusterIssuers: true, keys: [ca]}, {namespaces: [shop], keys: [au*]}]",
                "{token: t, key: audit}",
                "config.yaml:10:32: audit.checkpoints.key: key \"audit\" is granted by tokens.t.grants[1], ",
            ),
            (
                NARROW,
                "{token: t, keyId: a1}",
                "config.yaml:10:34: audit.checkpoints.keyId: the key with id a1 is granted by tokens.t.grants[0], ",
            ),
            (
                "grants: [{clusterIssuers: true, keys: [\"*\"]}]",
                "{token: t, keyId: b2}",
                "config.yaml:10:34: audit.checkpoints.keyId: the key with id b2 is granted by tokens.t.grants[0] (every key, which is also the default), ",
            ),
        ] {
            let error = with(grants, checkpoints).unwrap_err();
            assert_eq!(error, format!("{expected}{ADVICE}"));
        }
    }

    #[test]
    fn wrong_settings_of_checkpoints_are_refused_at_their_place() {
        for (checkpoints, expected) in [
            (
                "{token: u, key: audit}",
                "config.yaml:10:24: audit.checkpoints.token: no token is called \"u\": write one of t",
            ),
            (
                "{token: t}",
                "config.yaml:10:16: audit.checkpoints: name the key that signs checkpoints: `key` (its CKA_LABEL), `keyId` (its CKA_ID in hexadecimal) or both",
            ),
            (
                "{token: t, key: audit, every: 0s}",
                "config.yaml:10:46: audit.checkpoints.every: every is 0s: write 1s to 1h, or omit the field for 10s",
            ),
            (
                "{token: t, keyId: x}",
                "config.yaml:10:34: audit.checkpoints.keyId: \"x\" is not a CKA_ID: write octets in hexadecimal, such as \"a1b2\"",
            ),
            (
                "{token: t, kye: audit}",
                "config.yaml:10:27: unknown field `kye`, expected one of token, key, keyId, every",
            ),
        ] {
            assert_eq!(with(NARROW, checkpoints).unwrap_err(), expected);
        }
    }
}
