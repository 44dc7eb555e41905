//! The functions in the function list. Each one applies the faults to its call.
//!
//! # Safety
//! For all of them: the caller keeps to PKCS#11. Then the shim does too, because it passes on the same arguments.

use std::{ffi::c_void, iter, ptr, slice};

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FLAGS, CK_FUNCTION_LIST, CK_INFO, CK_MECHANISM,
    CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_NOTIFY, CK_OBJECT_CLASS, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_SESSION_INFO, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO, CK_ULONG,
    CK_UNAVAILABLE_INFORMATION, CK_USER_TYPE, CK_UTF8CHAR, CKA_CLASS, CKA_LABEL,
    CKF_CLOCK_ON_TOKEN, CKF_RW_SESSION, CKO_PRIVATE_KEY, CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_BUFFER_TOO_SMALL, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_NOT_SUPPORTED,
    CKR_KEY_HANDLE_INVALID, CKR_OK, CKS_RO_PUBLIC_SESSION, CKS_RW_PUBLIC_SESSION,
};

use crate::{
    Function,
    library::shim,
    rules::{Change, TokenChange},
};

/// Calls the wrapped library's function.
macro_rules! real {
    ($real:ident . $name:ident ( $($argument:expr),* $(,)? )) => {
        match $real.$name {
            // SAFETY: see the module.
            Some(function) => unsafe { function($($argument),*) },
            None => CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}

/// Defines the functions and puts them into a list. An optional body uses the wrapped library's list and the change that
/// a rule asks for; without a body the call is passed on. Conditions on arguments compare the `DETAIL` of `about DETAIL`.
/// With `as OTHER if CONDITION`, a call that meets the condition counts as, and matches rules of, the function `OTHER`.
macro_rules! entries {
    (@body $real:ident $change:ident $name:ident ( $($argument:ident),* )) => {{
        let _: Option<&Change> = $change;
        real!($real.$name($($argument),*))
    }};
    (@body $real:ident $change:ident $name:ident ( $($argument:ident),* ) $body:expr) => {
        $body
    };
    (@detail) => { None };
    (@detail $detail:expr) => { $detail };
    (@named $name:ident) => { Function::$name };
    (@named $name:ident $other:ident $query:expr) => { if $query { Function::$other } else { Function::$name } };
    ($real:ident, $change:ident: $( $name:ident($($argument:ident: $kind:ty),*) $(about $detail:expr,)? $(as $other:ident if $query:expr,)? $(=> $body:expr)? ; )*) => {
        $(
            #[expect(non_snake_case, reason = "PKCS#11's names")]
            unsafe extern "C" fn $name($($argument: $kind),*) -> CK_RV {
                let Some(shim) = shim() else {
                    return CKR_CRYPTOKI_NOT_INITIALIZED;
                };
                let $real = &shim.real;
                let function = entries!(@named $name $($other $query)?);
                let detail: Option<CK_ULONG> = entries!(@detail $($detail)?);
                shim.faults.around(function, detail, |$change| {
                    entries!(@body $real $change $name($($argument),*) $($body)?)
                })
            }
        )*

        /// Replaces each function that the library has by ours.
        pub(crate) fn replace(list: &mut CK_FUNCTION_LIST) {
            $( list.$name = list.$name.map(|_| $name as _); )*
        }
    };
}

entries! { real, change:
    C_Initialize(arguments: *mut c_void);
    C_Finalize(reserved: *mut c_void);
    C_GetInfo(info: *mut CK_INFO);
    C_GetSlotList(present: CK_BBOOL, list: *mut CK_SLOT_ID, count: *mut CK_ULONG) => {
        let code = real!(real.C_GetSlotList(present, list, count));
        nothing_found(change, code, count)
    };
    C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) => {
        let code = real!(real.C_GetSlotInfo(slot, info));
        if let (CKR_OK, Some(Change::SlotDescription(text))) = (code, change) {
            // SAFETY: the library has just filled in the structure.
            padded(&mut unsafe { &mut *info }.slotDescription, text);
        }
        code
    };
    C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) => {
        let code = real!(real.C_GetTokenInfo(slot, info));
        if let (CKR_OK, Some(Change::Token(change))) = (code, change) {
            // SAFETY: the library has just filled in the structure.
            described(unsafe { &mut *info }, change);
        }
        code
    };
    C_GetMechanismList(slot: CK_SLOT_ID, list: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG);
    C_GetMechanismInfo(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO)
        about Some(mechanism),;
    C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut c_void, notify: CK_NOTIFY, session: *mut CK_SESSION_HANDLE)
        about Some(flags),;
    C_CloseSession(session: CK_SESSION_HANDLE);
    C_CloseAllSessions(slot: CK_SLOT_ID);
    C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) => {
        let code = real!(real.C_GetSessionInfo(session, info));
        if let (CKR_OK, Some(Change::Public)) = (code, change) {
            // SAFETY: the library has just filled in the structure.
            let info = unsafe { &mut *info };
            info.state = match info.flags & CKF_RW_SESSION {
                0 => CKS_RO_PUBLIC_SESSION,
                _ => CKS_RW_PUBLIC_SESSION,
            };
        }
        code
    };
    C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, length: CK_ULONG);
    C_Logout(session: CK_SESSION_HANDLE);
    C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) => {
        let code = real!(real.C_GetAttributeValue(session, object, template, count));
        let change = change.filter(|change| {
            let of_private_keys = matches!(change, Change::Hidden { of_private_keys: true, .. });
            !of_private_keys || is_private_key(real, session, object)
        });
        hidden(change, code, template, count)
    };
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_FindObjects(session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, most: CK_ULONG, count: *mut CK_ULONG) => {
        let code = real!(real.C_FindObjects(session, objects, most, count));
        nothing_found(change, code, count)
    };
    C_FindObjectsFinal(session: CK_SESSION_HANDLE);
    C_GenerateKeyPair(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public: *mut CK_ATTRIBUTE, public_count: CK_ULONG, private: *mut CK_ATTRIBUTE, private_count: CK_ULONG, public_key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE);
    C_CreateObject(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, object: *mut CK_OBJECT_HANDLE);
    C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE)
        // SAFETY: the caller provides a mechanism, or null.
        about unsafe { mechanism.as_ref() }.map(|mechanism| mechanism.mechanism), => {
        let key = if let Some(Change::WrongKey(label)) = change {
            match find_key(real, session, label) {
                Ok(other) => other,
                Err(code) => return code,
            }
        } else {
            key
        };
        real!(real.C_SignInit(session, mechanism, key))
    };
    C_Sign(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_length: CK_ULONG, signature: *mut CK_BYTE, length: *mut CK_ULONG)
        as C_Sign_length if signature.is_null(), => {
        if let Some(Change::TooSmall(wanted)) = change {
            // SAFETY: the caller provides the length for writing.
            unsafe { length.write(*wanted) };
            return CKR_BUFFER_TOO_SMALL;
        }
        let code = real!(real.C_Sign(session, data, data_length, signature, length));
        if let (CKR_OK, Some(Change::Length(told))) = (code, change) {
            // SAFETY: the library has just written the length.
            unsafe { length.write(*told) };
        }
        corrupted(change, code, signature, length)
    };
    C_SignFinal(session: CK_SESSION_HANDLE, signature: *mut CK_BYTE, length: *mut CK_ULONG)
        as C_SignFinal_length if signature.is_null(), => {
        let code = real!(real.C_SignFinal(session, signature, length));
        corrupted(change, code, signature, length)
    };
    C_SignUpdate(session: CK_SESSION_HANDLE, part: *mut CK_BYTE, length: CK_ULONG);
    C_GenerateRandom(session: CK_SESSION_HANDLE, random: *mut CK_BYTE, length: CK_ULONG);
}

