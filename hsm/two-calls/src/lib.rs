//! A signature in two PKCS#11 calls: `C_SignInit`, and `C_Sign` into a buffer of the size that is known beforehand.
//!
//! `Session::sign` of `cryptoki` makes three calls, because it asks for the length first. Over a network that takes half
//! as much time again, and some libraries end the operation when asked for the length. `cryptoki` exposes neither its
//! list of functions nor a way to pass a buffer, so this package calls the two functions itself. It is the only package
//! in the shipped programs with `unsafe` code (`docs/adr/0007-two-calls-per-signature.md`).

use std::{fmt, path::Path, ptr};

use cryptoki::{
    context::{Function, Pkcs11},
    error::{Error, Rv, RvError},
    mechanism::Mechanism,
    object::ObjectHandle,
    session::Session,
    slot::{Slot, TokenInfo},
};
use cryptoki_sys::{
    CK_BYTE, CK_FUNCTION_LIST, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE,
    CK_SLOT_ID, CK_TOKEN_INFO, CK_ULONG, CKF_CLOCK_ON_TOKEN,
};
use thiserror::Error as ThisError;

type Describe = unsafe extern "C" fn(CK_SLOT_ID, *mut CK_TOKEN_INFO) -> CK_RV;
type SignInit =
    unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Sign = unsafe extern "C" fn(
    CK_SESSION_HANDLE,
    *mut CK_BYTE,
    CK_ULONG,
    *mut CK_BYTE,
    *mut CK_ULONG,
) -> CK_RV;

/// Size in octets of the largest buffer that a library gets if it finds the known size too small.
const MOST_OCTETS: usize = 65_536;

/// Makes signatures with a PKCS#11 library, and describes its tokens.
pub struct TwoCallSigner {
    /// `None` if they may differ from the functions that `cryptoki` calls. Then `cryptoki` itself signs, in three
    /// calls.
    functions: Option<Functions>,
    /// Keeps the library loaded, so that the functions stay valid.
    _library: cryptoki_sys::Pkcs11,
}

/// The two functions that make a signature, and the one that describes a token.
#[derive(Clone, Copy)]
struct Functions {
    describe: Option<Describe>,
    init: SignInit,
    sign: Sign,
}

impl fmt::Debug for TwoCallSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwoCallSigner")
            .field("calls", &if self.functions.is_some() { 2 } else { 3 })
            .finish_non_exhaustive()
    }
}

/// Why there is no signature. The session may have an active operation: discard it.
#[derive(Debug, ThisError)]
pub enum CallError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// `C_Sign` succeeded and claims a signature longer than its buffer. The buffer was not read.
    #[error("C_Sign claims to have written {told} octets into a buffer of {room}")]
    Overlong {
        /// Number of octets that the library claims to have written.
        told: CK_ULONG,
        /// Length of the buffer in octets.
        room: usize,
    },
}

/// Outcome of a `C_Sign` that succeeded or asks for a larger buffer.
enum Answer {
    Signed(Vec<u8>),
    /// `CKR_BUFFER_TOO_SMALL`, with the length that the library returned.
    TooSmall {
        told: CK_ULONG,
    },
}

impl TwoCallSigner {
    /// Loads a library for `cryptoki` and for signing. Does not initialise it.
    ///
    /// # Errors
    /// The library cannot be loaded, or does not return its list of functions.
    pub fn load(module: &Path) -> Result<(Pkcs11, Self), Error> {
        let pkcs11 = Pkcs11::new(module)?;
        // The loader returns the library that it has already loaded. If the file was replaced in between, it loads a
        // copy; the copy is not initialised, so the first signature fails.
        // SAFETY: `cryptoki` has just loaded the library by the same function, so the library's initialisers have run.
        let library =
            unsafe { cryptoki_sys::Pkcs11::new(module) }.map_err(Error::LibraryLoading)?;
        let first = Functions::of(&library)?;
        let second = Functions::of(&library)?;
        let signer = Self {
            functions: first.are(second).then_some(first),
            _library: library,
        };
        Ok((pkcs11, signer))
    }

