//! A test token and the keys on it.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use der::{Encode, Sequence, asn1::UintRef};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};

use crate::{
    Description, Error, KeyKind, SoftwareKey, Store,
    faults::device_from_env,
    order::{Kept, Report, Task, run},
};

/// Token that exists for one test.
#[derive(Clone)]
pub struct TestToken {
    store: Store,
    label: String,
    serial: String,
    user_pin: String,
    pin_file: PathBuf,
}

impl fmt::Debug for TestToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestToken")
            .field("label", &self.label)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl TestToken {
    pub(crate) fn new(
        store: Store,
        label: String,
        serial: String,
        user_pin: String,
        pin_file: PathBuf,
    ) -> Self {
        Self {
            store,
            label,
            serial,
            user_pin,
            pin_file,
        }
    }

    /// Returns the token's label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the token's serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Returns the user PIN, for code under test that takes it in memory.
    #[must_use]
    pub fn user_pin(&self) -> &str {
        &self.user_pin
    }

    /// Returns the path of a file with the user PIN and nothing else, which only its owner can read.
    #[must_use]
    pub fn pin_file(&self) -> &Path {
        &self.pin_file
    }

    /// Returns the provider's library.
    #[must_use]
    pub fn module(&self) -> &Path {
        self.store.module()
    }

    /// Returns the environment that a process needs to see the token.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        self.store.env()
    }

    /// Returns the store that the token is in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Asks the token for its description, in a process of its own.
    ///
    /// # Errors
    /// The token cannot be found.
    pub fn describe(&self) -> Result<Description, Error> {
        self.describe_through(self.module(), &self.env())
    }

    /// Tries a user PIN, in a process of its own. A wrong PIN spends one of the token's tries.
    ///
    /// # Errors
    /// The token refuses the PIN.
    pub fn try_pin(&self, pin: &str) -> Result<(), Error> {
        let task = Task::Try {
            serial: self.serial.clone(),
            user_pin: pin.into(),
        };
        let Report::LoggedIn = run(self.module(), &self.env(), task)? else {
            return Err(Error::OtherAnswer);
        };
        Ok(())
    }

    /// Describes the token through this library with this environment.
    pub(crate) fn describe_through(
        &self,
        module: &Path,
        env: &BTreeMap<String, String>,
    ) -> Result<Description, Error> {
        let serial = self.serial.clone();
        let Report::Described(description) = run(module, env, Task::Describe { serial })? else {
            return Err(Error::OtherAnswer);
        };
        Ok(description)
    }

    /// Generates a key pair whose private half is sensitive and not extractable, for signing only.
    ///
    /// # Errors
    /// The token refuses.
    pub fn generate_key(&self, label: &str, id: &[u8], kind: KeyKind) -> Result<TestKey, Error> {
        let kept = match device_from_env()? {
            Some(device) if !device.logs_in => Kept::WITHOUT_LOGIN,
            Some(_) | None => Kept::PROTECTED,
        };
        self.generate_key_kept(label, id, kind, kept)
    }

    /// Generates a key pair whose private half is protected as `kept` says.
    ///
    /// # Errors
    /// The token refuses.
    pub fn generate_key_kept(
        &self,
        label: &str,
        id: &[u8],
        kind: KeyKind,
        kept: Kept,
    ) -> Result<TestKey, Error> {
        let task = Task::Generate {
            serial: self.serial.clone(),
            user_pin: self.user_pin.clone(),
            label: label.into(),
            id: id.into(),
            kind,
            kept,
        };
        let public = match run(self.module(), &self.env(), task)? {
            Report::Public(octets) => octets,
            Report::Rsa { modulus, exponent } => {
                rsa_public_key(&modulus, &exponent).map_err(Error::Encode)?
            }
            Report::Made(_)
            | Report::LoggedIn
            | Report::Stored
            | Report::Described(_)
            | Report::Signed(_)
            | Report::Failed(_) => {
                return Err(Error::OtherAnswer);
            }
        };
        Ok(TestKey {
            token: self.clone(),
            label: label.into(),
            id: id.into(),
            kind,
            public,
        })
    }

    /// Puts a key pair on the token, as restoring an HSM's backup does. The private half is sensitive and not extractable,
    /// for signing only.
    ///
    /// # Errors
    /// The token refuses.
    pub fn import_key(&self, label: &str, id: &[u8], key: &SoftwareKey) -> Result<TestKey, Error> {
        let public = self.import(label, vec![id.into()], key)?;
        Ok(TestKey {
            token: self.clone(),
            label: label.into(),
            id: id.into(),
            kind: KeyKind::P256,
            public,
        })
    }

    /// Puts a key pair on the token under each of these ids, for a token with many keys.
    ///
    /// # Errors
    /// The token refuses.
    pub fn import_keys(
        &self,
        label: &str,
        ids: impl IntoIterator<Item = Vec<u8>>,
        key: &SoftwareKey,
    ) -> Result<(), Error> {
        self.import(label, ids.into_iter().collect(), key).map(drop)
    }

    fn import(&self, label: &str, ids: Vec<Vec<u8>>, key: &SoftwareKey) -> Result<Vec<u8>, Error> {
        let task = Task::Import {
            serial: self.serial.clone(),
            user_pin: self.user_pin.clone(),
            label: label.into(),
            ids,
            scalar: key.scalar().into(),
            point: key.point().into(),
        };
        let Report::Public(public) = run(self.module(), &self.env(), task)? else {
            return Err(Error::OtherAnswer);
        };
        Ok(public)
    }
}

