//! Raw slices of certificates and certification requests: strict DER, never encoded again.
//!
//! A decoder that keeps values and encodes them again may sort a SET OF and thus change the bytes that
//! were signed. Everything that is verified or copied is therefore a slice of the input.

use std::collections::BTreeSet;

use const_oid::ObjectIdentifier;
use der::{
    Decode as _, Reader as _, Sequence, SliceReader, Tag, TagNumber, Tagged as _,
    asn1::{AnyRef, BitStringRef, IntRef, OctetString, UintRef},
};
use jiff::Timestamp;
use x509_cert::time::Time;

use super::oid::Oid;

/// Runs `read` over all of `bytes`. Fails if octets are left over.
pub(super) fn whole<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut SliceReader<'a>) -> der::Result<T>,
) -> der::Result<T> {
    let mut reader = SliceReader::new(bytes)?;
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Reads one element, which must have this tag, and returns it with its header.
pub(super) fn tlv<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<&'a [u8]> {
    Tag::peek(reader)?.assert_eq(tag)?;
    reader.tlv_bytes()
}

pub(super) const fn context(number: u32, constructed: bool) -> Tag {
    Tag::ContextSpecific {
        constructed,
        number: TagNumber(number),
    }
}

/// `SEQUENCE { toBeSigned, signatureAlgorithm, signature }`, the outer structure of certificates and CSRs.
pub(super) struct SignedFrame<'a> {
    /// The element that was signed, header included.
    pub(super) to_be_signed: &'a [u8],
    /// The AlgorithmIdentifier, header included.
    pub(super) algorithm: &'a [u8],
    /// The octets of the signature.
    pub(super) signature: &'a [u8],
}

impl<'a> SignedFrame<'a> {
    pub(super) fn parse(der: &'a [u8]) -> der::Result<Self> {
        whole(der, |reader| {
            reader.sequence(|reader| {
                let to_be_signed = tlv(reader, Tag::Sequence)?;
                let algorithm = tlv(reader, Tag::Sequence)?;
                let signature = BitStringRef::decode(reader)?
                    .as_bytes()
                    .ok_or_else(|| Tag::BitString.value_error())?;
                Ok(Self {
                    to_be_signed,
                    algorithm,
                    signature,
                })
            })
        })
    }
}

/// CertificationRequestInfo (RFC 2986, section 4.1).
pub(super) struct RequestInfo<'a> {
    /// The octets of the version INTEGER.
    pub(super) version: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) spki: &'a [u8],
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// An attribute of a CSR: its type and its values, each with its header.
pub(super) struct Attribute<'a> {
    pub(super) oid: Oid,
    pub(super) values: Vec<&'a [u8]>,
}

impl<'a> RequestInfo<'a> {
    pub(super) fn parse(der: &'a [u8]) -> der::Result<Self> {
        whole(der, |reader| {
            reader.sequence(|reader| {
                let version = IntRef::decode(reader)?.as_bytes();
                let subject = tlv(reader, Tag::Sequence)?;
                let spki = tlv(reader, Tag::Sequence)?;
                let attributes = AnyRef::from_der(tlv(reader, context(0, true))?)?.value();
                Ok(Self {
                    version,
                    subject,
                    spki,
                    attributes: whole(attributes, |reader| {
                        let mut attributes = Vec::new();
                        while !reader.is_finished() {
                            attributes.push(attribute(reader)?);
                        }
                        Ok(attributes)
                    })?,
                })
            })
        })
    }
}

fn attribute<'a>(reader: &mut SliceReader<'a>) -> der::Result<Attribute<'a>> {
    reader.sequence(|reader| {
        let oid = Oid::decode(reader)?;
        let set = AnyRef::from_der(tlv(reader, Tag::Set)?)?.value();
        let values = whole(set, |reader| {
            let mut values = Vec::new();
            while !reader.is_finished() {
                values.push(reader.tlv_bytes()?);
            }
            Ok(values)
        })?;
        Ok(Attribute { oid, values })
    })
}

/// TBSCertificate (RFC 5280, section 4.1).
pub(super) struct Tbs<'a> {
    /// 0 for v1, 1 for v2, 2 for v3.
    pub(super) version: u8,
    /// The octets of the INTEGER, two's complement.
    pub(super) serial: &'a [u8],
    pub(super) algorithm: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) not_before: Time,
    pub(super) not_after: Time,
    pub(super) subject: &'a [u8],
    pub(super) spki: &'a [u8],
    pub(super) has_unique_id: bool,
    pub(super) extensions: Vec<Extension>,
    /// The unchanged SEQUENCE of the extensions; empty if there are no extensions.
    pub(super) extensions_der: &'a [u8],
}

