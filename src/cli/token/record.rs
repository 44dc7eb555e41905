//! What commands about tokens print as JSON and YAML. The names of fields stay.

use hsm::{Hash, Mechanism, PinFlags, SeenMechanism, SeenSlot};
use serde::Serialize;

use crate::cli::find::uri;

/// A token, or a slot whose token cannot be read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct TokenRecord {
    /// Path of the library, or of the socket of a sidecar.
    pub(super) library: String,
    pub(super) slot_id: u64,
    pub(super) slot_description: String,
    /// Why nothing else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(flatten)]
    pub(super) token: Option<Described>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described {
    /// RFC 7512.
    pub(super) uri: String,
    pub(super) label: String,
    pub(super) serial: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) firmware: String,
    pub(super) initialized: bool,
    /// It failed a self-test.
    pub(super) error_state: bool,
    pub(super) login_required: bool,
    /// Largest number of sessions of one application; `null` without a limit.
    pub(super) max_sessions: Option<u64>,
    pub(super) pin: PinHints,
}

/// The token's flags about its PIN: hints, not a count.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PinHints {
    pub(super) set: bool,
    /// A wrong PIN was given since the last login.
    pub(super) count_low: bool,
    pub(super) final_try: bool,
    pub(super) locked: bool,
    pub(super) to_be_changed: bool,
    /// The device has a PIN pad.
    pub(super) pad: bool,
}

impl TokenRecord {
    /// Returns the record of a slot of a library, which is a path or a socket.
    pub(in crate::cli) fn of(library: &str, seen: &SeenSlot) -> Self {
        let SeenSlot { slot, token } = seen;
        Self {
            library: library.to_owned(),
            slot_id: slot.id,
            slot_description: slot.description.clone(),
            error: token.as_ref().err().map(ToString::to_string),
            token: token.as_ref().ok().map(|token| Described {
                uri: uri(&token.info).to_string(),
                label: token.info.label.clone(),
                serial: token.info.serial.clone(),
                manufacturer: token.info.manufacturer.clone(),
                model: token.info.model.clone(),
                firmware: token.info.firmware.clone(),
                initialized: token.initialized,
                error_state: token.error_state,
                login_required: token.info.login_required,
                max_sessions: token.info.max_sessions,
                pin: PinHints::of(token.info.pin),
            }),
        }
    }
}

impl PinHints {
    const fn of(flags: PinFlags) -> Self {
        Self {
            set: flags.initialized,
            count_low: flags.count_low,
            final_try: flags.final_try,
            locked: flags.locked,
            to_be_changed: flags.to_be_changed,
            pad: flags.protected_path,
        }
    }
}

/// A mechanism of a token.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MechanismRecord {
    pub(super) name: String,
    /// Bits or octets, as the mechanism defines; 0 where sizes have no meaning.
    pub(super) smallest_key: u64,
    pub(super) largest_key: u64,
    /// The device does it, not the library.
    pub(super) hardware: bool,
    pub(super) sign: bool,
    pub(super) generate_key_pair: bool,
    /// This program may sign with it.
    pub(super) used: bool,
}

impl MechanismRecord {
    pub(super) fn of(seen: SeenMechanism) -> Self {
        Self {
            used: seen.sign && signs_with(&seen.name),
            name: seen.name,
            smallest_key: seen.smallest_key,
            largest_key: seen.largest_key,
            hardware: seen.hardware,
            sign: seen.sign,
            generate_key_pair: seen.generate_key_pair,
        }
    }
}

/// Returns whether this program signs with a mechanism of this name.
fn signs_with(name: &str) -> bool {
    let hashes = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
    let of_digests = [Mechanism::RsaPkcs1, Mechanism::RsaPss, Mechanism::Ecdsa];
    let mut all = vec![Mechanism::Ed25519, Mechanism::MlDsa];
    for mechanism in of_digests {
        for mechanism in hashes.map(mechanism) {
            all.push(mechanism);
            all.extend(mechanism.in_token());
        }
    }
    all.into_iter().any(|mechanism| mechanism.name() == name)
}
