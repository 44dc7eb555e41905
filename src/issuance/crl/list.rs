//! CRLs as raw slices: strict DER, read entry by entry, so that memory does not grow with the number of entries.

use const_oid::ObjectIdentifier;
use der::{
    Decode as _, Reader as _, SliceReader, Tag, Tagged as _,
    asn1::{AnyRef, IntRef},
};
use x509_cert::time::Time;

use crate::issuance::raw::{Extension, context, optional, tlv, whole};

/// Most extensions of a CRL or of an entry that are read. RFC 5280 defines nine.
pub(super) const MAX_EXTENSIONS: usize = 32;

/// A list of extensions that is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExtensionsError {
    /// Not well encoded.
    #[error("the extensions are not well encoded")]
    Encoding(#[from] der::Error),
    /// More than [`MAX_EXTENSIONS`].
    #[error("there are more than {MAX_EXTENSIONS} extensions")]
    TooMany,
}

/// TBSCertList (RFC 5280, section 5.1).
pub(super) struct CertList<'a> {
    /// 1 for version 2; `None` for version 1.
    pub(super) version: Option<u8>,
    pub(super) algorithm: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) this_update: Time,
    pub(super) next_update: Option<Time>,
    /// The content of revokedCertificates.
    entries: Option<&'a [u8]>,
    /// The SEQUENCE of the extensions, with its header.
    pub(super) extensions_der: Option<&'a [u8]>,
}

impl<'a> CertList<'a> {
    pub(super) fn parse(der: &'a [u8]) -> der::Result<Self> {
        whole(der, |reader| {
            reader.sequence(|reader| {
                let version = optional(reader, Tag::Integer)?
                    .map(u8::from_der)
                    .transpose()?;
                let algorithm = tlv(reader, Tag::Sequence)?;
                let issuer = tlv(reader, Tag::Sequence)?;
                let this_update = Time::decode(reader)?;
                let next_update = match optional(reader, Tag::UtcTime)? {
                    Some(time) => Some(time),
                    None => optional(reader, Tag::GeneralizedTime)?,
                };
                let entries = optional(reader, Tag::Sequence)?;
                let extensions = optional(reader, context(0, true))?;
                Ok(Self {
                    version,
                    algorithm,
                    issuer,
                    this_update,
                    next_update: next_update.map(Time::from_der).transpose()?,
                    entries: entries.map(content).transpose()?,
                    extensions_der: extensions.map(content).transpose()?,
                })
            })
        })
    }

    pub(super) fn extensions(&self) -> Result<Vec<Extension>, ExtensionsError> {
        self.extensions_der.map_or(Ok(Vec::new()), extensions)
    }

    /// Whether revokedCertificates is there, although it may be empty.
    pub(super) const fn has_entries(&self) -> bool {
        self.entries.is_some()
    }

    /// Returns the entries in the order of the CRL. Ends after the first one that is not well encoded.
    pub(super) fn entries(&self) -> impl Iterator<Item = der::Result<RawEntry<'a>>> {
        Elements::of(self.entries.unwrap_or_default())
            .map(|element| element.and_then(RawEntry::parse))
    }

    /// The octets of revokedCertificates without its header.
    pub(super) fn entries_der(&self) -> &'a [u8] {
        self.entries.unwrap_or_default()
    }
}

/// An entry of revokedCertificates.
pub(super) struct RawEntry<'a> {
    /// The content octets of the INTEGER.
    pub(super) serial: &'a [u8],
    pub(super) at: Time,
    /// The SEQUENCE of the extensions, with its header.
    pub(super) extensions_der: Option<&'a [u8]>,
}

impl<'a> RawEntry<'a> {
    fn parse(der: &'a [u8]) -> der::Result<Self> {
        whole(der, |reader| {
            reader.sequence(|reader| {
                Ok::<_, der::Error>(Self {
                    serial: IntRef::decode(reader)?.as_bytes(),
                    at: Time::decode(reader)?,
                    extensions_der: optional(reader, Tag::Sequence)?,
                })
            })
        })
    }

    pub(super) fn extensions(&self) -> Result<Vec<Extension>, ExtensionsError> {
        self.extensions_der.map_or(Ok(Vec::new()), extensions)
    }
}

/// Returns the extension of this type.
pub(super) fn find(extensions: &[Extension], oid: ObjectIdentifier) -> Option<&Extension> {
    extensions.iter().find(|extension| extension.extn_id == oid)
}

fn extensions(der: &[u8]) -> Result<Vec<Extension>, ExtensionsError> {
    let list = AnyRef::from_der(der)?;
    list.tag().assert_eq(Tag::Sequence)?;
    let mut extensions = Vec::new();
    for element in Elements::of(list.value()) {
        if extensions.len() == MAX_EXTENSIONS {
            return Err(ExtensionsError::TooMany);
        }
        extensions.push(Extension::from_der(element?)?);
    }
    Ok(extensions)
}

/// Returns the content of an element without its header.
fn content(element: &[u8]) -> der::Result<&[u8]> {
    AnyRef::from_der(element).map(|element| element.value())
}

/// Elements that follow each other, each with its header. Ends after the first one that is not well encoded.
struct Elements<'a> {
    reader: Option<SliceReader<'a>>,
}

impl<'a> Elements<'a> {
    fn of(content: &'a [u8]) -> Self {
        Self {
            // Content without an octet has no element.
            reader: SliceReader::new(content).ok(),
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = der::Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self
            .reader
            .as_mut()
            .filter(|reader| !reader.is_finished())?;
        let element = reader.tlv_bytes();
        if element.is_err() {
            self.reader = None;
        }
        Some(element)
    }
}
