//! The token of the ceremony: its keys are made, read back and used here. Nothing else in this repository writes to a token.

mod key;
mod public;
mod sign;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    object::{Attribute, AttributeType, CertificateType, ObjectClass},
    session::{Session, UserType},
    types::AuthPin,
};
use pkcs11_issuer::issuance::name::Name;

use crate::plan::TokenName;

pub(crate) use key::Halves;

/// A session on the token, logged in.
pub(crate) struct Token {
    /// One session for all: what is shared between threads must be locked, although the ceremony has one thread.
    session: Mutex<Session>,
    mechanisms: Vec<cryptoki::mechanism::MechanismType>,
    /// Manufacturer, model and firmware, for the transcript.
    pub(crate) description: String,
}

/// Why the token does not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("failed to load the module")]
    Module(#[source] Error),
    #[error("no token has label {:?} and serial number {:?} (found: {found}); insert that token, or write and approve a plan for another one", name.label, name.serial)]
    Absent { name: TokenName, found: String },
    #[error("the token refuses the PIN; check it, because more wrong tries lock the token")]
    Pin(#[source] Error),
    #[error("{what}")]
    Call {
        what: String,
        #[source]
        source: Error,
    },
    #[error(
        "key {label:?}: the token has no mechanism {mechanism}; nothing was made; choose an algorithm that it has, and approve that plan"
    )]
    NoMechanism { label: String, mechanism: String },
    #[error(
        "key {label:?}: the token is full; delete objects that are not of this ceremony, or use a larger token with a new plan; then run the same command again"
    )]
    Full {
        label: String,
        #[source]
        source: Error,
    },
    #[error("key {label:?}: {why}")]
    Key { label: String, why: String },
}

/// Returns a closure that names the call that failed.
fn failed(what: &str) -> impl FnOnce(Error) -> TokenError {
    let what = format!("failed to {what}");
    move |source| TokenError::Call { what, source }
}

impl Token {
    /// Loads the module, finds the plan's token and logs in: one try of the PIN.
    pub(crate) fn open(
        module: &Path,
        name: &TokenName,
        pin: impl FnOnce() -> std::io::Result<AuthPin>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let module = Pkcs11::new(module).map_err(TokenError::Module)?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(failed("initialise the module"))?;
        let mut found = Vec::new();
        for slot in module
            .get_slots_with_initialized_token()
            .map_err(failed("list the slots"))?
        {
            let info = module
                .get_token_info(slot)
                .map_err(failed("read a token's description"))?;
            let (label, serial) = (trimmed(info.label()), trimmed(info.serial_number()));
            if label != name.label || serial != name.serial {
                found.push(format!("{label:?} with {serial:?}"));
                continue;
            }
            let mechanisms = module
                .get_mechanism_list(slot)
                .map_err(failed("list the token's mechanisms"))?;
            let session = module
                .open_rw_session(slot)
                .map_err(failed("open a session that may write"))?;
            session
                .login(UserType::User, Some(&pin()?))
                .map_err(|error| {
                    use RvError::{PinIncorrect, PinInvalid, PinLocked};
                    if matches!(
                        error,
                        Error::Pkcs11(PinIncorrect | PinInvalid | PinLocked, _)
                    ) {
                        TokenError::Pin(error)
                    } else {
                        failed("log in")(error)
                    }
                })?;
            return Ok(Self {
                session: Mutex::new(session),
                mechanisms,
                description: format!(
                    "{} {} firmware {}",
                    trimmed(info.manufacturer_id()),
                    trimmed(info.model()),
                    info.firmware_version()
                ),
            });
        }
        Err(TokenError::Absent {
            name: name.clone(),
            found: if found.is_empty() {
                "none".to_owned()
            } else {
                found.join(", ")
            },
        }
        .into())
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the certificates (DER) on the token with this CKA_ID.
    pub(crate) fn certificates(&self, id: &[u8]) -> Result<Vec<Vec<u8>>, TokenError> {
        let read = || failed("read the certificates of a key");
        let template = [
            Attribute::Class(ObjectClass::CERTIFICATE),
            Attribute::Id(id.to_vec()),
        ];
        let mut found = Vec::new();
        let handles = self.session().find_objects(&template).map_err(read())?;
        for handle in handles {
            let attributes = self
                .session()
                .get_attributes(handle, &[AttributeType::Value])
                .map_err(read())?;
            found.extend(attributes.into_iter().filter_map(|attribute| {
                if let Attribute::Value(der) = attribute {
                    Some(der)
                } else {
                    None
                }
            }));
        }
        Ok(found)
    }

    /// Stores a certificate beside its key, and reads it back.
    pub(crate) fn import(
        &self,
        id: &[u8],
        label: &str,
        certificate: &[u8],
        parts: &CertificateParts<'_>,
    ) -> Result<(), TokenError> {
        let template = [
            Attribute::Class(ObjectClass::CERTIFICATE),
            Attribute::CertificateType(CertificateType::X_509),
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(id.to_vec()),
            Attribute::Subject(parts.subject.der().to_vec()),
            Attribute::Issuer(parts.issuer.to_vec()),
            Attribute::SerialNumber(parts.serial.to_vec()),
            Attribute::Value(certificate.to_vec()),
        ];
        self.session()
            .create_object(&template)
            .map_err(failed("store a certificate on the token"))?;
        if self.certificates(id)? == [certificate.to_vec()] {
            return Ok(());
        }
        Err(TokenError::Key {
            label: label.to_owned(),
            why: "the token returns another certificate than was stored".to_owned(),
        })
    }
}

/// What the object of a certificate repeats (PKCS#11 3.1, section 4.6.3). All of it is DER.
pub(crate) struct CertificateParts<'a> {
    pub(crate) subject: &'a Name,
    pub(crate) issuer: &'a [u8],
    pub(crate) serial: &'a [u8],
}

/// Removes the padding of PKCS#11.
fn trimmed(text: &str) -> String {
    let text = text.split('\0').next().unwrap_or_default();
    text.trim_end_matches(' ').to_owned()
}
