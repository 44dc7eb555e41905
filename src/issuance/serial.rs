//! Serial numbers.

/// A serial number of 16 octets with 126 random bits from the caller: positive, never zero, never longer
/// than the 20 octets of RFC 5280, section 4.1.2.2, and always of the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial([u8; 16]);

impl Serial {
    /// Builds a serial number from the output of a cryptographic random source.
    #[must_use]
    pub const fn from_random(mut octets: [u8; 16]) -> Self {
        // The top bit is the sign of a DER INTEGER and stays clear; the next bit is set to fix the length.
        octets[0] = octets[0] & 0x7f | 0x40;
        Self(octets)
    }

    /// Returns the big-endian octets.
    #[must_use]
    pub const fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Returns the number as 32 digits of lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serial_is_positive_and_of_the_same_length() {
        assert_eq!(
            Serial::from_random([0; 16]).hex(),
            format!("40{}", "00".repeat(15))
        );
        assert_eq!(
            Serial::from_random([0xff; 16]).hex(),
            format!("7f{}", "ff".repeat(15))
        );
    }
}
