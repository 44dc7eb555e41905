//! Rules that make a token behave like a device in the field, as far as its quirks are known.

/// A device, or a family of devices with the same quirks. What is known of each, and from where, is in `hsm/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Name for tests.
    pub name: &'static str,
    /// Rules of the shim.
    pub rules: &'static str,
    /// Whether keys are used only after a login.
    pub logs_in: bool,
}

/// Every device.
pub const DEVICES: &[Device] = &[
    // The real one accepts read-write sessions only, and does not set CKF_USER_PIN_INITIALIZED.
    Device {
        name: "cloudhsm",
        rules: "C_GetTokenInfo clear=0x8
C_OpenSession read_only rv=CKR_FUNCTION_FAILED",
        logs_in: true,
    },
    // CKF_PROTECTED_AUTHENTICATION_PATH, although a PIN is taken: Luna with PED, CipherTrust.
    Device {
        name: "luna-ped",
        rules: "C_GetTokenInfo flags=0x100",
        logs_in: true,
    },
    // Module-protected keys: no CKF_LOGIN_REQUIRED, and no PIN.
    Device {
        name: "nshield",
        rules: "C_GetTokenInfo clear=0xc
C_Login rv=CKR_USER_PIN_NOT_INITIALIZED",
        logs_in: false,
    },
    // No login, although C_Login succeeds; a serial number of zeros.
    Device {
        name: "kmsp11",
        rules: "C_GetTokenInfo clear=0x4 serial=0000000000000000
C_Login rv=CKR_OK
C_GetSessionInfo public",
        logs_in: false,
    },
    // FIPS mode: digests are not signed with RSA.
    Device {
        name: "fips",
        rules: "C_GetMechanismInfo mechanism=CKM_RSA_PKCS rv=CKR_MECHANISM_INVALID
C_GetMechanismInfo mechanism=CKM_RSA_PKCS_PSS rv=CKR_MECHANISM_INVALID
C_SignInit mechanism=CKM_RSA_PKCS rv=CKR_MECHANISM_INVALID
C_SignInit mechanism=CKM_RSA_PKCS_PSS rv=CKR_MECHANISM_INVALID",
        logs_in: true,
    },
    // opencryptoki: a time that is not in the standard's format.
    Device {
        name: "opencryptoki",
        rules: "C_GetTokenInfo clock=19:38:39%00%00%00%00%00%00%00%00",
        logs_in: true,
    },
    // Attributes and functions that the standard leaves to the vendor.
    Device {
        name: "sparse",
        rules: "C_GetAttributeValue hide_private=CKA_MODULUS,CKA_EC_PARAMS
C_GetMechanismInfo rv=CKR_FUNCTION_NOT_SUPPORTED
C_GetSessionInfo rv=CKR_FUNCTION_NOT_SUPPORTED
C_GenerateRandom rv=CKR_FUNCTION_NOT_SUPPORTED",
        logs_in: true,
    },
];
