//! Object identifiers with arcs of any size.
//!
//! X.660 does not bound the arcs of an identifier, and every UUID is an arc below `2.25`. In the identifiers of `const_oid`,
//! each arc is below 2^32 and the second arc below 40. They are enough for algorithms and for our own constants.

use std::{fmt, str::FromStr};

use const_oid::ObjectIdentifier;
use der::{DecodeValue, EncodeValue, FixedTag, Header, Length, Reader, Tag, Writer};

/// Most octets of an identifier that is kept in place. UUIDs have 20 octets, the longest identifiers in use about 30.
const IN_PLACE: usize = 39;

/// Most octets of an arc that is printed in decimal, and most that a text may give: the work grows with the square.
const PRINTED: usize = 63;

/// An object identifier of any length, as the content octets of its DER encoding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(Content);

/// The content octets. A content that fits is always `InPlace`, with zeros after its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Content {
    InPlace {
        octets: [u8; IN_PLACE],
        length: usize,
    },
    Long(Box<[u8]>),
}

/// A text that is not an object identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an object identifier: write numbers joined by dots, of which the first is 0, 1 or 2, and none has more than {DIGITS} digits"
)]
pub struct OidError;

/// Most digits of an arc in a text. An octet holds seven bits, which are worth less than three decimal digits.
const DIGITS: usize = 3 * PRINTED;

impl Oid {
    /// Converts an identifier with small arcs.
    #[must_use]
    pub const fn of(oid: ObjectIdentifier) -> Self {
        let given = oid.as_bytes();
        let mut octets = [0; IN_PLACE];
        let (start, _) = octets.split_at_mut(given.len());
        start.copy_from_slice(given);
        Self(Content::InPlace {
            octets,
            length: given.len(),
        })
    }

    /// Makes a constant from its text, which must have small arcs.
    pub(super) const fn new_unwrap(text: &str) -> Self {
        Self::of(ObjectIdentifier::new_unwrap(text))
    }

    /// Reads the content octets (X.690, clause 8.19): the last octet ends an arc, and no arc begins with a padding octet.
    #[must_use]
    pub fn from_bytes(content: &[u8]) -> Option<Self> {
        let is_last = |octet: &u8| octet & 0x80 == 0;
        let padded = content
            .split_inclusive(is_last)
            .any(|arc| arc.first() == Some(&0x80));
        if padded || !content.last().is_some_and(is_last) {
            return None;
        }
        let mut octets = [0; IN_PLACE];
        Some(Self(match octets.get_mut(..content.len()) {
            Some(start) => {
                start.copy_from_slice(content);
                Content::InPlace {
                    octets,
                    length: content.len(),
                }
            }
            None => Content::Long(content.into()),
        }))
    }

    /// Returns the content octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Content::InPlace { octets, length } => octets.get(..*length).unwrap_or_default(),
            Content::Long(octets) => octets,
        }
    }

    /// Converts to an identifier with small arcs; `None` if an arc is large.
    pub(super) fn small(&self) -> Option<ObjectIdentifier> {
        ObjectIdentifier::from_bytes(self.as_bytes()).ok()
    }

    /// Returns whether this identifier is `above` or below it.
    pub(super) fn starts_with(&self, above: &Self) -> bool {
        self.as_bytes().starts_with(above.as_bytes())
    }
}

impl From<ObjectIdentifier> for Oid {
    fn from(oid: ObjectIdentifier) -> Self {
        Self::of(oid)
    }
}

impl PartialEq<ObjectIdentifier> for Oid {
    fn eq(&self, other: &ObjectIdentifier) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl FixedTag for Oid {
    const TAG: Tag = Tag::ObjectIdentifier;
}

impl<'a> DecodeValue<'a> for Oid {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        let content = reader.read_slice(header.length())?;
        Self::from_bytes(content).ok_or_else(|| Self::TAG.value_error().into())
    }
}

impl EncodeValue for Oid {
    fn value_len(&self) -> der::Result<Length> {
        Length::try_from(self.as_bytes().len())
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(self.as_bytes())
    }
}

