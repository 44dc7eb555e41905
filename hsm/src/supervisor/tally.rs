//! Counts of a token's events, so that metrics miss no transition between two scrapes.

use std::{collections::BTreeMap, time::Duration};

use super::{TokenState, WorkerEnd};
use crate::{
    client::HsmError,
    protocol::{ExitReason, LoginAnswer, NoToken, PinFlags, TokenCode, TokenInfo},
};

/// Counts since [`Token::start`](super::Token::start).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of workers started or connections to a sidecar made.
    pub starts: u64,
    /// How often each state was entered, by [`TokenState::name`].
    pub entered: BTreeMap<&'static str, u64>,
    /// How often a worker ended, by [`WorkerEnd::name`].
    pub ended: BTreeMap<&'static str, u64>,
    /// Why the last worker ended.
    pub last_end: Option<WorkerEnd>,
    /// Logins by outcome: one of [`Self::LOGINS`].
    pub logins: BTreeMap<&'static str, u64>,
    /// How many logins gave the token its PIN, as far as is known, and how long the last of them took.
    pub tried: Option<(u64, Duration)>,
    /// Errors around logins and at the ends of workers, by [`TokenCode::name`].
    pub errors: BTreeMap<&'static str, u64>,
    /// PIN flags from before the last login, with `locked` set if that login locked the PIN.
    pub pin: Option<PinFlags>,
}

impl Tally {
    /// Outcomes of a login: accepted; rejected, which may cost the token one of its tries; not tried because of the token's
    /// flags; failed before the PIN was given; and without a clear answer.
    pub const LOGINS: [&'static str; 5] =
        ["accepted", "rejected", "not-tried", "failed", "unclear"];

    pub(super) fn started(&mut self) {
        self.starts += 1;
    }

    pub(super) fn entered(&mut self, state: &TokenState) {
        *self.entered.entry(state.name()).or_default() += 1;
    }

    pub(super) fn ended(&mut self, end: &WorkerEnd) {
        *self.ended.entry(end.name()).or_default() += 1;
        if let WorkerEnd::Said(ExitReason::TokenLost(code))
        | WorkerEnd::NoToken(NoToken::Initialize(code) | NoToken::Sessions(code)) = end
        {
            self.failed(code);
        }
        self.last_end = Some(end.clone());
    }

    /// Counts a login that took so long. `token` is the token's description from before it.
    pub(super) fn login(
        &mut self,
        token: &TokenInfo,
        answer: &Result<LoginAnswer, HsmError>,
        took: Duration,
    ) {
        let mut pin = token.pin;
        let outcome = match answer {
            Ok(LoginAnswer::Accepted) => "accepted",
            Ok(LoginAnswer::Rejected { locked, code }) => {
                pin.locked |= locked;
                self.failed(code);
                "rejected"
            }
            Ok(LoginAnswer::NotTried { .. }) => "not-tried",
            // The code is counted when the worker ends because of it.
            Ok(LoginAnswer::Failed(_)) => "failed",
            Ok(LoginAnswer::Unclear(code)) => {
                self.failed(code);
                "unclear"
            }
            Err(_) => "unclear",
        };
        self.pin = Some(pin);
        if !matches!(outcome, "not-tried" | "failed") {
            let before = self.tried.map_or(0, |(tries, _)| tries);
            self.tried = Some((before + 1, took));
        }
        *self.logins.entry(outcome).or_default() += 1;
    }

    fn failed(&mut self, code: &TokenCode) {
        *self.errors.entry(code.name()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: &str) -> TokenCode {
        TokenCode {
            function: "C_Login".to_owned(),
            code: code.to_owned(),
        }
    }

    fn token(pin: PinFlags) -> TokenInfo {
        TokenInfo {
            label: "issuing".to_owned(),
            serial: "1".to_owned(),
            manufacturer: String::new(),
            model: String::new(),
            slot: crate::Slot::default(),
            firmware: String::new(),
            login_required: true,
            pin,
            max_sessions: None,
        }
    }

    #[test]
    fn each_login_is_counted_by_its_outcome_with_the_code_and_the_flags_of_the_pin() {
        let mut tally = Tally::default();
        let low = PinFlags {
            count_low: true,
            ..PinFlags::default()
        };
        let second = Duration::from_secs(1);
        tally.login(
            &token(PinFlags::default()),
            &Ok(LoginAnswer::Accepted),
            second,
        );
        assert_eq!(tally.pin, Some(PinFlags::default()));
        let rejected = LoginAnswer::Rejected {
            locked: true,
            code: code("CKR_PIN_LOCKED"),
        };
        tally.login(&token(low), &Ok(rejected), second);
        assert_eq!(
            tally.pin,
            Some(PinFlags {
                locked: true,
                ..low
            })
        );
        let unclear = LoginAnswer::Unclear(code("0x80000384"));
        tally.login(&token(low), &Ok(unclear), second);
        tally.login(&token(low), &Err(HsmError::TimedOut), 2 * second);
        let why = "the PIN must not be tried".to_owned();
        let not_tried = LoginAnswer::NotTried { why };
        tally.login(&token(low), &Ok(not_tried), 3 * second);
        assert_eq!(tally.tried, Some((4, 2 * second)));
        tally.ended(&WorkerEnd::Said(ExitReason::TokenLost(code(
            "CKR_DEVICE_REMOVED",
        ))));
        let one = |names: &[(&'static str, u64)]| names.iter().copied().collect::<BTreeMap<_, _>>();
        assert_eq!(
            tally.logins,
            one(&[
                ("accepted", 1),
                ("not-tried", 1),
                ("rejected", 1),
                ("unclear", 2)
            ])
        );
        assert_eq!(
            tally.errors,
            one(&[
                ("CKR_DEVICE_REMOVED", 1),
                ("CKR_PIN_LOCKED", 1),
                ("CKR_VENDOR_DEFINED", 1)
            ])
        );
        assert!(
            tally
                .logins
                .keys()
                .all(|outcome| Tally::LOGINS.contains(outcome))
        );
    }
}
