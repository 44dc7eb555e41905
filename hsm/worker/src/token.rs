//! The one token of this process: search by label or serial number, description, and new sessions.

use std::path::Path;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{MechanismInfo, MechanismType},
    session::Session,
    slot::{Limit, Slot as Pkcs11Slot, TokenInfo as Pkcs11TokenInfo},
};
use hsm::protocol::{
    Curve, Hash, KeyAlgorithm, Mechanism, NoToken, PinFlags, Slot, TokenInfo, TokenSelector,
};
use pkcs11_two_calls::TwoCallSigner;

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
        let (module, signer) = TwoCallSigner::load(module).map_err(|error| NoToken::Module {
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
            // Slot by slot, so that one broken reader does not hide the other tokens.
            match module.get_token_info(slot) {
                Err(error) => seen.push(format!("slot {}: {}", slot.id(), code(&error))),
                Ok(info) if !info.token_initialized() => {}
                // PKCS#11 2.40, table 6: the token failed a self-test and does not work until it is reset.
                Ok(info) if info.error_state() => {
                    seen.push(format!("{:?} in an error state", trimmed(info.label())));
                }
                Ok(info) => {
                    // A slot without a description is only not found by it.
                    let slot_info = module.get_slot_info(slot);
                    let told = Slot {
                        id: slot.id(),
                        description: slot_info
                            .map(|info| trimmed(info.slot_description()))
                            .unwrap_or_default(),
                    };
                    let info = described(&info, told);
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
        self.module
            .get_token_info(self.slot)
            .map(|info| described(&info, self.info.slot.clone()))
    }

    /// Returns the mechanisms that the token claims for keys of this type. An empty list is no reason not to try.
    pub(crate) fn mechanisms(&self, algorithm: KeyAlgorithm) -> Vec<Mechanism> {
        let hashes = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
        let each = |mechanism: fn(Hash) -> Mechanism| hashes.map(mechanism).to_vec();
        let candidates = match algorithm {
            KeyAlgorithm::Rsa { .. } => vec![
                (MechanismType::RSA_PKCS, each(Mechanism::RsaPkcs1)),
                (MechanismType::RSA_PKCS_PSS, each(Mechanism::RsaPss)),
            ],
            KeyAlgorithm::Ec(_) => vec![(MechanismType::ECDSA, each(Mechanism::Ecdsa))],
            KeyAlgorithm::Ed25519 => vec![(MechanismType::EDDSA, vec![Mechanism::Ed25519])],
            KeyAlgorithm::MlDsa(_) => vec![(MechanismType::ML_DSA, vec![Mechanism::MlDsa])],
        };
        let offered = candidates.into_iter().filter(|(kind, _)| {
            self.module
                .get_mechanism_info(self.slot, *kind)
                .is_ok_and(|info| info.sign() && fits(algorithm, &info))
        });
        offered.flat_map(|(_, mechanisms)| mechanisms).collect()
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

/// Returns whether a mechanism covers the size of a key. The standard defines the unit (bits) only for RSA and ECDSA, and
/// some libraries leave the sizes zero.
fn fits(algorithm: KeyAlgorithm, info: &MechanismInfo) -> bool {
    let bits = match algorithm {
        KeyAlgorithm::Rsa { bits } => bits,
        KeyAlgorithm::Ec(Curve::P256) => 256,
        KeyAlgorithm::Ec(Curve::P384) => 384,
        KeyAlgorithm::Ec(Curve::P521) => 521,
        KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa(_) => return true,
    };
    info.max_key_size() == 0
        || usize::try_from(bits)
            .is_ok_and(|bits| (info.min_key_size()..=info.max_key_size()).contains(&bits))
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

/// Removes padding: the standard pads with blanks. Some modules end a text with NUL instead, whatever follows it.
fn trimmed(text: &str) -> String {
    let text = text.split('\0').next().unwrap_or_default();
    text.trim_end_matches(' ').to_owned()
}