/// A natural number of any size in base 128, the least significant digit first.
#[derive(Default)]
struct Natural(Vec<u8>);

impl Natural {
    /// Multiplies by `factor`, at most 128, and adds `summand`.
    fn multiply_add(&mut self, factor: u16, summand: u16) {
        let carry = advance(&mut self.0, 128, factor, summand);
        push(&mut self.0, 128, carry);
    }

    /// Subtracts a number below 128. The result must not be negative.
    fn subtract(&mut self, number: u8) {
        let mut borrow = number;
        for digit in &mut self.0 {
            let (difference, is_negative) = digit.overflowing_sub(borrow);
            *digit = difference & 0x7f;
            borrow = u8::from(is_negative);
        }
    }

    /// Returns the number in decimal.
    fn decimal(&self) -> String {
        let mut decimal = Vec::new();
        for &digit in self.0.iter().rev() {
            let carry = advance(&mut decimal, 10, 128, u16::from(digit));
            push(&mut decimal, 10, carry);
        }
        let digits = decimal.iter().rev().skip_while(|digit| **digit == 0);
        let text: String = digits.map(|digit| char::from(b'0' + digit)).collect();
        if text.is_empty() {
            "0".to_owned()
        } else {
            text
        }
    }
}

/// Multiplies a number in this base by `factor` and adds `summand`, without growing the number. Returns the carry.
fn advance(digits: &mut [u8], base: u16, factor: u16, summand: u16) -> u16 {
    let mut carry = summand;
    for digit in digits {
        let value = u16::from(*digit) * factor + carry;
        *digit = u8::try_from(value % base).unwrap_or_default();
        carry = value / base;
    }
    carry
}