    /// Describes the token in a slot of `module`, which is the [`Pkcs11`] that [`Self::load`] returned. Leaves out the
    /// token's time if `cryptoki` cannot read it: opencryptoki's is not in the standard's format.
    ///
    /// # Errors
    /// The call fails, or the library does not tell the same functions twice and its description cannot be read.
    pub fn token_info(&self, module: &Pkcs11, slot: Slot) -> Result<TokenInfo, Error> {
        let error = match module.get_token_info(slot) {
            Err(error @ (Error::ParseInt(_) | Error::Utf8(_))) => error,
            read => return read,
        };
        let describe = self.functions.and_then(|functions| functions.describe);
        let mut info = CK_TOKEN_INFO::default();
        let slot = CK_SLOT_ID::try_from(slot.id())?;
        // SAFETY: `info` may be written to, and a library refuses a slot that it does not have.
        let code = unsafe { describe.ok_or(error)?(slot, &raw mut info) };
        Rv::from(code).into_result(Function::GetTokenInfo)?;
        info.flags &= !CKF_CLOCK_ON_TOKEN;
        TokenInfo::try_from(info)
    }

    /// Signs with a session of the [`Pkcs11`] that [`Self::load`] returned. `octets` is the length of such signatures.
    /// Blocks for as long as the token takes.
    ///
    /// A library that returns `CKR_BUFFER_TOO_SMALL` leaves the operation active (PKCS#11 3.1, section 5.13.2) and
    /// returns the length that it needs: then a third call signs. If the returned length is not larger, a third call
    /// asks for the length and a fourth signs.
    ///
    /// # Errors
    /// A call fails, or the library claims to have written more than there was room for.
    pub fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        octets: usize,
    ) -> Result<Vec<u8>, CallError> {
        match self.functions {
            Some(functions) => functions.sign(session, mechanism, key, data, octets),
            None => Ok(session.sign(mechanism, key, data)?),
        }
    }
}

impl Functions {
    /// Returns the functions that the library gives out now.
    fn of(library: &cryptoki_sys::Pkcs11) -> Result<Self, Error> {
        let list = functions(library)?;
        Ok(Self {
            describe: list.C_GetTokenInfo,
            init: list.C_SignInit.ok_or(Error::NullFunctionPointer)?,
            sign: list.C_Sign.ok_or(Error::NullFunctionPointer)?,
        })
    }

    /// Returns whether both are the same code. `p11-kit-client.so` creates a new instance with its own functions at every
    /// request for the list, and the instances do not know each other's sessions.
    fn are(self, other: Self) -> bool {
        ptr::fn_addr_eq(self.init, other.init) && ptr::fn_addr_eq(self.sign, other.sign)
    }

    /// As [`TwoCallSigner::sign`].
    fn sign(
        self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        octets: usize,
    ) -> Result<Vec<u8>, CallError> {
        let mut mechanism = CK_MECHANISM::from(mechanism);
        // SAFETY: the mechanism points to parameters that the caller lends until this function returns. The handles are
        // numbers; the library looks them up and refuses those that it did not give out.
        let code = unsafe { (self.init)(session.handle(), &raw mut mechanism, key.handle()) };
        Rv::from(code).into_result(Function::SignInit)?;
        let told = match self.sign_into(session, data, octets)? {
            Answer::Signed(signature) => return Ok(signature),
            Answer::TooSmall { told } => told,
        };
        let too_small = || CallError::Call(Error::Pkcs11(RvError::BufferTooSmall, Function::Sign));
        let fits = |told: CK_ULONG| {
            let wanted = usize::try_from(told).ok();
            wanted.filter(|wanted| *wanted <= MOST_OCTETS)
        };
        let wanted = match fits(told) {
            Some(wanted) if wanted > octets => wanted,
            _ => fits(self.length(session, data)?).ok_or_else(too_small)?,
        };
        match self.sign_into(session, data, wanted)? {
            Answer::Signed(signature) => Ok(signature),
            Answer::TooSmall { .. } => Err(too_small()),
        }
    }

