//! `C_Login`: called once per request of the client, and never when the token's flags forbid a try.

use cryptoki::{
    error::{Error, RvError},
    session::{Session, SessionState, UserType},
    types::RawAuthPin,
};
use hsm::protocol::{LoginAnswer, Pin, PinFlags};

use crate::{recovery::code, token::Token};

/// Logs the token's user in, for all sessions of this process.
pub(crate) fn log_in(token: &Token, session: &Session, pin: &Pin) -> LoginAnswer {
    match token.describe() {
        Err(error) => return LoginAnswer::Failed(code(&error)),
        Ok(info) => {
            if let Some(why) = forbidden(info.pin) {
                return LoginAnswer::NotTried { why: why.into() };
            }
        }
    }
    // Wiped when dropped.
    let raw = RawAuthPin::new(Box::new(pin.expose().to_vec()));
    let login = session.login_with_raw(UserType::User, &raw);
    match login {
        Ok(()) => logged_in(token, session),
        Err(error) => refused(token, session, error),
    }
}

/// Returns why no PIN may be tried under these flags, if so.
///
/// `CKF_USER_PIN_COUNT_LOW` does not forbid a try: it stays set from the first mistake until the next login, so refusing
/// would make the first mistake final. Nor does a missing `CKF_USER_PIN_INITIALIZED` or a set
/// `CKF_PROTECTED_AUTHENTICATION_PATH` forbid one: both only inform (PKCS#11 2.40, section 4.4), and some tokens that accept
/// a PIN report them like this. `C_Login` tells.
fn forbidden(flags: PinFlags) -> Option<&'static str> {
    let PinFlags {
        initialized: _,
        count_low: _,
        final_try,
        locked,
        to_be_changed,
        protected_path: _,
    } = flags;
    if locked {
        Some("the user PIN is locked; have the security officer reset it")
    } else if final_try {
        Some("one try is left before the user PIN locks; log in by hand with the right PIN first")
    } else if to_be_changed {
        Some("the token requires a change of its user PIN; have its owner change it")
    } else {
        None
    }
}

/// Checks the session's state, because some libraries return `CKR_OK` without a login. A token without
/// `CKF_LOGIN_REQUIRED` may stay in the public state.
fn logged_in(token: &Token, session: &Session) -> LoginAnswer {
    match session.get_session_info().map(|info| info.session_state()) {
        Ok(SessionState::RoUser | SessionState::RwUser) => LoginAnswer::Accepted,
        Ok(_) if !token.info.login_required => LoginAnswer::Accepted,
        Ok(SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer) => {
            LoginAnswer::NotTried {
                why: "C_Login returned CKR_OK, but the session is not logged in as the user".into(),
            }
        }
        // The library does not tell the state, so its return code is all there is.
        Err(error) if is_missing(&error) => LoginAnswer::Accepted,
        Err(error) => LoginAnswer::Unclear(code(&error)),
    }
}

/// Returns whether the library lacks the function.
fn is_missing(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(RvError::FunctionNotSupported, _) | Error::NullFunctionPointer
    )
}

fn refused(token: &Token, session: &Session, error: Error) -> LoginAnswer {
    if is_missing(&error) {
        return LoginAnswer::NotTried {
            why: format!("the token has no login: {}", code(&error)),
        };
    }
    let Error::Pkcs11(value, _) = error else {
        return LoginAnswer::Unclear(code(&error));
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other code leaves open whether the PIN counted"
    )]
    match value {
        RvError::PinIncorrect => {
            let locked = token.describe().is_ok_and(|info| info.pin.locked);
            LoginAnswer::Rejected {
                locked,
                code: code(&error),
            }
        }
        RvError::PinLocked => LoginAnswer::Rejected {
            locked: true,
            code: code(&error),
        },
        RvError::PinExpired | RvError::PinInvalid | RvError::PinLenRange => LoginAnswer::Rejected {
            locked: false,
            code: code(&error),
        },
        // A token that takes its PIN only at its own pad refuses the argument (PKCS#11 2.40, section 5.6, C_Login). The
        // try is recorded as rejected, because some of these tokens may count it.
        RvError::ArgumentsBad | RvError::FunctionCanceled | RvError::Cancel if has_pad(token) => {
            LoginAnswer::Rejected {
                locked: false,
                code: code(&error),
            }
        }
        RvError::UserPinNotInitialized => LoginAnswer::NotTried {
            why: code(&error).to_string(),
        },
        // Logins are tried one at a time, so no other thread of this process can have logged in: the library has kept an
        // earlier login.
        RvError::UserAlreadyLoggedIn => logged_in(token, session),
        _ => LoginAnswer::Unclear(code(&error)),
    }
}

fn has_pad(token: &Token) -> bool {
    token.describe().is_ok_and(|info| info.pin.protected_path)
}

#[cfg(test)]
mod tests {
    use hsm::protocol::PinFlags;

    use super::forbidden;

    const GOOD: PinFlags = PinFlags {
        initialized: true,
        count_low: false,
        final_try: false,
        locked: false,
        to_be_changed: false,
        protected_path: false,
    };

    #[test]
    fn the_final_try_before_the_lock_is_never_used() {
        assert!(
            forbidden(PinFlags {
                count_low: true,
                final_try: true,
                ..GOOD
            })
            .is_some()
        );
    }

    #[test]
    fn a_wrong_pin_does_not_forbid_the_next_login() {
        assert_eq!(
            forbidden(PinFlags {
                count_low: true,
                ..GOOD
            }),
            None
        );
    }

    #[test]
    fn flags_that_only_inform_do_not_forbid_a_login() {
        let informing = PinFlags {
            initialized: false,
            protected_path: true,
            ..GOOD
        };
        assert_eq!(forbidden(informing), None);
    }

    #[test]
    fn a_pin_that_is_locked_or_to_be_changed_is_not_tried() {
        assert!(
            forbidden(PinFlags {
                locked: true,
                ..GOOD
            })
            .is_some()
        );
        assert!(
            forbidden(PinFlags {
                to_be_changed: true,
                ..GOOD
            })
            .is_some()
        );
    }
}