fn nothing_found(change: Option<&Change>, code: CK_RV, count: *mut CK_ULONG) -> CK_RV {
    if let (CKR_OK, Some(Change::Nothing)) = (code, change) {
        // SAFETY: the library has just written the count.
        unsafe { count.write(0) };
    }
    code
}

/// Replaces parts of a token's description.
fn described(info: &mut CK_TOKEN_INFO, change: &TokenChange) {
    let TokenChange {
        clear,
        set,
        sessions,
        label,
        serial,
        model,
        clock,
    } = change;
    info.flags = info.flags & !clear | set;
    if let Some(most) = sessions {
        info.ulMaxSessionCount = *most;
        info.ulMaxRwSessionCount = *most;
    }
    if let Some(label) = label {
        padded(&mut info.label, label);
    }
    if let Some(serial) = serial {
        padded(&mut info.serialNumber, serial);
    }
    if let Some(model) = model {
        padded(&mut info.model, model);
    }
    if let Some(clock) = clock {
        info.flags |= CKF_CLOCK_ON_TOKEN;
        padded(&mut info.utcTime, clock);
    }
}

/// Writes a text into a field, padded with blanks.
fn padded(field: &mut [CK_UTF8CHAR], text: &[u8]) {
    let text = text.iter().chain(iter::repeat(&b' '));
    field
        .iter_mut()
        .zip(text)
        .for_each(|(to, from)| *to = *from);
}

