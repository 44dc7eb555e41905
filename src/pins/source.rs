//! Where a token's PIN comes from.

use std::{collections::BTreeMap, fmt, io::Read as _, path::PathBuf};

use parking_lot::Mutex;

use hsm::Pin;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use zeroize::{Zeroize as _, Zeroizing};

/// One key of one Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinSecret {
    /// Namespace of the Secret.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

/// Source of a token's PIN. A token has exactly one.
#[derive(Debug)]
pub enum PinOrigin {
    /// The operator's file.
    File(PathBuf),
    /// A pipe or a descriptor of this process, or the terminal, which was read once.
    Once {
        /// What was read.
        pin: Pin,
        /// Its path.
        path: PathBuf,
    },
    /// The operator's Secret.
    Secret(Secrets, PinSecret),
    /// The Secret that the token's issuers name.
    Issuers(Secrets, Named),
    /// No PIN: the token is used without a login.
    None,
}

impl fmt::Display for PinOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Once { path, .. } => path.display().fmt(f),
            Self::Secret(_, secret) => {
                let PinSecret {
                    namespace,
                    name,
                    key,
                } = secret;
                write!(f, "{key} of Secret {namespace}/{name}")
            }
            Self::Issuers(..) => f.write_str("the Secret that the token's issuers name"),
            Self::None => f.write_str("nowhere"),
        }
    }
}

/// The PIN Secrets that the issuers of one token name. A token has one PIN, so they must agree.
#[derive(Debug, Default)]
pub struct Named(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// Where the PIN is read; `None` until the first issuer names a Secret.
    current: Option<PinSecret>,
    by_issuer: BTreeMap<String, PinSecret>,
}

impl Named {
    /// Takes the Secret that an issuer names now. A Secret other than the current one replaces it, unless another
    /// issuer still names the current one.
    ///
    /// # Errors
    /// The Secret that another issuer names.
    pub(super) fn name(&self, issuer: &str, secret: &PinSecret) -> Result<(), PinSecret> {
        let mut names = self.0.lock();
        names.by_issuer.insert(issuer.to_owned(), secret.clone());
        match &names.current {
            Some(current) if current == secret => Ok(()),
            Some(current) if names.by_issuer.values().any(|named| named == current) => {
                Err(current.clone())
            }
            Some(_) | None => {
                names.current = Some(secret.clone());
                Ok(())
            }
        }
    }

    /// Forgets an issuer that is deleted or uses another token.
    pub(super) fn forget(&self, issuer: &str) {
        self.0.lock().by_issuer.remove(issuer);
    }

    fn current(&self) -> Option<PinSecret> {
        self.0.lock().current.clone()
    }
}

/// Client that reads Secrets with PINs.
#[derive(Clone)]
pub struct Secrets(pub Client);

/// Why there is no PIN to try.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file could not be read.
    #[error("failed to read the PIN file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The Secret could not be read.
    #[error("failed to read Secret {namespace}/{name} with the PIN: {source}")]
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// The Secret lacks the key.
    #[error("Secret {namespace}/{name} has no key {key} with the PIN")]
    NoKey {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key that was looked for.
        key: String,
    },
    /// The PIN is empty or too long.
    #[error("the PIN in {place} has {octets} octets; it must have 1 to 255")]
    Length {
        /// The file or Secret.
        place: String,
        /// The length as read, without one line end.
        octets: usize,
    },
    /// No issuer has named a Secret yet.
    #[error("no issuer of the token names a PIN yet; set spec.pinSecretRef of one")]
    NoIssuer,
    /// The configuration gives no PIN, and the token does not work without one.
    #[error(
        "the token requires a login (CKF_LOGIN_REQUIRED), and its configuration gives no PIN; add pinFile, pinSecretRef or pinFrom"
    )]
    NotConfigured,
}

