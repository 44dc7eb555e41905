//! Every token of a library, as [`Hello`](super::Hello) without a token asks for.

use serde::{Deserialize, Serialize};

use super::{Slot, TokenCode, TokenInfo};

/// Most tokens that a worker describes.
pub const MOST_TOKENS: u16 = 256;
/// Most mechanisms of a token that a worker names. Together they fit into a frame.
pub const MOST_MECHANISMS: usize = 600;

/// One slot with a token in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSlot {
    /// The slot.
    pub slot: Slot,
    /// Its token, or why the token cannot be read.
    pub token: Result<SeenToken, TokenCode>,
}

/// A token as everybody sees it without a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenToken {
    /// The token's description of itself.
    pub info: TokenInfo,
    /// `CKF_TOKEN_INITIALIZED`. Without it the token has no label, no PIN and no keys.
    pub initialized: bool,
    /// `CKF_ERROR_STATE`: the token failed a self-test and does not work until it is reset.
    pub error_state: bool,
    /// The time of the token's clock, `YYYY-MM-DDThh:mm:ssZ`, for a token that says that it has one (`CKF_CLOCK_ON_TOKEN`).
    /// Only the digits are certain to be digits.
    pub time: Option<String>,
    /// Its mechanisms in the order of their numbers, without those that only the vendor defines, at most
    /// [`MOST_MECHANISMS`]; or why they cannot be listed.
    pub mechanisms: Result<Vec<SeenMechanism>, TokenCode>,
}

/// A mechanism that a token claims (`CK_MECHANISM_INFO`). Only its use is proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenMechanism {
    /// Its name in the standard.
    pub name: String,
    /// Smallest key. The unit, bits or octets, depends on the mechanism; 0 where sizes have no meaning.
    pub smallest_key: u64,
    /// Largest key, in the same unit.
    pub largest_key: u64,
    /// `CKF_HW`: the device does it, not the library.
    pub hardware: bool,
    /// `CKF_SIGN`.
    pub sign: bool,
    /// `CKF_GENERATE_KEY_PAIR`.
    pub generate_key_pair: bool,
}
