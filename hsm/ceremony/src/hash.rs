//! SHA-256, for people: hexadecimal, and words that can be read aloud.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

mod words;

/// A SHA-256 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    /// Hashes octets.
    pub(crate) fn of(octets: &[u8]) -> Self {
        let mut hash = [0; 32];
        let digest = digest(&SHA256, octets);
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(hash)
    }

    /// The 32 octets.
    pub(crate) const fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// Lower-case hexadecimal.
    pub(crate) fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The words of the PGP word list, eight on a line.
    pub(crate) fn words(&self) -> String {
        let words = words::of(&self.0);
        let mut text = String::new();
        for line in words.chunks(8) {
            // Writing to a string cannot fail.
            writeln!(text, "  {}", line.join(" ")).ok();
        }
        text
    }
}
