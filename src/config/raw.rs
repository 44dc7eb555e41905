//! The operator's configuration as it is written. Only field names and types are checked here.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Fsync, OnFailure};
use crate::duration::GoDuration;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(default)]
    pub(super) modules: BTreeMap<String, Spanned<RawModule>>,
    #[serde(default)]
    pub(super) tokens: BTreeMap<String, Spanned<RawToken>>,
    #[serde(default)]
    pub(super) audit: RawAudit,
}

/// The issuance log.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawAudit {
    pub(super) cluster: Option<Spanned<String>>,
    pub(super) checkpoints: Option<Spanned<RawCheckpoints>>,
    pub(super) sinks: Option<Spanned<RawSinks>>,
    pub(super) on_failure: Option<OnFailure>,
}

/// The sinks of the issuance log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSinks {
    #[serde(default)]
    pub(super) stdout: bool,
    pub(super) file: Option<RawFileSink>,
}

/// A file with lines of the issuance log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawFileSink {
    pub(super) path: Spanned<PathBuf>,
    pub(super) rotate_mebibytes: Option<Spanned<u64>>,
    pub(super) rotate_age: Option<Spanned<GoDuration>>,
    #[serde(default)]
    pub(super) fsync: Fsync,
}

/// The key that signs the checkpoints of the issuance log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawCheckpoints {
    pub(super) token: Spanned<String>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) key_id: Option<Spanned<String>>,
    pub(super) every: Option<Spanned<GoDuration>>,
}

/// A PKCS#11 library, or the socket of a worker that has loaded a library.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModule {
    pub(super) path: Option<PathBuf>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    pub(super) socket: Option<PathBuf>,
}

/// A token and its grants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawToken {
    pub(super) module: Spanned<String>,
    pub(super) label: Option<Spanned<String>>,
    pub(super) serial: Option<Spanned<String>>,
    pub(super) slot_description: Option<Spanned<String>>,
    pub(super) slot_id: Option<Spanned<u64>>,
    pub(super) pin_file: Option<Spanned<PathBuf>>,
    pub(super) pin_record: Option<Spanned<PathBuf>>,
    pub(super) pin_secret_ref: Option<RawSecretRef>,
    pub(super) pin_from: Option<Spanned<RawPinFrom>>,
    pub(super) sessions: Option<Spanned<u16>>,
    pub(super) hang_after: Option<Spanned<GoDuration>>,
    pub(super) max_rejected_logins: Option<Spanned<u8>>,
    #[serde(default)]
    pub(super) keys: RawKeys,
    pub(super) grants: Option<Vec<Spanned<RawGrant>>>,
}

/// A key of a Secret in the controller's namespace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecretRef {
    pub(super) name: Spanned<String>,
    pub(super) key: Spanned<String>,
}

/// Issuers that provide the PIN.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPinFrom {
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) cluster_issuers: bool,
}

/// Deviations from the default rules for private keys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawKeys {
    pub(super) extractable: Option<Allow>,
    pub(super) unknown: Option<Allow>,
    pub(super) never_extractable: Option<Spanned<Require>>,
    pub(super) local: Option<Require>,
}

/// Value that relaxes a rule.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Allow {
    Allow,
}

/// Value that adds a rule.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Require {
    Require,
}

/// Issuers, the keys that they may use, and the limits.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawGrant {
    #[serde(default)]
    pub(super) namespaces: Vec<Spanned<String>>,
    pub(super) namespace_selector: Option<Spanned<RawSelector>>,
    #[serde(default)]
    pub(super) cluster_issuers: bool,
    #[serde(default)]
    pub(super) keys: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) key_ids: Vec<Spanned<String>>,
    pub(super) certificates: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) revoke_any: bool,
    #[serde(default)]
    pub(super) limits: RawLimits,
}

/// Labels that a namespace must have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawSelector {
    pub(super) match_labels: BTreeMap<String, String>,
}

/// Limits of the certificates that a grant's keys may sign.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawLimits {
    pub(super) max_duration: Option<Spanned<GoDuration>>,
    pub(super) names: Option<RawNames>,
    pub(super) subject: Option<BTreeMap<String, Spanned<Vec<Spanned<String>>>>>,
    pub(super) usages: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) ca: RawCa,
}

/// Names that certificates may contain. A type of name without a list allows none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawNames {
    pub(super) dns: Vec<Spanned<String>>,
    pub(super) ip: Vec<Spanned<String>>,
    pub(super) uri: Vec<Spanned<String>>,
    pub(super) email: Vec<Spanned<String>>,
}

/// CA certificates that a grant's keys may sign.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawCa {
    pub(super) allow: bool,
    pub(super) max_path_len: Option<u8>,
}
