//! The operator's configuration as it is written: no rule is checked here but names and shapes.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::duration::GoDuration;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(default)]
    pub(super) modules: BTreeMap<String, Spanned<RawModule>>,
    #[serde(default)]
    pub(super) tokens: BTreeMap<String, Spanned<RawToken>>,
}

/// A PKCS#11 library, or the socket of a worker that has loaded one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModule {
    pub(super) path: Option<PathBuf>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    pub(super) socket: Option<PathBuf>,
}

/// A token and who may use it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawToken {
    pub(super) module: Spanned<String>,
    pub(super) label: Option<Spanned<String>>,
    pub(super) serial: Option<Spanned<String>>,
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

/// Whose issuers bring the PIN.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPinFrom {
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) cluster_issuers: bool,
}

/// What a private key must be like, where that is not the default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawKeys {
    pub(super) extractable: Option<Allow>,
    pub(super) unknown: Option<Allow>,
    pub(super) never_extractable: Option<Spanned<Require>>,
    pub(super) local: Option<Require>,
}

/// The one word that relaxes a rule.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Allow {
    Allow,
}

/// The one word that adds a rule.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Require {
    Require,
}

/// Who may use which keys, and how far.
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
    pub(super) limits: RawLimits,
}

/// Labels that a namespace has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawSelector {
    pub(super) match_labels: BTreeMap<String, String>,
}

/// What certificates a grant's keys may sign.
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

/// The names that certificates may claim; a type without a list has none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawNames {
    pub(super) dns: Vec<Spanned<String>>,
    pub(super) ip: Vec<Spanned<String>>,
    pub(super) uri: Vec<Spanned<String>>,
    pub(super) email: Vec<Spanned<String>>,
}

/// The CA certificates that a grant's keys may sign.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawCa {
    pub(super) allow: bool,
    pub(super) max_path_len: Option<u8>,
}
