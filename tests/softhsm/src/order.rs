//! Orders to the helper process on its standard input and reports on its standard output, as JSON.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{Error, program::program};

/// Kinds of key pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyKind {
    /// RSA, 2048 bits.
    Rsa2048,
    /// RSA, 3072 bits.
    Rsa3072,
    /// RSA, 4096 bits.
    Rsa4096,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// ML-DSA-44; only Kryoptic has it.
    MlDsa44,
    /// ML-DSA-65; only Kryoptic has it.
    MlDsa65,
    /// ML-DSA-87; only Kryoptic has it.
    MlDsa87,
}

/// Protection of the private half of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// `CKA_SENSITIVE`.
    pub sensitive: bool,
    /// `CKA_EXTRACTABLE`.
    pub extractable: bool,
    /// `CKA_ALWAYS_AUTHENTICATE`.
    pub always_authenticate: bool,
    /// `CKA_PRIVATE`: the key is seen and used only after a login.
    pub private: bool,
}

impl Kept {
    /// The private half is sensitive and not extractable, and one login is enough for all signatures.
    pub const PROTECTED: Self = Self {
        sensitive: true,
        extractable: false,
        always_authenticate: false,
        private: true,
    };

    /// As [`Self::PROTECTED`], but usable without a login, like the module-protected keys of an nShield.
    pub const WITHOUT_LOGIN: Self = Self {
        private: false,
        ..Self::PROTECTED
    };
}

/// A token's description of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// `CKF_USER_PIN_COUNT_LOW`: a wrong PIN was tried since the last correct one.
    pub pin_count_low: bool,
    /// `CKF_USER_PIN_FINAL_TRY`: the next wrong PIN locks the token.
    pub pin_final_try: bool,
    /// `CKF_USER_PIN_LOCKED`.
    pub pin_locked: bool,
    /// `ulMaxSessionCount`, where the token reports a limit.
    pub most_sessions: Option<u64>,
}

/// One task on a token. It has no `Debug`, because it carries PINs.
#[derive(Serialize, Deserialize)]
#[expect(missing_debug_implementations, reason = "it carries PINs")]
pub struct Order {
    /// The library.
    pub module: PathBuf,
    /// The task.
    pub task: Task,
}

/// Tasks of the helper process.
#[derive(Serialize, Deserialize)]
#[expect(missing_debug_implementations, reason = "it carries PINs")]
pub enum Task {
    /// Initialise a token in the first free slot.
    Make {
        /// Its label.
        label: String,
        /// Its security officer's PIN.
        so_pin: String,
        /// Its user PIN.
        user_pin: String,
    },
    /// Describe a token.
    Describe {
        /// Serial number of the token.
        serial: String,
    },
    /// Log in.
    Try {
        /// Serial number of the token.
        serial: String,
        /// The user PIN to try.
        user_pin: String,
    },
    /// Generate a key pair.
    Generate {
        /// Serial number of the token.
        serial: String,
        /// Its user PIN.
        user_pin: String,
        /// `CKA_LABEL` of both halves.
        label: String,
        /// `CKA_ID` of both halves.
        id: Vec<u8>,
        /// Kind of the key pair.
        kind: KeyKind,
        /// Protection of the private half.
        kept: Kept,
    },
    /// Put a P-256 key pair on the token, once for each id.
    Import {
        /// Serial number of the token.
        serial: String,
        /// Its user PIN.
        user_pin: String,
        /// `CKA_LABEL` of both halves.
        label: String,
        /// `CKA_ID` of both halves.
        ids: Vec<Vec<u8>>,
        /// The private half, big-endian.
        scalar: Vec<u8>,
        /// The public half, uncompressed.
        point: Vec<u8>,
    },
    /// Put certificates on the token, all with the same label and id.
    Store {
        /// Serial number of the token.
        serial: String,
        /// Its user PIN.
        user_pin: String,
        /// `CKA_LABEL`.
        label: String,
        /// `CKA_ID`.
        id: Vec<u8>,
        /// `CKA_VALUE` of each.
        values: Vec<Vec<u8>>,
    },
    /// Sign. For RSA the token hashes the message with SHA-256; Ed25519 and ML-DSA take the message, ECDSA a digest.
    Sign {
        /// Serial number of the token.
        serial: String,
        /// Its user PIN.
        user_pin: String,
        /// `CKA_LABEL` of the key.
        label: String,
        /// `CKA_ID` of the key.
        id: Vec<u8>,
        /// Kind of the key.
        kind: KeyKind,
        /// Message or digest.
        octets: Vec<u8>,
    },
}

/// Outcome of a task.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The new token's serial number.
    Made(String),
    /// The PIN is correct.
    LoggedIn,
    /// The objects are on the token.
    Stored,
    /// The token's description of itself.
    Described(Description),
    /// The public half of an RSA key.
    Rsa {
        /// Big-endian.
        modulus: Vec<u8>,
        /// Big-endian.
        exponent: Vec<u8>,
    },
    /// The public half of another key, as in an SPKI: an uncompressed point, or the key's own octets.
    Public(Vec<u8>),
    /// A signature in the form of PKCS#11.
    Signed(Vec<u8>),
    /// The task failed, for this reason.
    Failed(String),
}

/// Runs the helper process for one task through a library.
pub(crate) fn run(
    module: &Path,
    env: &BTreeMap<String, String>,
    task: Task,
) -> Result<Report, Error> {
    let tool = program("softhsm-test-helpers", "softhsm-token-tool")?;
    let failed = |source| Error::Run {
        path: tool.clone(),
        source,
    };
    let order = Order {
        module: module.into(),
        task,
    };
    let order = serde_json::to_vec(&order).map_err(Error::Answer)?;
    let mut command = Command::new(&tool);
    command
        .env_clear()
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut stdin| stdin.write_all(&order));
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(Error::Ended(output.status));
    }
    written.map_err(failed)?;
    match serde_json::from_slice(&output.stdout).map_err(Error::Answer)? {
        Report::Failed(why) => Err(Error::Refused(why)),
        report @ (Report::Made(_)
        | Report::LoggedIn
        | Report::Stored
        | Report::Described(_)
        | Report::Rsa { .. }
        | Report::Public(_)
        | Report::Signed(_)) => Ok(report),
    }
}