/// Key pair on a [`TestToken`].
#[derive(Clone, Debug)]
pub struct TestKey {
    token: TestToken,
    label: String,
    id: Vec<u8>,
    kind: KeyKind,
    /// Content of the SPKI's BIT STRING.
    public: Vec<u8>,
}

impl TestKey {
    /// Returns the token that the key is on.
    #[must_use]
    pub fn token(&self) -> &TestToken {
        &self.token
    }

    /// Returns `CKA_LABEL`.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns `CKA_ID`.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// Returns the kind of the key.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Returns the DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    /// Returns the content of the SPKI's BIT STRING: an `RSAPublicKey`, a point, or an ML-DSA key.
    #[must_use]
    pub fn public_octets(&self) -> &[u8] {
        &self.public
    }

    /// Signs a message on the token: RSA PKCS#1 v1.5 or ECDSA, with SHA-256 (P-384: SHA-384, P-521: SHA-512), Ed25519,
    /// or ML-DSA, pure and without a context (RFC 9881). The result has the form that X.509 uses.
    ///
    /// # Errors
    /// The token refuses.
    pub fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.sign_through(self.token.module(), &self.token.env(), message)
    }

    /// Signs through this library with this environment.
    pub(crate) fn sign_through(
        &self,
        module: &Path,
        env: &BTreeMap<String, String>,
        message: &[u8],
    ) -> Result<Vec<u8>, Error> {
        use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
        let hash = match self.kind {
            KeyKind::Rsa2048
            | KeyKind::Rsa3072
            | KeyKind::Rsa4096
            | KeyKind::Ed25519
            | KeyKind::MlDsa44
            | KeyKind::MlDsa65
            | KeyKind::MlDsa87 => None,
            KeyKind::P256 => Some(&SHA256),
            KeyKind::P384 => Some(&SHA384),
            KeyKind::P521 => Some(&SHA512),
        };
        let task = Task::Sign {
            serial: self.token.serial.clone(),
            user_pin: self.token.user_pin.clone(),
            label: self.label.clone(),
            id: self.id.clone(),
            kind: self.kind,
            octets: hash.map_or_else(
                || message.to_vec(),
                |hash| digest(hash, message).as_ref().to_vec(),
            ),
        };
        let Report::Signed(signature) = run(module, env, task)? else {
            return Err(Error::OtherAnswer);
        };
        if hash.is_none() {
            Ok(signature)
        } else {
            ecdsa_sig_value(&signature).map_err(Error::Encode)
        }
    }
}

impl PublicKeyData for TestKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            KeyKind::MlDsa44 => &rcgen::PKCS_ML_DSA_44,
            KeyKind::MlDsa65 => &rcgen::PKCS_ML_DSA_65,
            KeyKind::MlDsa87 => &rcgen::PKCS_ML_DSA_87,
        }
    }
}

impl SigningKey for TestKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.sign_message(message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// RFC 8017, A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>, der::Error> {
    RsaPublicKey {
        modulus: UintRef::new(modulus)?,
        public_exponent: UintRef::new(exponent)?,
    }
    .to_der()
}

/// RFC 3279, section 2.2.3.
#[derive(Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

fn ecdsa_sig_value(raw: &[u8]) -> Result<Vec<u8>, der::Error> {
    let (r, s) = raw.split_at(raw.len() / 2);
    EcdsaSigValue {
        r: UintRef::new(r)?,
        s: UintRef::new(s)?,
    }
    .to_der()
}
