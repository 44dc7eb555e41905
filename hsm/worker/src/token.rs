//! The one token of this process: search by label, serial number or slot, description, and new sessions.

mod offer;
mod survey;

use std::path::Path;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    session::Session,
    slot::{Limit, Slot as Pkcs11Slot, TokenInfo as Pkcs11TokenInfo},
};
use hsm::protocol::{NoToken, PinFlags, Slot, TokenInfo, TokenSelector};
use pkcs11_two_calls::TwoCallSigner;

pub(crate) use self::survey::survey;

use crate::recovery::{Remedy, code, remedy};

/// Token in its slot.
#[derive(Debug)]
pub(crate) struct Token {
    module: Pkcs11,
    slot: Pkcs11Slot,
    /// Makes signatures with the same library.
    pub(crate) signer: TwoCallSigner,
    /// The token's description from when it was found.
    pub(crate) info: TokenInfo,
}

impl Token {
    /// Loads and initialises the module, once per process, and looks through its slots.
    pub(crate) fn find(module: &Path, selector: &TokenSelector) -> Result<Self, NoToken> {
        let (module, signer) = load(module)?;
        let slots = module
            .get_slots_with_token()
            .map_err(|error| refused(&error))?;
        let mut seen = Vec::new();
        let mut matching = Vec::new();
        for slot in slots {
            // Slot by slot, so that one broken reader does not hide the other tokens.
            match signer.token_info(&module, slot) {
                Err(error) => seen.push(format!("slot {}: {}", slot.id(), code(&error))),
                Ok(info) if !info.token_initialized() => {}
                // PKCS#11 2.40, table 6: the token failed a self-test and does not work until it is reset.
                Ok(info) if info.error_state() => {
                    seen.push(format!("{:?} in an error state", trimmed(info.label())));
                }
                Ok(info) => {
                    let info = described(&info, told(&module, slot));
                    if selector.matches(&info) {
                        matching.push((slot, info));
                    } else if info.label.is_empty() {
                        seen.push(format!("a token without a label in {}", info.slot));
                    } else {
                        seen.push(format!("{:?}", info.label));
                    }
                }
            }
        }
        let Some((slot, info)) = matching.pop() else {
            seen.truncate(MOST_NAMED);
            return Err(NoToken::Absent { seen });
        };
        if matching.is_empty() {
            return Ok(Self {
                module,
                slot,
                signer,
                info,
            });
        }
        let others = matching.into_iter().map(|(_, other)| other);
        let (serials, slots) = others
            .chain([info])
            .take(MOST_NAMED)
            .map(|token| (token.serial, token.slot))
            .unzip();
        Err(NoToken::Several { serials, slots })
    }

    /// Returns the token's present description.
    pub(crate) fn describe(&self) -> Result<TokenInfo, Error> {
        self.signer
            .token_info(&self.module, self.slot)
            .map(|info| described(&info, self.info.slot.clone()))
    }

    /// Opens a new session: read-only, which is enough for signing, or read-write if the module has only that kind.
    pub(crate) fn open(&self) -> Result<Session, Error> {
        match self.module.open_ro_session(self.slot) {
            // AWS CloudHSM's library has no read-only sessions.
            Err(Error::Pkcs11(RvError::FunctionFailed, _)) => {
                self.module.open_rw_session(self.slot)
            }
            result => result,
        }
    }
}

/// Loads and initialises the module, once per process.
fn load(module: &Path) -> Result<(Pkcs11, TwoCallSigner), NoToken> {
    let (module, signer) = TwoCallSigner::load(module).map_err(|error| NoToken::Module {
        why: error.to_string(),
    })?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|error| refused(&error))?;
    Ok((module, signer))
}

/// Describes a slot. One whose description cannot be read can still be selected by other means.
fn told(module: &Pkcs11, slot: Pkcs11Slot) -> Slot {
    let info = module.get_slot_info(slot);
    Slot {
        id: slot.id(),
        description: info
            .map(|info| trimmed(info.slot_description()))
            .unwrap_or_default(),
    }
}

/// Sorts a failed start: a library that cannot work as we use it needs a person; every other failure may pass.
fn refused(error: &Error) -> NoToken {
    let code = code(error);
    match remedy(error) {
        Remedy::Blocked => NoToken::Module {
            why: code.to_string(),
        },
        Remedy::Retry | Remedy::FindKeyAgain | Remedy::Wait | Remedy::Exit => {
            NoToken::Initialize(code)
        }
    }
}

const MOST_NAMED: usize = 32;

fn described(info: &Pkcs11TokenInfo, slot: Slot) -> TokenInfo {
    TokenInfo {
        label: trimmed(info.label()),
        serial: trimmed(info.serial_number()),
        manufacturer: trimmed(info.manufacturer_id()),
        model: trimmed(info.model()),
        slot,
        firmware: info.firmware_version().to_string(),
        login_required: info.login_required(),
        pin: PinFlags {
            initialized: info.user_pin_initialized(),
            count_low: info.user_pin_count_low(),
            final_try: info.user_pin_final_try(),
            locked: info.user_pin_locked(),
            to_be_changed: info.user_pin_to_be_changed(),
            protected_path: info.protected_authentication_path(),
        },
        max_sessions: match info.max_session_count() {
            Limit::Max(most) => Some(most),
            Limit::Unavailable | Limit::Infinite => None,
        },
    }
}

/// Removes padding. The standard pads with blanks; some modules end the text with NUL, which other octets may follow.
fn trimmed(text: &str) -> String {
    let text = text.split('\0').next().unwrap_or_default();
    text.trim_end_matches(' ').to_owned()
}