const MAX_PIN_OCTETS: usize = 255;
const TERMINAL: &str = "/dev/tty";
/// How much of a pipe or device is read. The buffer never grows, so no copy of the PIN is left behind.
const MOST_READ_ONCE: usize = 1024;

impl PinOrigin {
    /// Returns whether there is a place to read a PIN from.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::File(_) | Self::Once { .. } | Self::Secret(..) => true,
            Self::Issuers(_, named) => named.current().is_some(),
            Self::None => false,
        }
    }

    /// Returns the origin for a path of the command line. A path that is not a regular file, such as `/dev/fd/3` or a named
    /// pipe, can be read only once, so it is read now, which blocks until its writer closes it.
    ///
    /// # Errors
    /// [`PinError::File`], [`PinError::Length`].
    pub fn given(path: PathBuf) -> Result<Self, PinError> {
        // If the path does not exist, reading it fails later, with an error that names it.
        if std::fs::metadata(&path).map_or(true, |found| found.is_file()) {
            return Ok(Self::File(path));
        }
        let mut read = Zeroizing::new(Vec::with_capacity(MOST_READ_ONCE));
        let limit = u64::try_from(MOST_READ_ONCE).unwrap_or(u64::MAX);
        std::fs::File::open(&path)
            .and_then(|file| file.take(limit).read_to_end(&mut read))
            .map_err(|source| PinError::File {
                path: path.clone(),
                source,
            })?;
        let pin = checked(read, || path.display().to_string())?;
        Ok(Self::Once { pin, path })
    }

    /// Returns the origin for a PIN that somebody has entered on the terminal.
    ///
    /// # Errors
    /// [`PinError::Length`].
    pub fn entered(pin: String) -> Result<Self, PinError> {
        let path = PathBuf::from(TERMINAL);
        let pin = checked(Zeroizing::new(pin.into_bytes()), || TERMINAL.to_owned())?;
        Ok(Self::Once { pin, path })
    }

    /// Reads the PIN as it is now, without one line end after it. Reads a file synchronously, which does not block for
    /// long because the file is small.
    ///
    /// # Errors
    /// [`PinError`], whose texts never contain the PIN.
    pub async fn read(&self) -> Result<Pin, PinError> {
        match self {
            Self::File(path) => {
                let read = std::fs::read(path).map_err(|source| PinError::File {
                    path: path.clone(),
                    source,
                })?;
                checked(Zeroizing::new(read), || path.display().to_string())
            }
            Self::Once { pin, .. } => Ok(pin.clone()),
            Self::Secret(secrets, at) => secrets.read(at).await,
            Self::Issuers(secrets, named) => {
                let at = named.current().ok_or(PinError::NoIssuer)?;
                secrets.read(&at).await
            }
            Self::None => Err(PinError::NotConfigured),
        }
    }
}

impl Secrets {
    async fn read(&self, at: &PinSecret) -> Result<Pin, PinError> {
        let PinSecret {
            namespace,
            name,
            key,
        } = at;
        let secret = Api::<Secret>::namespaced(self.0.clone(), namespace)
            .get(name)
            .await
            .map_err(|source| PinError::Secret {
                namespace: namespace.clone(),
                name: name.clone(),
                source: Box::new(source),
            })?;
        let octets = taken_out(secret, key).ok_or_else(|| PinError::NoKey {
            namespace: namespace.clone(),
            name: name.clone(),
            key: key.clone(),
        })?;
        checked(octets, || format!("Secret {namespace}/{name}"))
    }
}

/// Takes the value of one key out of a Secret without copying it, and wipes everything else in the Secret.
///
/// Only the parsed Secret can be wiped. The octets of the answer, with the PIN in base64, have also been in the buffers
/// of rustls and hyper and in the text that kube parses; those are freed without being wiped.
fn taken_out(mut secret: Secret, key: &str) -> Option<Zeroizing<Vec<u8>>> {
    let value = secret.data.as_mut().and_then(|data| data.remove(key));
    wipe(&mut secret);
    value.map(|value| Zeroizing::new(value.0))
}