/// Appends the digits of a number as the most significant ones.
fn push(digits: &mut Vec<u8>, base: u16, mut number: u16) {
    while number > 0 {
        digits.push(u8::try_from(number % base).unwrap_or_default());
        number /= base;
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arcs = self.as_bytes().split_inclusive(|octet| octet & 0x80 == 0);
        for (index, octets) in arcs.enumerate() {
            if octets.len() > PRINTED {
                let dot = if index == 0 { "" } else { "." };
                write!(f, "{dot}(number of {} octets)", octets.len())?;
                continue;
            }
            let digits = octets.iter().rev().map(|octet| octet & 0x7f);
            let mut arc = Natural(digits.collect());
            if index == 0 {
                // X.690, clause 8.19.4: the first two arcs share one number.
                let root = match arc.0.as_slice() {
                    [0..40] => 0,
                    [40..80] => 1,
                    _ => 2,
                };
                arc.subtract(root * 40);
                write!(f, "{root}.{}", arc.decimal())?;
            } else {
                write!(f, ".{}", arc.decimal())?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({self})")
    }
}

impl FromStr for Oid {
    type Err = OidError;

    fn from_str(text: &str) -> Result<Self, OidError> {
        let (root, rest) = text.split_once('.').ok_or(OidError)?;
        let root: u16 = match root {
            "0" => 0,
            "1" => 1,
            "2" => 2,
            _ => return Err(OidError),
        };
        let mut content = Vec::new();
        for (index, arc) in rest.split('.').enumerate() {
            let mut number = natural(arc).ok_or(OidError)?;
            if index == 0 {
                let is_small = matches!(number.0.as_slice(), [] | [0..40]);
                if root < 2 && !is_small {
                    return Err(OidError);
                }
                number.multiply_add(1, root * 40);
            }
            if number.0.is_empty() {
                number.0.push(0);
            }
            let (last, before) = number.0.split_first().ok_or(OidError)?;
            content.extend(before.iter().rev().map(|digit| digit | 0x80));
            content.push(*last);
        }
        Self::from_bytes(&content).ok_or(OidError)
    }
}

/// Parses a decimal number without leading zeros.
fn natural(text: &str) -> Option<Natural> {
    let fits = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
        && text.len() <= DIGITS;
    let mut number = Natural::default();
    for byte in text.bytes().filter(|_| fits) {
        number.multiply_add(10, u16::from(byte - b'0'));
    }
    fits.then_some(number)
}

#[cfg(test)]
mod tests {
    use der::{Decode as _, Encode as _};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arcs_of_any_size_are_read_and_printed() {
        let table: [(&str, &[u8]); 10] = [
            ("0.0", &[0]),
            ("0.39", &[39]),
            ("1.0", &[40]),
            ("1.39.1", &[79, 1]),
            ("2.0", &[80]),
            ("2.5.4.3", &[0x55, 4, 3]),
            ("2.47", &[127]),
            ("2.48", &[0x81, 0]),
            ("2.999.1", &[0x88, 0x37, 1]),
            ("1.2.4294967296", &[0x2a, 0x90, 0x80, 0x80, 0x80, 0]),
        ];
        for (text, octets) in table {
            let oid: Oid = text.parse().unwrap();
            assert_eq!(oid.as_bytes(), octets, "{text}");
            assert_eq!(oid.to_string(), text);
        }
        // The example of RFC 4122 as an identifier (X.667, clause 8).
        let uuid = "2.25.329800735698586629295641978511506172918";
        let oid: Oid = uuid.parse().unwrap();
        assert_eq!(oid.as_bytes().len(), 20);
        assert_eq!(oid.to_string(), uuid);
        assert_eq!(oid.small(), None);
    }

    #[test]
    fn an_identifier_is_the_same_as_its_small_form() {
        let small = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
        let oid = Oid::of(small);
        assert_eq!(oid, small);
        assert_eq!(oid.small(), Some(small));
        assert_eq!("1.2.840.113549.1.9.14".parse(), Ok(oid.clone()));
        assert_eq!(oid.to_der(), small.to_der());
        assert_eq!(Oid::from_der(&small.to_der().unwrap()), Ok(oid));
    }

    #[test]
    fn malformed_identifiers_are_errors() {
        for text in [
            "", "1", "1.", ".1", "3.1", "0.40", "1.40", "01.2", "1.02", "1..2", "1.2.", "1.a",
            "1.-2", "1.+2", "2.25.x",
        ] {
            assert_eq!(text.parse::<Oid>(), Err(OidError), "{text}");
        }
        let long = format!("2.25.{}", "9".repeat(400));
        assert_eq!(long.parse::<Oid>(), Err(OidError));
        for content in [&[][..], &[0x80, 1], &[0x2a, 0x80, 1], &[0x2a, 0x83]] {
            assert_eq!(Oid::from_bytes(content), None, "{content:?}");
        }
    }

    #[test]
    fn an_identifier_of_any_length_is_read_and_only_an_absurd_number_is_not_printed() {
        for length in [IN_PLACE - 1, IN_PLACE, IN_PLACE + 1, 60_000] {
            let content = vec![1; length];
            let oid = Oid::from_bytes(&content).unwrap();
            assert_eq!(oid.as_bytes(), content);
            assert_eq!(Oid::from_der(&oid.to_der().unwrap()), Ok(oid.clone()));
            assert_eq!(oid.to_string().parse(), Ok(oid));
        }
        let arc = |octets| [vec![0x81; octets - 1], vec![1]].concat();
        let printed = Oid::from_bytes(&arc(PRINTED)).unwrap();
        assert_eq!(printed.to_string().parse(), Ok(printed));
        for (content, text) in [
            (arc(60_000), "(number of 60000 octets)"),
            (
                [vec![0x55], arc(64), vec![3]].concat(),
                "2.5.(number of 64 octets).3",
            ),
        ] {
            assert_eq!(Oid::from_bytes(&content).unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_an_identifier_gives_the_same(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(oid) = Oid::from_bytes(&octets) {
                prop_assert_eq!(oid.to_string().parse(), Ok(oid.clone()));
                prop_assert_eq!(Oid::from_der(&oid.to_der().unwrap()), Ok(oid));
            }
        }
    }
}
