//! Every return code and its remedy in one table, with the reason beside each row.

use cryptoki::error::{Error, RvError};
use hsm::protocol::TokenCode;

/// What to do after a failed call. Unless the process ends, the session is discarded first, because an operation may
/// still be active in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Try once more on a new session.
    Retry,
    /// Try once more on a new session, with the key looked up again.
    FindKeyAgain,
    /// Do not try again now: the token lacks a resource and will have it later.
    Wait,
    /// End this process; a fresh one may succeed.
    Exit,
    /// Do not try again until someone changes the token, the key or the configuration.
    Blocked,
}

/// Returns the remedy for a failed call.
pub(crate) fn remedy(error: &Error) -> Remedy {
    match error {
        Error::Pkcs11(code, _) => remedy_for(*code),
        // The library lacks the function, or its answer cannot be read: another library is needed.
        Error::LibraryLoading(_)
        | Error::NotSupported
        | Error::TryFromInt(_)
        | Error::TryFromSlice(_)
        | Error::ParseInt(_)
        | Error::Utf8(_)
        | Error::NulError(_)
        | Error::NullFunctionPointer
        | Error::MissingSymbol(_)
        | Error::InvalidValue
        | Error::PinNotSet => Remedy::Blocked,
    }
}

// `RvError` is exhaustive and there is no `_` arm, so that a person must place every code that a new cryptoki adds.
#[rustfmt::skip]
fn remedy_for(code: RvError) -> Remedy {
    use Remedy::{Blocked, Exit, FindKeyAgain, Retry, Wait};
    use RvError as Rv;
    match code {
        // The session or its state is at fault.
        Rv::SessionHandleInvalid          // the token closed all sessions: restart, fail-over or removal
        | Rv::SessionClosed               // the same
        | Rv::OperationActive             // an earlier operation never ended; no library clears it
        | Rv::OperationNotInitialized     // the library lost our SignInit
        | Rv::FunctionCanceled            // someone cancelled at the device
        | Rv::Cancel                      // the same
        | Rv::GeneralError                // the library does not know the cause; a second one means restart
        | Rv::FunctionFailed              // the same; or a connector was interrupted briefly
        | Rv::DeviceError                 // one member of a cluster failed; if all did, the second try shows it
        | Rv::HostMemory                  // NSS returns it after a logout; others really lack memory
        | Rv::SavedStateInvalid           // state of another session
        | Rv::StateUnsaveable             // the same
        | Rv::FunctionRejected            // PKCS#11 3.0: refused this once
        | Rv::VendorDefined(_)            // unknown: a new session, then a new process
        | Rv::UnknownErrorCode(_) => Retry, // the same

        // The object is at fault.
        Rv::ObjectHandleInvalid           // replaced, or the token was unavailable (SoftHSM)
        | Rv::KeyHandleInvalid            // the same (NSS)
        | Rv::KeyChanged => FindKeyAgain, // the code says so

        // The token lacks a resource.
        Rv::DeviceMemory                  // full of sessions; a restart would only add to them
        | Rv::SessionCount                // other users hold them; keep our sessions
        | Rv::RandomNoRng                 // no entropy now
        | Rv::ExceededMaxIterations => Wait, // from FIPS generators; passes

        // Only a fresh process finds the token again.
        Rv::DeviceRemoved                 // p11-kit without its server; a card was removed
        | Rv::TokenNotPresent             // slot lists are cached until the library is initialised again
        | Rv::TokenNotRecognized          // the same
        | Rv::SlotIdInvalid               // slots were renumbered
        | Rv::UserNotLoggedIn             // the login is lost (always-authenticate keys are detected earlier)
        | Rv::CryptokiNotInitialized      // the library gave up
        | Rv::CryptokiAlreadyInitialized  // by other code in this process: cannot happen in a fresh one
        | Rv::MutexBad                    // the library's locks are broken
        | Rv::MutexNotLocked              // the same
        | Rv::LibraryLoadFailed           // a part of the library is missing
        | Rv::FipsSelfTestFailed          // by design the module does not work until it is restarted
        | Rv::SessionExists               // our view of our sessions is wrong
        | Rv::SessionReadOnlyExists       // the same
        | Rv::SessionReadWriteSoExists    // a security officer is logged in here, but not by us
        | Rv::UserAnotherAlreadyLoggedIn  // the same
        | Rv::UserTooManyTypes            // the same
        | Rv::UserAlreadyLoggedIn => Exit, // a login that we do not know of

        // Another try may lock the PIN for good.
        Rv::PinIncorrect
        | Rv::PinInvalid
        | Rv::PinLenRange
        | Rv::PinExpired                  // its owner must set a new one
        | Rv::PinLocked
        | Rv::PinTooWeak
        | Rv::UserPinNotInitialized       // the token is not set up
        | Rv::UserTypeInvalid             // the token has no such user
        // The key or its policy does not allow it.
        | Rv::KeyFunctionNotPermitted     // CKA_SIGN is false
        | Rv::KeyTypeInconsistent         // key and mechanism do not fit
        | Rv::KeySizeRange
        | Rv::KeyNotNeeded
        | Rv::KeyNeeded
        | Rv::KeyIndigestible
        | Rv::KeyNotWrappable
        | Rv::KeyUnextractable
        | Rv::PublicKeyInvalid
        | Rv::DomainParamsInvalid
        | Rv::CurveNotSupported
        | Rv::MechanismInvalid            // also a proxy that does not know the mechanism
        | Rv::MechanismParamInvalid
        | Rv::ActionProhibited            // FIPS policy
        | Rv::FunctionNotSupported
        | Rv::FunctionNotParallel
        | Rv::SessionParallelNotSupported
        | Rv::NeedToCreateThreads         // the library cannot work as we use it
        | Rv::CantLock                    // the same
        | Rv::RandomSeedNotSupported
        | Rv::TokenWriteProtected         // we write nothing: policy
        | Rv::SessionReadOnly             // the same
        | Rv::NewPinMode                  // one-time passwords
        | Rv::NextOtp
        | Rv::InformationSensitive
        // Our call is wrong; a retry does not correct it.
        | Rv::ArgumentsBad
        | Rv::DataInvalid
        | Rv::DataLenRange
        | Rv::BufferTooSmall
        | Rv::NoEvent
        | Rv::AttributeReadOnly
        | Rv::AttributeSensitive
        | Rv::AttributeTypeInvalid
        | Rv::AttributeValueInvalid
        | Rv::TemplateIncomplete
        | Rv::TemplateInconsistent
        | Rv::EncryptedDataInvalid        // from here on: functions that we never call
        | Rv::EncryptedDataLenRange
        | Rv::SignatureInvalid
        | Rv::SignatureLenRange
        | Rv::UnwrappingKeyHandleInvalid
        | Rv::UnwrappingKeySizeRange
        | Rv::UnwrappingKeyTypeInconsistent
        | Rv::WrappedKeyInvalid
        | Rv::WrappedKeyLenRange
        | Rv::WrappingKeyHandleInvalid
        | Rv::WrappingKeySizeRange
        | Rv::WrappingKeyTypeInconsistent => Blocked,
    }
}

