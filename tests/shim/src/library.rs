//! The wrapped library, and the function list that replaces its own.

use std::{env, ffi::OsString, mem, ptr, sync::OnceLock};

use cryptoki_sys::{
    CK_FUNCTION_LIST, CK_RV, CK_VERSION, CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR, CKR_OK,
};
use libloading::{Library, Symbol};

use crate::{entry, faults::Faults};

/// Environment variable that names the wrapped library.
pub const MODULE: &str = "PKCS11_FAULT_MODULE";

/// The wrapped library's functions, ours, and the faults.
#[derive(Debug)]
pub(crate) struct Shim {
    pub(crate) real: CK_FUNCTION_LIST,
    ours: CK_FUNCTION_LIST,
    pub(crate) faults: Faults,
}

static SHIM: OnceLock<Result<Shim, String>> = OnceLock::new();

/// Returns the shim of this process. `None` before the application has asked for the function list, and when loading
/// failed.
pub(crate) fn shim() -> Option<&'static Shim> {
    SHIM.get()?.as_ref().ok()
}

/// Returns our function list; every PKCS#11 library exports this function (PKCS#11 2.40, section 5.4). `C_GetInterface`
/// is not exported, so that every application falls back to this list.
///
/// # Safety
/// `list` is null or may be written to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    match SHIM.get_or_init(load) {
        Ok(shim) => {
            // SAFETY: `list` is not null, and the caller provides it for writing. Callers may not write to the list itself.
            unsafe { list.write(ptr::from_ref(&shim.ours).cast_mut()) };
            CKR_OK
        }
        Err(why) => {
            eprintln!("pkcs11-fault-shim: {why}");
            CKR_GENERAL_ERROR
        }
    }
}

fn load() -> Result<Shim, String> {
    let faults = Faults::from_env()?;
    let path = env::var_os(MODULE).ok_or_else(|| format!("{MODULE} is not set"))?;
    let real = function_list(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut ours = CK_FUNCTION_LIST {
        version: CK_VERSION {
            major: 2,
            minor: 40,
        },
        C_GetFunctionList: Some(C_GetFunctionList),
        ..real
    };
    entry::replace(&mut ours);
    Ok(Shim { real, ours, faults })
}

fn function_list(path: &OsString) -> Result<CK_FUNCTION_LIST, String> {
    // SAFETY: every application that uses a PKCS#11 library runs its initialisers.
    let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
    type Get = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;
    // SAFETY: the standard fixes the function's type.
    let get: Symbol<'_, Get> =
        unsafe { library.get(b"C_GetFunctionList\0") }.map_err(|error| error.to_string())?;
    let mut list = ptr::null_mut();
    // SAFETY: `list` may be written to.
    let code = unsafe { get(&raw mut list) };
    if code != CKR_OK || list.is_null() {
        return Err(format!("C_GetFunctionList returned {code:#x}"));
    }
    // SAFETY: the library's list stays valid and unchanged while the library is loaded. Later versions of the standard
    // only append to it.
    let list = unsafe { *list };
    // The library is never unloaded: its functions are in use until the process ends.
    mem::forget(library);
    Ok(list)
}
