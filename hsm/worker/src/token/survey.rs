//! Describes every token of the library, for a client that names none.

use std::path::Path;

use cryptoki::{
    context::Pkcs11,
    error::Error,
    mechanism::{MechanismInfo, MechanismType},
    slot::Slot as Pkcs11Slot,
};
use hsm::protocol::{
    MOST_MECHANISMS, MOST_TOKENS, NoToken, SeenMechanism, SeenSlot, SeenToken, Slot,
};
use pkcs11_two_calls::TwoCallSigner;

use super::{described, load, refused, told};
use crate::{recovery::code, watchdog::WatchdogSeat};

/// Loads and initialises the module, once per process, and describes its tokens. Opens no session. Each call into the library
/// gets the watchdog's whole time.
pub(crate) fn survey(module: &Path, seat: &WatchdogSeat) -> Result<Vec<SeenSlot>, NoToken> {
    let (module, signer) = load(module)?;
    let slots = module
        .get_slots_with_token()
        .map_err(|error| refused(&error))?;
    let seen = slots.into_iter().take(MOST_TOKENS.into()).map(|slot| {
        seat.next_call();
        let told = told(&module, slot);
        SeenSlot {
            token: token(&module, &signer, slot, told.clone(), seat).map_err(|error| code(&error)),
            slot: told,
        }
    });
    Ok(seen.collect())
}

fn token(
    module: &Pkcs11,
    signer: &TwoCallSigner,
    slot: Pkcs11Slot,
    told: Slot,
    seat: &WatchdogSeat,
) -> Result<SeenToken, Error> {
    seat.next_call();
    let info = signer.token_info(module, slot)?;
    seat.next_call();
    let mechanisms = module.get_mechanism_list(slot).map(|mut all| {
        all.sort_by_key(|mechanism| **mechanism);
        all.truncate(MOST_MECHANISMS);
        let read = all.into_iter().filter_map(|mechanism| {
            seat.next_call();
            // A mechanism without a description is none that anybody could use.
            let info = module.get_mechanism_info(slot, mechanism).ok()?;
            Some(seen(mechanism, &info))
        });
        read.collect()
    });
    Ok(SeenToken {
        initialized: info.token_initialized(),
        error_state: info.error_state(),
        time: info.utc_time().map(|time| time.as_iso8601_string()),
        info: described(&info, told),
        mechanisms: mechanisms.map_err(|error| code(&error)),
    })
}

fn seen(mechanism: MechanismType, info: &MechanismInfo) -> SeenMechanism {
    SeenMechanism {
        name: mechanism.to_string(),
        smallest_key: u64::try_from(info.min_key_size()).unwrap_or(u64::MAX),
        largest_key: u64::try_from(info.max_key_size()).unwrap_or(u64::MAX),
        hardware: info.hardware(),
        sign: info.sign(),
        generate_key_pair: info.generate_key_pair(),
    }
}
