//! What the PIN record in a file says about a PIN, for readers that try none.

use std::path::Path;

use hsm::{Pin, TokenInfo};

use super::{
    place::RecordKeys,
    record::{LoginAttempt, PinState, Refused, Verdict, decide},
    sets_count_low_at_once,
    store::{FileStore, PinStore, StoreError},
};

/// What is on record about a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinStanding {
    /// The token accepted it at the last login.
    Accepted,
    /// It may be tried, and it is not known whether it is right.
    Unknown,
    /// It must not be tried.
    Refused(Refused),
}

/// Returns what the record in this file says about the PIN of a token that reports this of itself. Reads the file once, takes no
/// lock and writes nothing.
///
/// # Errors
/// The record cannot be read.
pub fn standing(
    record: &Path,
    token: &TokenInfo,
    pin: &Pin,
    max_rejected: u32,
) -> Result<PinStanding, StoreError> {
    let file = FileStore::new(record.to_owned());
    let states = file.peek()?;
    let store = PinStore::File(file);
    let Some(states) = states else {
        return Ok(PinStanding::Unknown);
    };
    let record = store.record(&states, &RecordKeys::of(token))?;
    let version = states.version_of(pin.expose());
    let attempt = LoginAttempt {
        version: &version,
        holder: "",
        // If it is not gone, its try is about to be settled.
        holder_is_gone: true,
        count_low_is_reliable: sets_count_low_at_once(&token.manufacturer),
        max_rejected,
    };
    Ok(match decide(record.as_ref(), token.pin, attempt) {
        Verdict::Refuse(why) => PinStanding::Refused(why),
        Verdict::WaitFor(_) => PinStanding::Unknown,
        Verdict::Try(_) => {
            let accepted = record.is_some_and(|record| {
                record.state == PinState::Accepted && record.version == version
            });
            match accepted {
                true => PinStanding::Accepted,
                false => PinStanding::Unknown,
            }
        }
    })
}
