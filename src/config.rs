//! The operator's configuration, the only place that names PKCS#11 libraries and tokens.

mod check;
mod checkpoint_key;
mod error;
mod field;
mod grant;
mod keys;
mod limits;
mod log;
mod raw;

use std::{
    collections::BTreeMap,
    fs,
    num::{NonZeroU8, NonZeroU16},
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use self::check::PIN_RECORD;
pub use self::{
    check::MAX_HANG_AFTER,
    checkpoint_key::Checkpoints,
    error::{ConfigError, Problem},
    grant::{Grant, IssuerScope, Labels},
    keys::KeyProtection,
    log::{FileSink, Fsync, LogSettings, OnFailure},
};
use self::{error::Wrong, raw::RawConfig};

/// Checked configuration of the operator: every token has a module, a PIN source and a grant.
///
/// The existence of a library is not checked here, because it may change. An issuer's condition reports a missing library.
#[derive(Clone, Debug)]
pub struct Config {
    tokens: BTreeMap<String, TokenConfig>,
    cluster: String,
    log: LogSettings,
    /// SHA-256 of the text, hexadecimal.
    sha256: String,
    checkpoints: Option<Checkpoints>,
}

/// A PKCS#11 library that a worker loads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Module {
    /// Name of the module in the configuration.
    pub name: String,
    /// Location of the library.
    pub library: Library,
}

/// Location of a PKCS#11 library. One library with two environments counts as two, which may use two devices.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Library {
    /// A file that the controller's own worker loads.
    Path {
        /// Absolute path of the file.
        path: PathBuf,
        /// Complete environment of the library, as the operator sets it.
        env: BTreeMap<String, String>,
    },
    /// A worker in a separate container loads the library and listens on this absolute path.
    Socket(PathBuf),
}

/// A token, its login and its grants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenConfig {
    name: String,
    module: Module,
    selector: TokenSelector,
    pin: PinSource,
    sessions: Option<NonZeroU16>,
    hang_after: Duration,
    max_rejected_logins: NonZeroU8,
    keys: KeyProtection,
    grants: Vec<Grant>,
}

/// Criterion that finds a token among the tokens of its module.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TokenSelector {
    /// By CK_TOKEN_INFO.label, without the padding.
    Label(String),
    /// By CK_TOKEN_INFO.serialNumber, without the padding.
    Serial(String),
    /// By CK_SLOT_INFO.slotDescription, without the padding: the last resort, for tokens that neither label nor serial
    /// number tells apart.
    SlotDescription(String),
    /// By the slot's id: the very last resort, because some libraries change the ids of their slots.
    SlotId(u64),
}

/// Source of a token's PIN.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PinSource {
    /// No PIN: the token's keys sign without a login.
    None,
    /// The operator provides the PIN in a file.
    File {
        /// The file.
        path: PathBuf,
        /// File of the PIN record that `sign` keeps; the controller keeps its own in a Secret.
        record: PathBuf,
    },
    /// The operator provides the PIN in a Secret of the controller's namespace.
    Secret {
        /// Name of the Secret.
        name: String,
        /// The key in it.
        key: String,
    },
    /// The cluster issuers of this token provide the PIN, each through its `pinSecretRef`.
    ClusterIssuers,
    /// The issuers of this token in one namespace provide the PIN, each through its `pinSecretRef`.
    IssuersIn(String),
}

/// Name of the cluster in the issuance log, if the configuration has none.
const UNNAMED_CLUSTER: &str = "unnamed";

impl Config {
    /// Returns the name of the cluster, which tells its issuance logs from those of other clusters.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Returns the sinks of the issuance log, and what happens if one accepts no lines.
    #[must_use]
    pub const fn log(&self) -> &LogSettings {
        &self.log
    }

    /// Returns the SHA-256 of the configuration's text, hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the number of grants of all tokens.
    #[must_use]
    pub fn grants(&self) -> usize {
        self.tokens.values().map(|token| token.grants.len()).sum()
    }

    /// Returns how the checkpoints of the issuance log are signed; `None` leaves them without a signature.
    #[must_use]
    pub const fn checkpoints(&self) -> Option<&Checkpoints> {
        self.checkpoints.as_ref()
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// The file cannot be read, is not YAML with the known fields, or breaks a rule. The message names the file and the
    /// place in it, and says what to write instead.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(file, &Self::read(file)?)
    }

    /// Reads the file; [`Config::parse`] checks it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(file: &Path) -> Result<String, ConfigError> {
        fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })
    }

    /// Checks the text of a configuration; `file` is for messages only.
    ///
    /// # Errors
    /// As [`Config::load`], except for reading the file.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let malformed = |error| ConfigError::Parse {
            file: file.to_owned(),
            text: error::one_line(text, &error),
        };
        let raw: RawConfig = serde_saphyr::from_str(text).map_err(malformed)?;
        let values: serde_json::Value = serde_saphyr::from_str(text).map_err(malformed)?;
        let mut config = Self::try_from(raw).map_err(
            |Wrong {
                 field,
                 location,
                 problem,
             }| ConfigError::Check {
                file: file.to_owned(),
                location,
                field,
                problem,
            },
        )?;
        config.sha256 = sha256(text.as_bytes());
        for (name, token) in &mut config.tokens {
            let written = values.pointer(&format!("/tokens/{name}/grants"));
            let written = written.and_then(serde_json::Value::as_array);
            for (grant, value) in token.grants.iter_mut().zip(written.into_iter().flatten()) {
                grant.identify(sha256(value.to_string().as_bytes()));
            }
        }
        Ok(config)
    }

    /// Returns the token with that name.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<&TokenConfig> {
        self.tokens.get(name)
    }

    /// Returns all tokens, sorted by name.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenConfig> {
        self.tokens.values()
    }
}