/// Wipes the values and annotations of a Secret: `kubectl apply` keeps the whole Secret in an annotation, its values
/// included.
fn wipe(secret: &mut Secret) {
    let values = secret.data.iter_mut().flat_map(BTreeMap::values_mut);
    values.for_each(|value| value.0.zeroize());
    let annotations = secret.metadata.annotations.iter_mut();
    annotations
        .flat_map(BTreeMap::values_mut)
        .for_each(|text| text.zeroize());
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

fn checked(mut octets: Zeroizing<Vec<u8>>, place: impl Fn() -> String) -> Result<Pin, PinError> {
    if octets.ends_with(b"\n") {
        octets.pop();
        if octets.ends_with(b"\r") {
            octets.pop();
        }
    }
    if !(1..=MAX_PIN_OCTETS).contains(&octets.len()) {
        return Err(PinError::Length {
            place: place(),
            octets: octets.len(),
        });
    }
    Ok(Pin::new(std::mem::take(&mut *octets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8]) -> Result<Vec<u8>, String> {
        checked(Zeroizing::new(octets.to_vec()), || "here".to_owned())
            .map(|pin| pin.expose().to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn one_line_end_after_the_pin_is_removed() {
        assert_eq!(read(b"1234\n"), Ok(b"1234".to_vec()));
        assert_eq!(read(b"1234\r\n"), Ok(b"1234".to_vec()));
        assert_eq!(read(b"1234\n\n"), Ok(b"1234\n".to_vec()));
        assert_eq!(read(b" 1234 "), Ok(b" 1234 ".to_vec()));
    }

    #[test]
    fn the_pin_is_taken_out_of_a_secret_and_everything_else_in_it_is_wiped() {
        let json = serde_json::json!({
            "metadata": {
                "name": "hsm",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "MTIzNA=="},
            },
            "data": {"pin": "MTIzNA==", "so-pin": "NTY3OA=="},
        });
        let secret: Secret = serde_json::from_value(json).unwrap();
        assert_eq!(taken_out(secret.clone(), "none"), None);
        let pin = taken_out(secret.clone(), "pin").unwrap();
        assert_eq!(*pin, b"1234");
        let mut wiped = secret;
        wipe(&mut wiped);
        let left = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "hsm",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": ""},
            },
            "data": {"pin": "", "so-pin": ""},
        });
        assert_eq!(serde_json::to_value(wiped).unwrap(), left);
    }

    fn secret(name: &str) -> PinSecret {
        PinSecret {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            key: "pin".to_owned(),
        }
    }

    #[test]
    fn issuers_of_one_token_must_agree_and_a_sole_issuer_may_change_its_secret() {
        let named = Named::default();
        named.name("a", &secret("old")).unwrap();
        named.name("a", &secret("new")).unwrap();
        named.name("b", &secret("new")).unwrap();
        assert_eq!(
            named.name("a", &secret("newer")).unwrap_err(),
            secret("new")
        );
        assert_eq!(named.current(), Some(secret("new")));
        named.name("b", &secret("newer")).unwrap();
        named.name("a", &secret("newer")).unwrap();
        assert_eq!(named.current(), Some(secret("newer")));
    }

    #[test]
    fn a_deleted_issuer_no_longer_counts() {
        let named = Named::default();
        named.name("a", &secret("old")).unwrap();
        assert!(named.name("b", &secret("new")).is_err());
        named.forget("a");
        named.name("b", &secret("new")).unwrap();
        assert_eq!(named.current(), Some(secret("new")));
    }

    #[test]
    fn an_empty_or_overlong_pin_is_refused_without_being_shown() {
        assert_eq!(
            read(b"\n"),
            Err("the PIN in here has 0 octets; it must have 1 to 255".to_owned())
        );
        assert!(read(&[b'7'; 256]).is_err_and(|text| !text.contains("777")));
    }
}
