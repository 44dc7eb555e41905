//! Exports what a PKCS#11 application looks for in a library (PKCS#11 3.2, section 5.4), from `kryoptic-lib`.
//!
//! Kryoptic publishes a library crate for Rust; its own C library links the system's OpenSSL, which is older than
//! ML-DSA on the systems that we test on.

use kryoptic_lib::{
    fns::general,
    pkcs11::{
        CK_FLAGS, CK_FUNCTION_LIST_PTR_PTR, CK_INTERFACE_PTR, CK_INTERFACE_PTR_PTR, CK_RV,
        CK_ULONG_PTR, CK_UTF8CHAR_PTR, CK_VERSION_PTR,
    },
};
// Named for their features alone: OpenSSL from source, and SQLite.
use openssl_sys as _;
use rusqlite as _;

/// The function list of PKCS#11 2.40.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    general::fn_get_function_list(list)
}

/// Every interface with its version.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetInterfaceList(list: CK_INTERFACE_PTR, count: CK_ULONG_PTR) -> CK_RV {
    general::fn_get_interface_list(list, count)
}

/// One interface by name and version.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetInterface(
    name: CK_UTF8CHAR_PTR,
    version: CK_VERSION_PTR,
    interface: CK_INTERFACE_PTR_PTR,
    flags: CK_FLAGS,
) -> CK_RV {
    general::fn_get_interface(name, version, interface, flags)
}