impl<'a> Tbs<'a> {
    pub(super) fn parse(der: &'a [u8]) -> der::Result<Self> {
        whole(der, |reader| {
            reader.sequence(|reader| {
                let version = match optional(reader, context(0, true))? {
                    Some(version) => u8::from_der(AnyRef::from_der(version)?.value())?,
                    None => 0,
                };
                let serial = IntRef::decode(reader)?.as_bytes();
                let algorithm = tlv(reader, Tag::Sequence)?;
                let issuer = tlv(reader, Tag::Sequence)?;
                let (not_before, not_after) = reader.sequence(|reader| {
                    Ok::<_, der::Error>((Time::decode(reader)?, Time::decode(reader)?))
                })?;
                let subject = tlv(reader, Tag::Sequence)?;
                let spki = tlv(reader, Tag::Sequence)?;
                let issuer_id = optional(reader, context(1, false))?;
                let subject_id = optional(reader, context(2, false))?;
                let extensions_der = match optional(reader, context(3, true))? {
                    Some(extensions) => AnyRef::from_der(extensions)?.value(),
                    None => &[],
                };
                let extensions = match extensions_der {
                    [] => Vec::new(),
                    der => Vec::from_der(der)?,
                };
                Ok(Self {
                    version,
                    serial,
                    algorithm,
                    issuer,
                    not_before,
                    not_after,
                    subject,
                    spki,
                    has_unique_id: issuer_id.or(subject_id).is_some(),
                    extensions,
                    extensions_der,
                })
            })
        })
    }

    pub(super) fn extension(&self, oid: ObjectIdentifier) -> Option<&Extension> {
        self.extensions.iter().find(|e| e.extn_id == oid)
    }
}

/// An extension (RFC 5280, section 4.1), with an identifier of any size.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct Extension {
    pub(super) extn_id: Oid,
    #[asn1(default = "Default::default")]
    pub(super) critical: bool,
    pub(super) extn_value: OctetString,
}

/// The value of basicConstraints (RFC 5280, section 4.2.1.9).
pub(super) struct BasicConstraints {
    pub(super) ca: bool,
    /// RFC 5280 does not bound the path length. A number that this type cannot hold is read as `usize::MAX`.
    pub(super) path_length: Option<usize>,
}

#[derive(Sequence)]
struct RawBasicConstraints<'a> {
    #[asn1(default = "Default::default")]
    ca: bool,
    #[asn1(optional = "true")]
    path_length: Option<UintRef<'a>>,
}

impl BasicConstraints {
    pub(super) fn parse(der: &[u8]) -> der::Result<Self> {
        let RawBasicConstraints { ca, path_length } = RawBasicConstraints::from_der(der)?;
        let number = |octets: &[u8]| {
            let mut octets = octets.iter();
            octets.try_fold(0_usize, |number, &octet| {
                number.checked_mul(256)?.checked_add(usize::from(octet))
            })
        };
        Ok(Self {
            ca,
            path_length: path_length.map(|length| number(length.as_bytes()).unwrap_or(usize::MAX)),
        })
    }
}

/// Returns the identifier of a well-formed AlgorithmIdentifier.
pub(super) fn algorithm(der: &[u8]) -> Option<Oid> {
    let read = whole(der, |reader| {
        reader.sequence(|reader| {
            let oid = Oid::decode(reader)?;
            if !reader.is_finished() {
                AnyRef::decode(reader)?;
            }
            Ok::<_, der::Error>(oid)
        })
    });
    read.ok()
}

/// Reads the next element if it has this tag, and returns it with its header.
pub(super) fn optional<'a>(
    reader: &mut SliceReader<'a>,
    tag: Tag,
) -> der::Result<Option<&'a [u8]>> {
    if !reader.is_finished() && Tag::peek(reader)? == tag {
        return reader.tlv_bytes().map(Some);
    }
    Ok(None)
}

/// Converts a time. `jiff` ends a few hours before the date that RFC 5280, section 4.1.2.5 uses for certificates without an
/// expiry date; that date becomes the last instant of `jiff`. DER has no time before 1970 here.
pub(super) fn timestamp(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// Returns the first extension that occurs twice, which RFC 5280, section 4.2 forbids.
pub(super) fn duplicate_extension(extensions: &[Extension]) -> Option<&Oid> {
    duplicate(extensions.iter().map(|extension| &extension.extn_id))
}

/// Returns the first type that occurs a second time. Takes time O(n log n), because the list may come from a tenant.
pub(super) fn duplicate<'a>(types: impl IntoIterator<Item = &'a Oid>) -> Option<&'a Oid> {
    let mut seen = BTreeSet::new();
    types.into_iter().find(|oid| !seen.insert(*oid))
}

/// Returns the issuer and the subject of a certificate, each with its header. Does not check the rest.
pub(super) fn names(der: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let certificate = AnyRef::from_der(der)?;
    certificate.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(certificate.value())?;
    let tbs = AnyRef::from_der(tlv(&mut reader, Tag::Sequence)?)?;
    let mut reader = SliceReader::new(tbs.value())?;
    optional(&mut reader, context(0, true))?;
    IntRef::decode(&mut reader)?;
    tlv(&mut reader, Tag::Sequence)?;
    let issuer = tlv(&mut reader, Tag::Sequence)?;
    tlv(&mut reader, Tag::Sequence)?;
    let subject = tlv(&mut reader, Tag::Sequence)?;
    Ok((issuer, subject))
}