impl TokenConfig {
    /// Name of the token in `spec.token` of issuers; also a metric label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Module of the token.
    #[must_use]
    pub const fn module(&self) -> &Module {
        &self.module
    }

    /// Criterion that finds the token.
    #[must_use]
    pub const fn selector(&self) -> &TokenSelector {
        &self.selector
    }

    /// Source of the PIN.
    #[must_use]
    pub const fn pin(&self) -> &PinSource {
        &self.pin
    }

    /// Largest number of signing sessions that the worker opens; `None` leaves it to the worker and the token's limit.
    #[must_use]
    pub const fn sessions(&self) -> Option<NonZeroU16> {
        self.sessions
    }

    /// Time limit of one call into the library. After it the worker is ended.
    #[must_use]
    pub const fn hang_after(&self) -> Duration {
        self.hang_after
    }

    /// Number of rejected logins in a row after which no login is tried until the operator clears the PIN record.
    #[must_use]
    pub const fn max_rejected_logins(&self) -> NonZeroU8 {
        self.max_rejected_logins
    }

    /// Attributes that a private key must have before it signs anything.
    #[must_use]
    pub const fn key_rules(&self) -> KeyProtection {
        self.keys
    }

    /// Returns whether a worker that was started with the configuration `other` also fits this one. It does if at most
    /// the rules for keys and the grants differ, which the worker does not know.
    #[must_use]
    pub fn fits_the_worker_of(&self, other: &Self) -> bool {
        let Self {
            name,
            module,
            selector,
            pin,
            sessions,
            hang_after,
            max_rejected_logins,
            keys: _,
            grants: _,
        } = self;
        *name == other.name
            && *module == other.module
            && *selector == other.selector
            && *pin == other.pin
            && *sessions == other.sessions
            && *hang_after == other.hang_after
            && *max_rejected_logins == other.max_rejected_logins
    }

    /// Returns whether any grant lets issuers of that scope sign with any key of the token. The answer needs no other
    /// fields of the issuer.
    #[must_use]
    pub fn serves(&self, owner: IssuerScope<'_>) -> bool {
        self.grants.iter().any(|grant| grant.covers_scope(owner))
    }

    /// Returns whether any grant depends on the labels of namespaces.
    #[must_use]
    pub fn selects_namespaces(&self) -> bool {
        self.grants.iter().any(Grant::has_selector)
    }

    /// Returns whether an issuer may sign with the key that has this CKA_LABEL and CKA_ID, with any issuing certificate. A
    /// key that it may not use must be reported exactly like a key that does not exist.
    #[must_use]
    pub fn may_use(&self, owner: IssuerScope<'_>, key_label: &str, key_id: &[u8]) -> bool {
        self.grants
            .iter()
            .any(|grant| grant.covers(owner, key_label, key_id))
    }

    /// Returns the place of the first grant that lets any issuer sign with a key of this CKA_LABEL and CKA_ID, for messages.
    /// An unknown label (`None`) matches only a pattern for every label, an unknown id no pattern of an id.
    #[must_use]
    pub fn grant_of(&self, key_label: Option<&str>, key_id: Option<&[u8]>) -> Option<String> {
        let mut grants = self.grants.iter().enumerate();
        let (index, grant) = grants.find(|(_, grant)| grant.covers_key(key_label, key_id))?;
        let every = match grant.covers_key(None, None) {
            true => " (every key, which is also the default)",
            false => "",
        };
        Some(format!("grants[{index}]{every}"))
    }

    /// Returns the grant for an issuer that signs with that key and the issuing certificate with this SHA-256: the first
    /// that covers issuer, key and certificate; `None` without such a grant.
    #[must_use]
    pub fn grant(
        &self,
        owner: IssuerScope<'_>,
        key_label: &str,
        key_id: &[u8],
        certificate: &[u8; 32],
    ) -> Option<&Grant> {
        self.grants.iter().find(|grant| {
            grant.covers(owner, key_label, key_id) && grant.allows_certificate(certificate)
        })
    }
}

impl PinSource {
    /// Returns whether issuers of that scope provide the PIN of the token through their `pinSecretRef`.
    #[must_use]
    pub fn is_from(&self, owner: IssuerScope<'_>) -> bool {
        match (self, owner) {
            (Self::ClusterIssuers, IssuerScope::Cluster) => true,
            (Self::IssuersIn(namespace), IssuerScope::Namespace { name, .. }) => namespace == name,
            (Self::ClusterIssuers, IssuerScope::Namespace { .. })
            | (Self::IssuersIn(_), IssuerScope::Cluster)
            | (
                Self::None | Self::File { .. } | Self::Secret { .. },
                IssuerScope::Cluster | IssuerScope::Namespace { .. },
            ) => false,
        }
    }
}

/// Returns the SHA-256 of octets, hexadecimal.
fn sha256(octets: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        octets,
    ))
}

#[cfg(test)]
mod tests;