/// Returns function and code by their names in the standard; a vendor's code in hexadecimal.
pub(crate) fn code(error: &Error) -> TokenCode {
    if let Error::Pkcs11(code, function) = error {
        TokenCode {
            function: format!("C_{function:?}"),
            code: code_name(*code),
        }
    } else {
        TokenCode {
            function: "the library".into(),
            code: error.to_string(),
        }
    }
}

fn code_name(code: RvError) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "two codes carry a number, all others a name"
    )]
    match code {
        RvError::VendorDefined(number) => format!("CKR_VENDOR_DEFINED 0x{number:08x}"),
        RvError::UnknownErrorCode(number) => format!("unknown code 0x{number:08x}"),
        named => {
            let mut name = String::from("CKR");
            for letter in format!("{named:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::{
        context::Function,
        error::{Error, RvError},
    };

    use super::{Remedy, code, remedy};

    fn signing(code: RvError) -> Error {
        Error::Pkcs11(code, Function::Sign)
    }

    #[test]
    fn a_call_that_failed_with_a_pin_code_is_never_retried() {
        for pin in [
            RvError::PinIncorrect,
            RvError::PinLocked,
            RvError::PinExpired,
            RvError::PinInvalid,
        ] {
            assert_eq!(remedy(&signing(pin)), Remedy::Blocked, "{pin:?}");
        }
    }

    #[test]
    fn a_token_without_free_sessions_causes_no_restart() {
        assert_eq!(remedy(&signing(RvError::DeviceMemory)), Remedy::Wait);
        assert_eq!(remedy(&signing(RvError::SessionCount)), Remedy::Wait);
    }

    #[test]
    fn codes_are_shown_as_the_standard_names_them() {
        assert_eq!(
            code(&signing(RvError::PinIncorrect)).to_string(),
            "C_Sign returned CKR_PIN_INCORRECT"
        );
        assert_eq!(
            code(&signing(RvError::VendorDefined(0x8000_0384))).code,
            "CKR_VENDOR_DEFINED 0x80000384"
        );
    }
}
