//! What CRLs belong to: a CA, a shard of its certificates, and a number.

use std::{fmt, num::NonZeroU16, str::FromStr};

use aws_lc_rs::digest;
use jiff::Timestamp;

use super::SerialNumber;
use crate::issuance::chain::IssuerCertificate;

/// Names a CA: an issuer name and a key. Every certificate of the CA has the same value, and every issuer that uses it.
///
/// The value is the first 16 octets of SHA-256(subject DER ‖ SubjectPublicKeyInfo DER); its text is their hexadecimal in
/// lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaId([u8; 16]);

/// A text that does not name a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a CA has 32 lower-case hexadecimal digits")]
pub struct CaIdError;

impl CaId {
    /// Returns the CA of this certificate.
    #[must_use]
    pub fn of(certificate: &IssuerCertificate) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(certificate.subject_der());
        context.update(certificate.spki_der());
        let mut octets = [0; 16];
        for (place, octet) in octets.iter_mut().zip(context.finish().as_ref()) {
            *place = *octet;
        }
        Self(octets)
    }
}

impl fmt::Display for CaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaId({self})")
    }
}

/// Reads only what [`Display`](fmt::Display) writes, so that a CA has one name in URLs and in names of objects.
impl FromStr for CaId {
    type Err = CaIdError;

    fn from_str(text: &str) -> Result<Self, CaIdError> {
        let mut octets = [0; 16];
        hex::decode_to_slice(text, &mut octets).map_err(|_| CaIdError)?;
        let id = Self(octets);
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(CaIdError)
        }
    }
}

/// The number of shards into which the revoked certificates of a CA are divided: 1 to 256. The serial number decides the
/// shard, so a certificate can name the CRL of its own shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shards(NonZeroU16);

/// A number of shards that is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} shards are not supported; use 1 to {most}", most = Shards::MAX)]
pub struct ShardsError(u16);

impl Shards {
    /// One shard: each CRL lists every revoked certificate of the CA.
    pub const ONE: Self = Self(NonZeroU16::MIN);

    /// The greatest number of shards.
    pub const MAX: u16 = 256;

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// Whether a CRL lists only a part of the revoked certificates.
    #[must_use]
    pub const fn are_partitions(self) -> bool {
        self.get() > 1
    }

    /// Returns the shard of a certificate, from 0 on: the first four octets of the SHA-256 of its serial number's octets, as a
    /// big-endian number, modulo the number of shards.
    #[must_use]
    pub fn of(self, serial: &SerialNumber) -> u16 {
        let hash = digest::digest(&digest::SHA256, serial.octets());
        let start = hash.as_ref().first_chunk().copied().unwrap_or_default();
        let shard = u32::from_be_bytes(start) % u32::from(self.get());
        // The remainder is below a number of 16 bits.
        u16::try_from(shard).unwrap_or_default()
    }
}

impl TryFrom<u16> for Shards {
    type Error = ShardsError;

    fn try_from(number: u16) -> Result<Self, ShardsError> {
        NonZeroU16::new(number)
            .filter(|number| number.get() <= Self::MAX)
            .map(Self)
            .ok_or(ShardsError(number))
    }
}

/// The number of a CRL (RFC 5280, section 5.2.3): it rises with every CRL of a CA and shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber(u64);

impl CrlNumber {
    /// Takes a number as it was stored or read.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number of the next CRL: the greater of the last one plus one and the Unix time `now` in milliseconds.
    /// `None` if the last number is the greatest of all.
    #[must_use]
    pub fn next(last: Option<Self>, now: Timestamp) -> Option<Self> {
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let above = last.map_or(Some(0), |last| last.0.checked_add(1))?;
        Some(Self(above.max(milliseconds)))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::testing::*;

    #[test]
    fn a_ca_is_its_name_and_its_key_whatever_its_certificate_says() {
        let root = Authority::root("root");
        let id = |authority: &Authority| CaId::of(authority.chain().issuing());
        let ca = Authority::builder("ca").under(&root);
        let renewed = Authority::builder("ca")
            .key(ca.key())
            .key_usage(&[5])
            .without_subject_key_id()
            .validity(at(1), at(2_000_000_000))
            .root();
        assert_eq!(id(&ca), id(&renewed));
        assert_ne!(id(&ca), id(&Authority::builder("cb").key(ca.key()).root()));
        assert_ne!(id(&ca), id(&Authority::root("ca")));
        let hash = digest::digest(&digest::SHA256, &[ca.subject(), ca.key().spki()].concat());
        assert_eq!(id(&ca).to_string(), hex::encode(&hash.as_ref()[..16]));
    }

    #[test]
    fn a_ca_has_one_text() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(text.parse::<CaId>().unwrap().to_string(), text);
        for other in [
            "",
            "00",
            &text.to_uppercase(),
            &format!("{text}00"),
            &text.replace('f', "g"),
        ] {
            assert_eq!(other.parse::<CaId>(), Err(CaIdError), "{other}");
        }
    }

    #[test]
    fn the_serial_number_alone_decides_the_shard() {
        let shards = |number: u16| Shards::try_from(number).unwrap();
        // SHA-256 of the octet 01 begins with 4bf5122f.
        let serial = SerialNumber::from_octets(&[1]).unwrap();
        assert_eq!(shards(1).of(&serial), 0);
        assert_eq!(shards(16).of(&serial), 0x0f);
        assert_eq!(shards(256).of(&serial), 0x2f);
        assert_eq!(
            shards(7).of(&serial),
            u16::try_from(0x4bf5_122f_u32 % 7).unwrap()
        );
        assert_eq!(shards(1), Shards::ONE);
        for number in [0, 257, u16::MAX] {
            assert_eq!(Shards::try_from(number), Err(ShardsError(number)));
        }
    }

    #[test]
    fn shards_have_about_the_same_size() {
        let shards = Shards::try_from(16).unwrap();
        let mut sizes = [0; 16];
        for number in 0..16_000_u32 {
            let content = [&[0x40][..], &number.to_be_bytes()].concat();
            let serial = SerialNumber::from_octets(&content).unwrap();
            sizes[usize::from(shards.of(&serial))] += 1;
        }
        assert!(
            sizes.iter().all(|size| (800..1_200).contains(size)),
            "{sizes:?}"
        );
    }

    #[test]
    fn the_number_of_a_crl_rises_although_the_clock_steps_back_or_stands() {
        let now = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let first = CrlNumber::next(None, now).unwrap();
        assert_eq!(first.get(), 1_700_000_000_123);
        let second = CrlNumber::next(Some(first), now).unwrap();
        assert_eq!(second.get(), first.get() + 1);
        let before = CrlNumber::next(Some(second), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(before.get(), first.get() + 2);
        let later = CrlNumber::next(Some(second), at(1_800_000_000)).unwrap();
        assert_eq!(later.get(), 1_800_000_000_000);
        assert_eq!(CrlNumber::next(None, at(-1)).map(CrlNumber::get), Some(0));
        assert_eq!(CrlNumber::next(Some(CrlNumber::new(u64::MAX)), now), None);
    }
}
