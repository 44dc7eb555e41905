//! Encoding of the bytes to be signed and of the certificate around them (RFC 5280, section 4.1). CRLs share its parts.
//!
//! The structures here hold raw slices: names, keys and algorithm identifiers are copied byte for byte,
//! never decoded and encoded again.

use std::time::Duration;

use der::{
    DateTime, Decode as _, Encode as _, Sequence, TagMode, TagNumber,
    asn1::{AnyRef, BitStringRef, ContextSpecific, UintRef},
};
use jiff::Timestamp;
use x509_cert::time::Time;

use super::raw::Extension;

/// The parts of a TBSCertificate. Byte strings are whole DER elements.
pub(super) struct Parts<'a> {
    /// Big-endian, positive.
    pub(super) serial: &'a [u8],
    pub(super) algorithm: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) subject: &'a [u8],
    pub(super) spki: &'a [u8],
    pub(super) extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct TbsCertificate<'a> {
    version: ContextSpecific<u8>,
    serial: UintRef<'a>,
    algorithm: AnyRef<'a>,
    issuer: AnyRef<'a>,
    validity: Validity,
    subject: AnyRef<'a>,
    spki: AnyRef<'a>,
    extensions: ContextSpecific<Vec<Extension>>,
}

#[derive(Sequence)]
struct Validity {
    not_before: Time,
    not_after: Time,
}

#[derive(Sequence)]
struct Signed<'a> {
    tbs: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
}

pub(super) const fn explicit<T>(number: u32, value: T) -> ContextSpecific<T> {
    ContextSpecific {
        tag_number: TagNumber(number),
        tag_mode: TagMode::Explicit,
        value,
    }
}

impl Parts<'_> {
    /// Encodes the TBSCertificate as DER. The same parts give the same bytes.
    pub(super) fn to_der(&self) -> der::Result<Vec<u8>> {
        TbsCertificate {
            // 4.1.2.1: v3 when extensions are used.
            version: explicit(0, 2),
            serial: UintRef::new(self.serial)?,
            algorithm: AnyRef::from_der(self.algorithm)?,
            issuer: AnyRef::from_der(self.issuer)?,
            validity: Validity {
                not_before: time(self.not_before)?,
                not_after: time(self.not_after)?,
            },
            subject: AnyRef::from_der(self.subject)?,
            spki: AnyRef::from_der(self.spki)?,
            extensions: explicit(3, self.extensions.clone()),
        }
        .to_der()
    }
}

/// Encodes the certificate or CRL around signed bytes as DER.
pub(super) fn signed(tbs: &[u8], algorithm: &[u8], signature: &[u8]) -> der::Result<Vec<u8>> {
    Signed {
        tbs: AnyRef::from_der(tbs)?,
        algorithm: AnyRef::from_der(algorithm)?,
        signature: BitStringRef::from_bytes(signature)?,
    }
    .to_der()
}

/// Converts a time, in whole seconds. RFC 5280, 4.1.2.5: UTCTime through the year 2049, GeneralizedTime from 2050 on.
pub(super) fn time(timestamp: Timestamp) -> der::Result<Time> {
    let seconds = u64::try_from(timestamp.as_second()).map_err(|_| der::ErrorKind::DateTime)?;
    DateTime::from_unix_duration(Duration::from_secs(seconds)).map(Time::from)
}