    /// Calls `C_Sign` with a buffer of `room` octets.
    fn sign_into(self, session: &Session, data: &[u8], room: usize) -> Result<Answer, CallError> {
        let mut signature: Vec<CK_BYTE> = vec![0; room];
        let mut length = CK_ULONG::try_from(room).map_err(Error::from)?;
        let data_length = CK_ULONG::try_from(data.len()).map_err(Error::from)?;
        // SAFETY: both buffers have the given lengths and live until the call returns. The library reads the data, which
        // PKCS#11 declares as not constant but never writes to, and writes at most `length` octets.
        let code = unsafe {
            (self.sign)(
                session.handle(),
                data.as_ptr().cast_mut(),
                data_length,
                signature.as_mut_ptr(),
                &raw mut length,
            )
        };
        match Rv::from(code).into_result(Function::Sign) {
            Err(Error::Pkcs11(RvError::BufferTooSmall, _)) => Ok(Answer::TooSmall { told: length }),
            Err(error) => Err(error.into()),
            Ok(()) => match usize::try_from(length) {
                Ok(written) if written <= room => {
                    signature.truncate(written);
                    Ok(Answer::Signed(signature))
                }
                Ok(_) | Err(_) => Err(CallError::Overlong { told: length, room }),
            },
        }
    }

    /// Asks for the length of the signature. The operation stays active.
    fn length(self, session: &Session, data: &[u8]) -> Result<CK_ULONG, Error> {
        let mut length = 0;
        let data_length = CK_ULONG::try_from(data.len())?;
        // SAFETY: as above; without a buffer the library writes the length and nothing else.
        let code = unsafe {
            (self.sign)(
                session.handle(),
                data.as_ptr().cast_mut(),
                data_length,
                ptr::null_mut(),
                &raw mut length,
            )
        };
        Rv::from(code).into_result(Function::Sign)?;
        Ok(length)
    }
}

/// Returns the list of functions that `cryptoki` uses too: that of the default interface where the library has interfaces
/// (PKCS#11 3.0 and later), else that of 2.40. Every later list begins with the list of 2.40 (PKCS#11 3.1, section 5.2).
fn functions(library: &cryptoki_sys::Pkcs11) -> Result<CK_FUNCTION_LIST, Error> {
    if library.C_GetInterface.is_ok() {
        let mut interface = ptr::null_mut();
        // SAFETY: no name and no version mean the default interface, and `interface` may be written to.
        let code = unsafe {
            library.C_GetInterface(ptr::null_mut(), ptr::null_mut(), &raw mut interface, 0)
        };
        Rv::from(code).into_result(Function::GetInterface)?;
        // SAFETY: null, or a structure that stays valid as long as the library is loaded.
        if let Some(interface) = unsafe { interface.as_ref() } {
            let list = interface.pFunctionList.cast::<CK_FUNCTION_LIST>();
            // SAFETY: the same holds for the list in it.
            if let Some(list) = unsafe { list.as_ref() }
                && list.version.major >= 3
            {
                return Ok(*list);
            }
        }
    }
    if library.C_GetFunctionList.is_err() {
        return Err(Error::MissingSymbol("C_GetFunctionList"));
    }
    let mut list = ptr::null_mut();
    // SAFETY: `list` may be written to.
    let code = unsafe { library.C_GetFunctionList(&raw mut list) };
    Rv::from(code).into_result(Function::GetFunctionList)?;
    // SAFETY: null, or a list that stays valid as long as the library is loaded.
    let list = unsafe { list.as_ref() };
    list.copied().ok_or(Error::NullFunctionPointer)
}
