//! The one token of this process: found by label or serial, described, opened.

use std::path::Path;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    session::Session,
    slot::{Limit, Slot, TokenInfo as Pkcs11TokenInfo},
};
use hsm::protocol::{NoToken, PinFlags, TokenInfo, TokenSelector};

use crate::recovery::{Remedy, code, remedy};

/// A token in its slot.
#[derive(Debug)]
pub(crate) struct Token {
    module: Pkcs11,
    slot: Slot,
    /// As it was when it was found.
    pub(crate) info: TokenInfo,
}

impl Token {
    /// Loads and initialises the module, once per process, and looks through its slots.
    pub(crate) fn find(module: &Path, selector: &TokenSelector) -> Result<Self, NoToken> {
        let module = Pkcs11::new(module).map_err(|error| NoToken::Module {
            why: error.to_string(),
        })?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|error| refused(&error))?;
        let slots = module
            .get_slots_with_token()
            .map_err(|error| refused(&error))?;
        let mut seen = Vec::new();
        let mut matching = Vec::new();
        for slot in slots {
            // One broken reader must not hide the other tokens, so slot by slot.
            match module.get_token_info(slot) {
                Err(error) => seen.push(format!("slot {}: {}", slot.id(), code(&error))),
                Ok(info) if !info.token_initialized() => {}
                Ok(info) => {
                    let info = described(&info);
                    if selector.matches(&info) {
                        matching.push((slot, info));
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
            return Ok(Self { module, slot, info });
        }
        let others = matching.into_iter().map(|(_, other)| other.serial);
        Err(NoToken::Several {
            serials: others.chain([info.serial]).take(MOST_NAMED).collect(),
        })
    }

    /// The token as it describes itself now.
    pub(crate) fn describe(&self) -> Result<TokenInfo, Error> {
        self.module
            .get_token_info(self.slot)
            .map(|info| described(&info))
    }

    /// A new session: read-only, which is all that signing needs, unless the module knows only the other kind.
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

/// A library that cannot work as we use it is for a person to mend; whatever else it says may pass.
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

fn described(info: &Pkcs11TokenInfo) -> TokenInfo {
    TokenInfo {
        label: trimmed(info.label()),
        serial: trimmed(info.serial_number()),
        manufacturer: trimmed(info.manufacturer_id()),
        model: trimmed(info.model()),
        firmware: info.firmware_version().to_string(),
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

/// Blanks are the standard's padding; some modules pad with NUL instead.
fn trimmed(text: &str) -> String {
    text.trim_matches([' ', '\0']).to_owned()
}
