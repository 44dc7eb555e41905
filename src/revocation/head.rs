//! The head of a register: what is stored of one shard of a CA, and which chunks hold the rest. Pure.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::entry::Kept;
use crate::issuance::crl::{CaId, CrlNumber, SerialNumber};

/// Most entries of one chunk: with the longest names of Kubernetes they take at most half of what a ConfigMap holds.
pub(super) const ENTRIES_PER_CHUNK: usize = 2000;
/// Most changes in the head itself; with more of them, all are moved into chunks.
pub(super) const RECENT: usize = 64;
/// Most octets of a CRL in one chunk. A ConfigMap holds 1 MiB.
pub(super) const CRL_OCTETS_PER_CHUNK: usize = 900_000;
/// One shard of a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardKey {
    /// The CA.
    pub ca: CaId,
    /// The number of the shard, from 0.
    pub shard: u16,
}

impl ShardKey {
    /// Returns the name of the ConfigMap with the head.
    pub(super) fn head_name(&self) -> String {
        format!("pkcs11-issuer-crl-{}-{}", self.ca, self.shard)
    }

    /// Returns the name of a chunk that is written with this edition of the head.
    ///
    /// The edition makes names unique over time: a chunk whose edition is not above that of the stored head, and which the
    /// head does not list, will never be listed. So it can be deleted at any time.
    pub(super) fn chunk_name(&self, edition: u64, content: &[u8]) -> String {
        let hash = sha256(content);
        let hash = hash.get(..32).unwrap_or_default();
        format!("{}-{edition}-{hash}", self.head_name())
    }

    /// Returns the edition in a chunk's name; `None` if the name is not that of a chunk of this shard.
    pub(super) fn edition_of(&self, chunk: &str) -> Option<u64> {
        let rest = chunk.strip_prefix(&self.head_name())?.strip_prefix('-')?;
        rest.split_once('-')?.0.parse().ok()
    }

    /// Returns the identity that decides which replica signs the CRLs.
    pub(super) fn uid(&self) -> String {
        format!("crl/{}/{}", self.ca, self.shard)
    }
}

/// The stored state of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterHead {
    /// Number of shards of the CA.
    pub(super) shards: u16,
    /// Number of times that this head was written.
    pub(super) edition: u64,
    /// Number of changes of the entries.
    pub(super) revision: u64,
    /// Revision in which an entry was last removed.
    #[serde(default)]
    pub(super) released: u64,
    /// The chunks with entries.
    #[serde(default)]
    pub(super) chunks: Vec<ChunkRef>,
    /// Changes since the chunks were written, oldest first.
    #[serde(default)]
    pub(super) recent: Vec<EntryChange>,
    /// The highest number that any CRL may have, published or not.
    #[serde(default)]
    pub(super) reserved: u64,
    /// The published CRL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crl: Option<StoredCrl>,
}

/// A chunk with entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChunkRef {
    pub(super) name: String,
    /// Number of entries.
    pub(super) entries: usize,
}

/// A change of the entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum EntryChange {
    /// The entry is new, or replaces the one with the same serial number.
    Put(Box<Kept>),
    /// The entry with this serial number is removed.
    Remove(#[serde(with = "serial_text")] SerialNumber),
}

/// A CRL that is stored and served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredCrl {
    pub(super) number: u64,
    pub(super) this_update: Timestamp,
    pub(super) next_update: Timestamp,
    /// Revision of the entries on it.
    pub(super) revision: u64,
    /// The URLs in its issuing distribution point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) partition: Vec<String>,
    /// SHA-256 of its DER, hexadecimal.
    pub(super) sha256: String,
    /// Number of entries.
    pub(super) entries: usize,
    /// The chunks with its DER, in order.
    pub(super) chunks: Vec<String>,
}

impl RegisterHead {
    /// Returns the head of a shard without entries and without a CRL.
    pub(super) const fn new(shards: u16) -> Self {
        Self {
            shards,
            edition: 0,
            revision: 0,
            released: 0,
            chunks: Vec::new(),
            recent: Vec::new(),
            reserved: 0,
            crl: None,
        }
    }

    /// Returns the highest number that a CRL of this shard has or had.
    pub(super) fn highest(&self) -> u64 {
        let published = self.crl.as_ref().map_or(0, |crl| crl.number);
        self.reserved.max(published)
    }

    /// Returns the number of the next CRL; `None` if there is no higher one.
    pub(super) fn next_number(&self, now: Timestamp) -> Option<CrlNumber> {
        let highest = self.highest();
        CrlNumber::next((highest > 0).then(|| CrlNumber::new(highest)), now)
    }

    /// Returns the names of all chunks.
    pub(super) fn listed(&self) -> impl Iterator<Item = &str> {
        let entries = self.chunks.iter().map(|chunk| chunk.name.as_str());
        let crl = self.crl.iter().flat_map(|crl| &crl.chunks);
        entries.chain(crl.map(String::as_str))
    }

    /// Returns whether a chunk with this name can be deleted: this head does not list it, and no later one will.
    pub(super) fn is_dead(&self, key: &ShardKey, chunk: &str) -> bool {
        let written = key.edition_of(chunk);
        written.is_some_and(|edition| edition <= self.edition)
            && !self.listed().any(|listed| listed == chunk)
    }
}

impl EntryChange {
    /// Returns the serial number of the entry.
    pub(super) fn serial(&self) -> &SerialNumber {
        match self {
            Self::Put(kept) => kept.serial(),
            Self::Remove(serial) => serial,
        }
    }

    /// Returns the entry, unless it is removed.
    pub(super) fn put(&self) -> Option<&Kept> {
        match self {
            Self::Put(kept) => Some(kept),
            Self::Remove(_) => None,
        }
    }
}

/// Returns the SHA-256 of these octets, hexadecimal.
pub(super) fn sha256(octets: &[u8]) -> String {
    hex::encode(digest(&SHA256, octets))
}

/// Serial numbers as hexadecimal text.
mod serial_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::SerialNumber;

    pub(super) fn serialize<S: Serializer>(
        serial: &SerialNumber,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(serial)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SerialNumber, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
