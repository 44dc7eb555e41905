//! Checks of a token by what it says about itself without a login.

use hsm::{PinFlags, SeenSlot, SeenToken};
use jiff::{SignedDuration, Timestamp};

use super::{
    check::{CheckId, CheckState, FailedCheck},
    findings::Findings,
};
use crate::{
    config::{PinSource, TokenConfig},
    message::first_of,
    pipeline::now,
    signers::selector,
};

/// Checks of the token, each after the one before it.
pub(super) const TOKEN: [CheckId; 4] = [
    CheckId::TokenPresent,
    CheckId::TokenUnique,
    CheckId::TokenInitialized,
    CheckId::TokenSelfTest,
];
/// Checks that read the flags and limits of the token that was found.
pub(super) const OF_FLAGS: [CheckId; 8] = [
    CheckId::TokenClock,
    CheckId::TokenSessions,
    CheckId::PinConfigured,
    CheckId::PinLocked,
    CheckId::PinFinalTry,
    CheckId::PinToBeChanged,
    CheckId::PinSet,
    CheckId::PinCountLow,
];
/// Difference of the token's clock from this machine's that somebody should look at.
const CLOCK_WARNS: SignedDuration = SignedDuration::from_secs(60);
/// Most tokens that a message names.
const MOST_NAMED: usize = 8;

/// Finds the configured token among those of its library.
///
/// # Errors
/// The first check that fails.
pub(super) fn find(token: &TokenConfig, slots: &[SeenSlot]) -> Result<SeenToken, FailedCheck> {
    let wanted = selector(token);
    let seen: Vec<_> = slots
        .iter()
        .filter_map(|slot| slot.token.as_ref().ok())
        .collect();
    let found: Vec<_> = seen.iter().filter(|it| wanted.matches(&it.info)).collect();
    let [one] = found[..] else {
        if found.is_empty() {
            let labels = seen.iter().filter(|it| it.initialized);
            let mut others: Vec<_> = labels.map(|it| format!("{:?}", it.info.label)).collect();
            let unreadable = slots.iter().filter_map(|slot| slot.token.as_ref().err());
            others.extend(unreadable.map(ToString::to_string));
            let others = match others.is_empty() {
                true => "none".to_owned(),
                false => first_of(MOST_NAMED, &others),
            };
            return Err(FailedCheck::new(
                CheckId::TokenPresent,
                format_args!("the library shows no token with {wanted}; it shows {others}"),
            ));
        }
        let serials: Vec<_> = found
            .iter()
            .map(|it| format!("{:?}", it.info.serial))
            .collect();
        return Err(FailedCheck::new(
            CheckId::TokenUnique,
            format_args!(
                "several tokens have {wanted}; their serial numbers are {}",
                first_of(MOST_NAMED, &serials)
            ),
        ));
    };
    if !one.initialized {
        return Err(FailedCheck::new(
            CheckId::TokenInitialized,
            "the token says that it is not initialised (CKF_TOKEN_INITIALIZED)",
        ));
    }
    if one.error_state {
        return Err(FailedCheck::new(
            CheckId::TokenSelfTest,
            "the token failed a self-test (CKF_ERROR_STATE)",
        ));
    }
    Ok((**one).clone())
}

/// Checks the limits of the token and the flags of its PIN. Returns the first check that forbids a login.
pub(super) fn flags(
    findings: &mut Findings,
    subject: &str,
    token: &TokenConfig,
    seen: &SeenToken,
) -> Option<CheckId> {
    clock(findings, subject, seen.time.as_deref());
    sessions(findings, subject, token, seen);
    let takes_no_pin = matches!(token.pin(), PinSource::None);
    if takes_no_pin && seen.info.login_required {
        findings.add(
            CheckId::PinConfigured,
            CheckState::Fail,
            subject,
            "the token requires a login (CKF_LOGIN_REQUIRED), and the configuration gives no PIN",
        );
        findings.skip_after(&OF_FLAGS[3..], subject, CheckId::PinConfigured);
        return Some(CheckId::PinConfigured);
    }
    if takes_no_pin {
        findings.skip(&OF_FLAGS[2..], subject, "the token is used without a login");
        return None;
    }
    findings.add(
        CheckId::PinConfigured,
        CheckState::Ok,
        subject,
        "the configuration gives a PIN",
    );
    pin(findings, subject, seen.info.pin)
}

/// Compares the token's clock with this machine's. Nothing that we do depends on it, but the token's own log does.
fn clock(findings: &mut Findings, subject: &str, told: Option<&str>) {
    let Some(told) = told else {
        findings.skip(
            &[CheckId::TokenClock],
            subject,
            "the token says that it has no clock",
        );
        return;
    };
    let (state, message) = match told.parse::<Timestamp>() {
        Ok(time) if now().duration_since(time).abs() > CLOCK_WARNS => {
            (CheckState::Warn, format!("the token's clock says {time}"))
        }
        Ok(_) => (
            CheckState::Ok,
            format!(
                "the token's clock is within {} s of this machine's",
                CLOCK_WARNS.as_secs()
            ),
        ),
        Err(_) => (
            CheckState::Warn,
            format!("the token's clock says {told}, which is no time"),
        ),
    };
    findings.add(CheckId::TokenClock, state, subject, message);
}

fn sessions(findings: &mut Findings, subject: &str, token: &TokenConfig, seen: &SeenToken) {
    let (state, message) = match (token.sessions(), seen.info.max_sessions) {
        // One more session holds the login.
        (Some(wanted), Some(most)) if u64::from(wanted.get()) >= most => (
            CheckState::Warn,
            format!(
                "the configuration asks for {wanted} sessions and one more holds the login; the token allows {most}"
            ),
        ),
        (_, Some(most)) => (CheckState::Ok, format!("the token allows {most} sessions")),
        (_, None) => (CheckState::Ok, "the token names no limit".to_owned()),
    };
    findings.add(CheckId::TokenSessions, state, subject, message);
}

/// Checks the flags of the PIN, the worst first. Tokens set them late or never, so that a flag that is not set proves nothing.
fn pin(findings: &mut Findings, subject: &str, flags: PinFlags) -> Option<CheckId> {
    let rows = [
        (
            CheckId::PinLocked,
            flags.locked,
            CheckState::Fail,
            "the user PIN is locked (CKF_USER_PIN_LOCKED)",
        ),
        (
            CheckId::PinFinalTry,
            flags.final_try,
            CheckState::Fail,
            "one more wrong PIN locks the token (CKF_USER_PIN_FINAL_TRY)",
        ),
        (
            CheckId::PinToBeChanged,
            flags.to_be_changed,
            CheckState::Fail,
            "the user PIN must be changed before use (CKF_USER_PIN_TO_BE_CHANGED)",
        ),
        (
            CheckId::PinSet,
            !flags.initialized,
            CheckState::Warn,
            "the token does not say that a user PIN is set (CKF_USER_PIN_INITIALIZED); some tokens never do",
        ),
        (
            CheckId::PinCountLow,
            flags.count_low,
            CheckState::Warn,
            "a wrong PIN was given since the last login (CKF_USER_PIN_COUNT_LOW)",
        ),
    ];
    let mut forbids = None;
    for (id, raised, state, message) in rows {
        match raised {
            true => findings.add(id, state, subject, message),
            false => findings.add(id, CheckState::Ok, subject, "the token reports nothing"),
        }
        // A token without a PIN that reports so may still take one: the record decides.
        if raised && id != CheckId::PinSet {
            forbids = forbids.or(Some(id));
        }
    }
    forbids
}
