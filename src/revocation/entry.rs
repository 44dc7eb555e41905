//! One revoked certificate as the register keeps it, and its line in a chunk.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::issuance::crl::{Revoked, SerialNumber, SerialNumberError, UnknownRevocationReason};

/// Most octets of a chunk's text. [`ENTRIES_PER_CHUNK`](super::head::ENTRIES_PER_CHUNK) entries with the longest names are
/// shorter, so a longer text is not ours.
const LONGEST_TEXT: u64 = 4 * 1024 * 1024;

/// A revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EntryLine", into = "EntryLine")]
pub struct Entry {
    /// Its serial number, and what the CRL says about it.
    pub revoked: Revoked,
    /// The end of the certificate; the entry is dropped some time after it. `None` if it is not known, because the entry comes
    /// from a CRL that was imported: such an entry stays.
    pub not_after: Option<Timestamp>,
    /// Who asked for it; `None` if the entry was imported.
    pub by: Option<RevocationRef>,
}

/// The CertificateRevocation that an entry comes from. One text, because a register keeps many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RefLine", into = "RefLine")]
pub struct RevocationRef {
    text: Box<str>,
    namespace: usize,
    name: usize,
}

impl RevocationRef {
    /// Names a CertificateRevocation.
    #[must_use]
    pub fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            text: [namespace, name, uid].concat().into(),
            namespace: namespace.len(),
            name: name.len(),
        }
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().1
    }

    /// Its UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.parts().2
    }

    fn parts(&self) -> (&str, &str, &str) {
        let (namespace, rest) = self.text.split_at(self.namespace);
        let (name, uid) = rest.split_at(self.name);
        (namespace, name, uid)
    }
}

/// An entry, and the revision of the register that it was last changed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) revision: u64,
    #[serde(flatten)]
    pub(super) entry: Entry,
}

impl Entry {
    /// Returns the entry of a CRL that was imported.
    pub(super) const fn imported(revoked: Revoked) -> Self {
        Self {
            revoked,
            not_after: None,
            by: None,
        }
    }
}

impl Kept {
    pub(super) const fn serial(&self) -> &SerialNumber {
        self.entry.revoked.serial()
    }
}

/// An entry in JSON. Times are in whole seconds, as on a CRL.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryLine {
    serial: String,
    at: Timestamp,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invalidity: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<RevocationRef>,
}

/// A [`RevocationRef`] in JSON.
#[derive(Serialize, Deserialize)]
struct RefLine {
    namespace: String,
    name: String,
    uid: String,
}

impl From<RefLine> for RevocationRef {
    fn from(line: RefLine) -> Self {
        Self::new(&line.namespace, &line.name, &line.uid)
    }
}

impl From<RevocationRef> for RefLine {
    fn from(by: RevocationRef) -> Self {
        let (namespace, name, uid) = by.parts();
        let (namespace, name, uid) = (namespace.to_owned(), name.to_owned(), uid.to_owned());
        Self {
            namespace,
            name,
            uid,
        }
    }
}

impl From<Entry> for EntryLine {
    fn from(entry: Entry) -> Self {
        let Entry {
            revoked,
            not_after,
            by,
        } = entry;
        Self {
            serial: revoked.serial().to_string(),
            at: revoked.at(),
            reason: revoked.reason().to_string(),
            invalidity: revoked.invalidity(),
            not_after,
            by,
        }
    }
}

impl TryFrom<EntryLine> for Entry {
    type Error = String;

    fn try_from(line: EntryLine) -> Result<Self, String> {
        let EntryLine {
            serial,
            at,
            reason,
            invalidity,
            not_after,
            by,
        } = line;
        let said = |error: &dyn fmt::Display| error.to_string();
        let serial = serial
            .parse()
            .map_err(|error: SerialNumberError| said(&error))?;
        let reason = reason
            .parse()
            .map_err(|error: UnknownRevocationReason| said(&error))?;
        let revoked = Revoked::new(serial, at, reason, invalidity);
        Ok(Self {
            revoked: revoked.map_err(|error| said(&error))?,
            not_after,
            by,
        })
    }
}

/// Returns the content of a chunk: JSON lines, gzip. The same entries give the same octets.
pub(super) fn pack(entries: &[Kept]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    for entry in entries {
        serde_json::to_writer(&mut packed, entry)?;
        packed.write_all(b"\n")?;
    }
    packed.finish()
}

/// Reads the content of a chunk.
///
/// # Errors
/// It is not what [`pack`] returns, or its text is longer than any of ours.
pub(super) fn unpack(octets: &[u8]) -> io::Result<Vec<Kept>> {
    let mut text = String::new();
    let mut unpacked = GzDecoder::new(octets).take(LONGEST_TEXT + 1);
    unpacked.read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LONGEST_TEXT {
        return Err(io::Error::other(format!(
            "its text is longer than {LONGEST_TEXT} octets"
        )));
    }
    let lines = text.lines().map(serde_json::from_str::<Kept>);
    lines
        .collect::<Result<_, _>>()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
