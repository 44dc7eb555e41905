//! Serial numbers of certificates that any CA issued.

use std::{cmp::Ordering, fmt, str::FromStr};

use crate::issuance::serial::Serial;

/// Most octets of a serial number (RFC 5280, section 4.1.2.2).
const MAX_OCTETS: usize = 20;

/// Most characters of a text that is read: two digits and a colon for each octet, and leading zeros.
const MAX_TEXT: usize = 128;

/// A text or an INTEGER that is not the serial number of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the serial number of a certificate: it must be positive and have at most {MAX_OCTETS} octets, in hexadecimal as `openssl x509 -serial` prints it"
)]
pub struct SerialNumberError;

/// The serial number of a certificate: positive, of at most 20 octets (RFC 5280, section 4.1.2.2). Ordered as a number.
///
/// Its text is the hexadecimal of the content octets of the DER INTEGER, in lower case. A number whose first bit is set
/// therefore begins with `00`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SerialNumber {
    octets: [u8; MAX_OCTETS],
    length: u8,
}

impl SerialNumber {
    /// Reads the content octets of a DER INTEGER.
    ///
    /// # Errors
    ///
    /// The number is zero, negative, too long, or not in its shortest encoding (X.690, clause 8.3.2).
    pub fn from_octets(content: &[u8]) -> Result<Self, SerialNumberError> {
        match content {
            [] | [0] | [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => return Err(SerialNumberError),
            [_, ..] => {}
        }
        let mut octets = [0; MAX_OCTETS];
        octets
            .get_mut(..content.len())
            .ok_or(SerialNumberError)?
            .copy_from_slice(content);
        Ok(Self {
            octets,
            length: u8::try_from(content.len()).map_err(|_| SerialNumberError)?,
        })
    }

    /// Returns the content octets of the DER INTEGER.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

impl From<&Serial> for SerialNumber {
    fn from(serial: &Serial) -> Self {
        let mut octets = [0; MAX_OCTETS];
        let mut length = 0;
        for (place, octet) in octets.iter_mut().zip(serial.octets()) {
            *place = *octet;
            length += 1;
        }
        Self { octets, length }
    }
}

/// In their shortest encoding, longer positive numbers are greater.
impl Ord for SerialNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.length, self.octets()).cmp(&(other.length, other.octets()))
    }
}

impl PartialOrd for SerialNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.octets()))
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SerialNumber({self})")
    }
}

/// Reads hexadecimal as programs print it: in either case, with or without colons and leading zeros.
impl FromStr for SerialNumber {
    type Err = SerialNumberError;

    fn from_str(text: &str) -> Result<Self, SerialNumberError> {
        if text.len() > MAX_TEXT {
            return Err(SerialNumberError);
        }
        let digits: String = text.split(':').collect();
        let digits = digits.trim_start_matches('0');
        let padding = if digits.len().is_multiple_of(2) {
            ""
        } else {
            "0"
        };
        let mut octets =
            hex::decode(format!("{padding}{digits}")).map_err(|_| SerialNumberError)?;
        if octets.first().is_some_and(|first| *first >= 0x80) {
            octets.insert(0, 0);
        }
        Self::from_octets(&octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(content: &[u8]) -> SerialNumber {
        SerialNumber::from_octets(content).unwrap()
    }

    #[test]
    fn only_positive_numbers_in_their_shortest_encoding_of_at_most_20_octets_are_serial_numbers() {
        for content in [&[1][..], &[0x7f; 20], &[0, 0x80], &[0, 0xff, 0, 0]] {
            assert_eq!(serial(content).octets(), content);
        }
        for content in [
            &[][..],
            &[0],
            &[0x80],
            &[0xff; 20],
            &[0, 0x7f],
            &[0, 0],
            &[1; 21],
        ] {
            assert_eq!(
                SerialNumber::from_octets(content),
                Err(SerialNumberError),
                "{content:?}"
            );
        }
    }

    #[test]
    fn a_serial_number_of_ours_is_the_same_number() {
        let ours = Serial::from_random([0xff; 16]);
        assert_eq!(SerialNumber::from(&ours), serial(ours.octets()));
        assert_eq!(SerialNumber::from(&ours).to_string(), ours.hex());
    }

    #[test]
    fn serial_numbers_are_ordered_as_numbers() {
        let mut numbers = [&[1, 0][..], &[0x7f], &[0, 0xff], &[1], &[0, 0x80]].map(serial);
        numbers.sort_unstable();
        let texts = numbers.map(|number| number.to_string());
        assert_eq!(texts, ["01", "7f", "0080", "00ff", "0100"]);
    }

    #[test]
    fn hexadecimal_of_every_program_is_read_as_the_same_number() {
        let number = serial(&[0, 0x9a, 0x0b]);
        for text in ["009a0b", "9A0B", "9a:0b", "00:9A:0B", "0000009a0b"] {
            assert_eq!(text.parse(), Ok(number), "{text}");
        }
        assert_eq!("a0b".parse(), Ok(serial(&[0x0a, 0x0b])));
        let long = "0".repeat(MAX_TEXT);
        for text in [
            "",
            "0",
            "00",
            "-1",
            "0x12",
            "9a 0b",
            "12g4",
            &"1".repeat(41),
            &long,
        ] {
            assert_eq!(
                text.parse::<SerialNumber>(),
                Err(SerialNumberError),
                "{text}"
            );
        }
        assert_eq!(number.to_string().parse(), Ok(number));
    }
}
