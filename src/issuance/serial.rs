//! Serial numbers.

/// A serial number of 16 octets, of which 126 bits are the caller's random ones: positive, never zero,
/// never longer than the 20 octets of RFC 5280, section 4.1.2.2, and always of the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial([u8; 16]);

impl Serial {
    /// Makes a serial number from the output of a cryptographic random source.
    #[must_use]
    pub const fn from_random(mut octets: [u8; 16]) -> Self {
        // The top bit is the sign of a DER INTEGER; the next one keeps the length the same.
        octets[0] = octets[0] & 0x7f | 0x40;
        Self(octets)
    }

    /// Big-endian octets.
    #[must_use]
    pub const fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Lower-case hexadecimal, 32 digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serial_is_positive_and_of_one_length() {
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