fn is_private_key(
    real: &CK_FUNCTION_LIST,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
) -> bool {
    let mut class: CK_OBJECT_CLASS = 0;
    let mut asked = CK_ATTRIBUTE {
        type_: CKA_CLASS,
        pValue: ptr::from_mut(&mut class).cast(),
        ulValueLen: size_of_val(&class) as CK_ULONG,
    };
    let code = real!(real.C_GetAttributeValue(session, object, &raw mut asked, 1));
    code == CKR_OK && class == CKO_PRIVATE_KEY
}

/// Hides attributes as PKCS#11 3.1, section 5.7.5, prescribes for those that an object does not have: their length is marked
/// as unavailable, the call returns `CKR_ATTRIBUTE_TYPE_INVALID`, and the other attributes are filled in.
fn hidden(
    change: Option<&Change>,
    code: CK_RV,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    // The library may return this code itself, for other attributes.
    let (CKR_OK | CKR_ATTRIBUTE_TYPE_INVALID, Some(Change::Hidden { attributes, .. })) =
        (code, change)
    else {
        return code;
    };
    // SAFETY: the caller's template has `count` attributes, and the library has just filled them in.
    let template = unsafe { slice::from_raw_parts_mut(template, count as usize) };
    let mut code = code;
    for attribute in template
        .iter_mut()
        .filter(|attribute| attributes.contains(&attribute.type_))
    {
        attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
        code = CKR_ATTRIBUTE_TYPE_INVALID;
    }
    code
}

fn corrupted(
    change: Option<&Change>,
    code: CK_RV,
    signature: *mut CK_BYTE,
    length: *const CK_ULONG,
) -> CK_RV {
    if let (CKR_OK, Some(Change::Corrupt)) = (code, change) {
        // SAFETY: the library has just written the length.
        let length = unsafe { length.read() };
        // SAFETY: the library has written `length` octets.
        let signature = unsafe { slice::from_raw_parts_mut(signature, length as usize) };
        if let Some(last) = signature.last_mut() {
            *last ^= 1;
        }
    }
    code
}

/// Finds another private key in the same session, in which no operation is active before `C_SignInit`.
fn find_key(
    real: &CK_FUNCTION_LIST,
    session: CK_SESSION_HANDLE,
    label: &str,
) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let class: CK_OBJECT_CLASS = CKO_PRIVATE_KEY;
    let mut template = [
        CK_ATTRIBUTE {
            type_: CKA_CLASS,
            pValue: ptr::from_ref(&class).cast_mut().cast(),
            ulValueLen: size_of_val(&class) as CK_ULONG,
        },
        CK_ATTRIBUTE {
            type_: CKA_LABEL,
            pValue: label.as_ptr().cast_mut().cast(),
            ulValueLen: label.len() as CK_ULONG,
        },
    ];
    let attributes = template.len() as CK_ULONG;
    let (mut key, mut found) = (0, 0);
    let code = real!(real.C_FindObjectsInit(session, template.as_mut_ptr(), attributes));
    if code != CKR_OK {
        return Err(code);
    }
    let code = real!(real.C_FindObjects(session, &raw mut key, 1, &raw mut found));
    let ended = real!(real.C_FindObjectsFinal(session));
    match (code, ended, found) {
        (CKR_OK, CKR_OK, 1) => Ok(key),
        (CKR_OK, CKR_OK, _) => {
            eprintln!("pkcs11-fault-shim: no private key has the label {label}");
            Err(CKR_KEY_HANDLE_INVALID)
        }
        (CKR_OK, code, _) | (code, _, _) => Err(code),
    }
}
