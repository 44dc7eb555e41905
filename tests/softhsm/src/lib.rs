//! Makes SoftHSM tokens for tests, each in a directory of its own, and can take them away and give them back.
//!
//! PKCS#11 tests need a token that nobody else uses, and SoftHSM finds its tokens by one environment variable of the
//! whole process. So every operation on a token runs in a helper process, `softhsm-token-tool`, and a test process can
//! have any number of tokens. PINs are long and random. They reach the helper on its standard input, never in an
//! argument or the environment.
//!
//! ```
//! use softhsm_test_helpers::{CaProfile, KeyKind, Store};
//!
//! let store = Store::new()?;
//! let token = store.make_token("issuing")?;
//! let root_key = token.generate_key("root-ca", &[1], KeyKind::P384)?;
//! let issuing_key = token.generate_key("issuing-ca", &[2], KeyKind::P256)?;
//! // The root key signs on the token, so the chain is real.
//! let root = root_key.self_signed(&CaProfile::named("Test root"))?;
//! let issuing = root.issue(&issuing_key, &CaProfile::named("Test issuing").path_length(0))?;
//! assert!(issuing.pem().starts_with("-----BEGIN CERTIFICATE-----"));
//! # Ok::<(), softhsm_test_helpers::Error>(())
//! ```
//!
//! A token can also fail by rules ([`TestToken::with_faults`]). With the feature `containers` it can be served from a
//! container: as a network HSM, or beside its worker.
//!
//! A program under test gets `token.module()` and `token.env()`, and reads its PIN from `token.pin_file()`.
//!
//! SoftHSM 2 must be installed (Debian: `apt-get install softhsm2`). The helper is searched for beside the running test;
//! cargo builds it if it is missing, see [`program`].

mod certificate;
#[cfg(feature = "containers")]
mod container;
mod error;
mod faults;
#[doc(hidden)]
pub mod order;
pub mod program;
mod provider;
mod software_key;
mod store;
mod token;

#[cfg(feature = "containers")]
pub use self::container::{NetworkHsm, TokenContainer};
pub use self::{
    certificate::{CaCertificate, CaProfile},
    error::Error,
    faults::{FaultyModule, device_from_env},
    order::{Description, Kept, KeyKind},
    provider::Provider,
    software_key::SoftwareKey,
    store::Store,
    token::{TestKey, TestToken},
};
pub use pkcs11_fault_shim::{DEVICES, Device, Function};
