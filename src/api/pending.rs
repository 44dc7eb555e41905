//! What the controller says about a request that waits: written by the controller, and read by the commands for people.

use std::fmt;

/// Before the issuer.
const WAITING: &str = "Waiting for ";
/// After the issuer.
const TO_BE_CREATED: &str = " to be created";
/// Between the issuer and the reason of its condition.
const TO_BECOME_READY: &str = " to become ready; its status says ";
/// Between the issuer and the cause.
const TO_BE_FIXED: &str = " to be fixed: ";
const TRIED_AGAIN: &str = "Signing is tried again until it succeeds: ";
const TURN: &str = "Waiting for its turn: ";
const BUG: &str = "An internal check failed while signing with ";

/// Why a request waits. `T` is the text about what must be fixed or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingCause<T> {
    /// The issuer does not exist.
    IssuerMissing,
    /// The issuer cannot sign, for this reason of its condition.
    NotReady(T),
    /// Somebody must fix the issuer.
    ToBeFixed(T),
    /// A failure that passes by itself.
    TriedAgain(T),
    /// The issuer has a limit, and other requests come first.
    Turn,
    /// An invariant of the controller broke.
    Bug,
}

impl<'a> PendingCause<&'a str> {
    /// Returns the cause in a message about a request; `None` if it is about something else.
    #[must_use]
    pub fn of_message(message: &'a str) -> Option<Self> {
        if let Some(why) = message.strip_prefix(TRIED_AGAIN) {
            Some(Self::TriedAgain(why))
        } else if message.starts_with(TURN) {
            Some(Self::Turn)
        } else if message.starts_with(BUG) {
            Some(Self::Bug)
        } else {
            let waiting = message.strip_prefix(WAITING)?;
            if let Some((_, reason)) = waiting.split_once(TO_BECOME_READY) {
                return Some(Self::NotReady(reason));
            }
            if let Some((_, why)) = waiting.split_once(TO_BE_FIXED) {
                return Some(Self::ToBeFixed(why));
            }
            waiting
                .ends_with(TO_BE_CREATED)
                .then_some(Self::IssuerMissing)
        }
    }
}

impl<T: fmt::Display> PendingCause<T> {
    /// Returns the message about a request of this issuer.
    #[must_use]
    pub fn message(&self, issuer: impl fmt::Display) -> String {
        match self {
            Self::IssuerMissing => format!("{WAITING}{issuer}{TO_BE_CREATED}"),
            Self::NotReady(reason) => format!("{WAITING}{issuer}{TO_BECOME_READY}{reason}"),
            Self::ToBeFixed(why) => format!("{WAITING}{issuer}{TO_BE_FIXED}{why}"),
            Self::TriedAgain(why) => format!("{TRIED_AGAIN}{why}"),
            Self::Turn => format!("{TURN}{issuer} signs no more than its spec allows"),
            Self::Bug => {
                format!("{BUG}{issuer}; see the controller's log and report this bug")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_read_from_its_own_message() {
        for cause in [
            PendingCause::IssuerMissing,
            PendingCause::NotReady("KeyNotFound"),
            PendingCause::ToBeFixed("the key is gone: now"),
            PendingCause::TriedAgain("the token is busy"),
            PendingCause::Turn,
            PendingCause::Bug,
        ] {
            let message = cause.message("PKCS11Issuer shop/issuing");
            assert_eq!(PendingCause::of_message(&message), Some(cause), "{message}");
        }
        assert_eq!(PendingCause::of_message("Signed by somebody"), None);
        assert_eq!(PendingCause::of_message("Waiting for Godot"), None);
    }
}
