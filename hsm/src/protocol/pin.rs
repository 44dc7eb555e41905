//! The PIN of a token: wiped when dropped, and never shown.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// User PIN of a token, as octets (PKCS#11 asks for UTF-8).
///
/// *Guarantees*: its memory is wiped on drop; `Debug` shows nothing of it, not even its length.
/// *Caveats*: a caller that keeps a copy must wipe it itself.
///
/// ```
/// assert_eq!(format!("{:?}", hsm::Pin::new(b"1234".to_vec())), "Pin(<redacted>)");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Pin(Vec<u8>);

impl Pin {
    /// Takes over the octets without a copy.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// Returns the octets, for `C_Login` only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::Pin;
    use crate::protocol::{Ask, Request};

    #[test]
    fn a_request_that_carries_a_pin_does_not_show_it() {
        let request = Request {
            id: 1,
            ask: Ask::Login(Pin::new(b"correct horse".to_vec())),
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("Pin(<redacted>)"), "{shown}");
        assert!(!shown.contains("horse"), "{shown}");
    }
}
