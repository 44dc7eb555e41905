//! The functions that rules may name.

macro_rules! functions {
    ($($name:ident)*) => {
        /// PKCS#11 function that the shim intercepts. All others are the wrapped library's own. Names that end in
        /// `_length` are calls of the function without the suffix that pass no buffer.
        #[expect(non_camel_case_types, reason = "PKCS#11's names")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Function {
            $(#[doc = concat!("`", stringify!($name), "`.")] $name,)*
        }

        impl Function {
            /// Every function, in the order of the file of calls.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns its name in the standard.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

functions! {
    C_Initialize C_Finalize C_GetInfo C_GetSlotList C_GetSlotInfo C_GetTokenInfo C_GetMechanismList C_GetMechanismInfo
    C_OpenSession C_CloseSession C_CloseAllSessions C_GetSessionInfo C_Login C_Logout
    C_GetAttributeValue C_FindObjectsInit C_FindObjects C_FindObjectsFinal
    C_SignInit C_Sign C_SignUpdate C_SignFinal C_GenerateRandom C_GenerateKeyPair C_CreateObject
    C_Sign_length C_SignFinal_length
}

impl Function {
    /// Returns the function with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|function| function.name() == name)
    }

    /// Returns its place in [`Function::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}
