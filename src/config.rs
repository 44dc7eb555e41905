//! The operator's configuration: the only place where a PKCS#11 library or a token is named.

mod check;
mod error;
mod grant;
mod keys;
mod limits;
mod raw;

use std::{
    collections::BTreeMap,
    fs,
    num::{NonZeroU8, NonZeroU16},
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    check::MAX_HANG_AFTER,
    error::{ConfigError, Problem},
    grant::{Grant, IssuerScope, Labels},
    keys::KeyRules,
};
use self::{error::Wrong, raw::RawConfig};
use crate::issuance::Limits;

/// What the operator's configuration says, checked: every token has a module, a PIN source and a grant.
///
/// Whether a library is where its path says is not checked here: that may pass, and an issuer's condition tells it.
#[derive(Clone, Debug)]
pub struct Config {
    tokens: BTreeMap<String, TokenConfig>,
}

/// A PKCS#11 library that a worker loads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Module {
    /// The name that the configuration gives it.
    pub name: String,
    /// Where it is.
    pub library: Library,
}

/// Where a PKCS#11 library is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Library {
    /// A file that a worker of ours loads.
    Path {
        /// The file, absolute.
        path: PathBuf,
        /// The whole of the environment that the operator gives the library.
        env: BTreeMap<String, String>,
    },
    /// A worker in a container of its own has it, and listens here (absolute).
    Socket(PathBuf),
}

/// A token, how to log in to it, and who may use it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenConfig {
    name: String,
    module: Module,
    selector: TokenSelector,
    pin: PinSource,
    sessions: Option<NonZeroU16>,
    hang_after: Duration,
    max_rejected_logins: NonZeroU8,
    keys: KeyRules,
    grants: Vec<Grant>,
}

/// How a token is found among those of its module.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TokenSelector {
    /// By CK_TOKEN_INFO.label, without the padding.
    Label(String),
    /// By CK_TOKEN_INFO.serialNumber, without the padding.
    Serial(String),
}

/// Who brings the PIN of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PinSource {
    /// The operator, in a file.
    File {
        /// The file.
        path: PathBuf,
        /// Where the command line keeps the record of its tries; the controller keeps its own in a Secret.
        record: PathBuf,
    },
    /// The operator, in a Secret of the controller's namespace.
    Secret {
        /// The Secret's name.
        name: String,
        /// The key in it.
        key: String,
    },
    /// The cluster issuers on this token, each by its `pinSecretRef`.
    ClusterIssuers,
    /// The issuers on this token in one namespace, each by its `pinSecretRef`.
    IssuersIn(String),
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// Where the file cannot be read, is not YAML of the known fields, or breaks a rule; the message names the file,
    /// the place in it and what to write instead.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(file, &Self::read(file)?)
    }

    /// Reads the file; [`Config::parse`] checks it.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(file: &Path) -> Result<String, ConfigError> {
        fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })
    }

    /// Checks the text of a configuration; `file` is for messages only.
    ///
    /// # Errors
    /// As [`Config::load`], less the reading.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw: RawConfig = serde_saphyr::from_str(text).map_err(|error| ConfigError::Parse {
            file: file.to_owned(),
            text: error::one_line(text, &error),
        })?;
        Self::try_from(raw).map_err(
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
        )
    }

    /// The token of that name.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<&TokenConfig> {
        self.tokens.get(name)
    }

    /// All tokens, by name.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenConfig> {
        self.tokens.values()
    }
}

impl Library {
    fn place(&self) -> &Path {
        match self {
            Self::Path { path, .. } | Self::Socket(path) => path,
        }
    }
}

impl TokenConfig {
    /// The name that issuers use in `spec.token`; also a metric label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The library that knows the token.
    #[must_use]
    pub const fn module(&self) -> &Module {
        &self.module
    }

    /// How the token is found.
    #[must_use]
    pub const fn selector(&self) -> &TokenSelector {
        &self.selector
    }

    /// Where the PIN comes from.
    #[must_use]
    pub const fn pin(&self) -> &PinSource {
        &self.pin
    }

    /// The most signing sessions that the worker opens; `None` leaves it to the worker and the token's limit.
    #[must_use]
    pub const fn sessions(&self) -> Option<NonZeroU16> {
        self.sessions
    }

    /// How long one call may be inside the library before the worker is ended.
    #[must_use]
    pub const fn hang_after(&self) -> Duration {
        self.hang_after
    }

    /// After how many rejected logins in a row there is none until the operator clears the record.
    #[must_use]
    pub const fn max_rejected_logins(&self) -> NonZeroU8 {
        self.max_rejected_logins
    }

    /// What the token must say of a private key before anything is signed with it.
    #[must_use]
    pub const fn key_rules(&self) -> KeyRules {
        self.keys
    }

    /// Whether a worker that was started by the other one is as this one wants it: all is the same but the rules for
    /// keys and the grants, which no worker knows.
    #[must_use]
    pub fn has_the_worker_of(&self, other: &Self) -> bool {
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

    /// Whether any grant lets issuers of that scope sign with some key of the token. This is known before anything of an
    /// issuer is looked at.
    #[must_use]
    pub fn serves(&self, owner: IssuerScope<'_>) -> bool {
        self.grants.iter().any(|grant| grant.covers_scope(owner))
    }

    /// Whether some grant depends on the labels of namespaces.
    #[must_use]
    pub fn selects_namespaces(&self) -> bool {
        self.grants.iter().any(Grant::has_selector)
    }

    /// Whether an issuer may sign with the key that has this CKA_LABEL and CKA_ID, under some certificate. A key that it
    /// may not sign with is to be reported exactly as one that does not exist.
    #[must_use]
    pub fn may_use(&self, owner: IssuerScope<'_>, key_label: &str, key_id: &[u8]) -> bool {
        self.grants
            .iter()
            .any(|grant| grant.covers(owner, key_label, key_id))
    }

    /// The limits within which an issuer signs with that key under the issuing certificate with this SHA-256. The first
    /// grant that covers issuer, key and certificate decides.
    #[must_use]
    pub fn limits(
        &self,
        owner: IssuerScope<'_>,
        key_label: &str,
        key_id: &[u8],
        certificate: &[u8; 32],
    ) -> Option<&Limits> {
        self.grants
            .iter()
            .find(|grant| {
                grant.covers(owner, key_label, key_id) && grant.allows_certificate(certificate)
            })
            .map(Grant::limits)
    }
}

impl PinSource {
    /// Whether issuers of that scope bring the PIN of the token with their `pinSecretRef`.
    #[must_use]
    pub fn is_from(&self, owner: IssuerScope<'_>) -> bool {
        match (self, owner) {
            (Self::ClusterIssuers, IssuerScope::Cluster) => true,
            (Self::IssuersIn(namespace), IssuerScope::Namespace { name, .. }) => namespace == name,
            (Self::ClusterIssuers, IssuerScope::Namespace { .. })
            | (Self::IssuersIn(_), IssuerScope::Cluster)
            | (
                Self::File { .. } | Self::Secret { .. },
                IssuerScope::Cluster | IssuerScope::Namespace { .. },
            ) => false,
        }
    }
}

#[cfg(test)]
mod tests;
