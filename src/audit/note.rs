//! C2SP signed notes (c2sp.org/signed-note): a text, an empty line, and a line for each signature.

mod key;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use self::key::{KEY_ID_OCTETS, is_key_name};
pub use self::key::{NotePublicKey, VerifierKey, VerifierKeyError};

/// Beginning of a signature line: an em dash and a space.
const SIGNATURE: &str = "\u{2014} ";
/// Most signatures that a note may have; a verifier must accept at least 16.
const MAX_SIGNATURES: usize = 100;

/// A signed note whose form is right. Its signatures are not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

/// A signature as it stands in a note.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NoteSignature<'a> {
    name: &'a str,
    id: [u8; KEY_ID_OCTETS],
    octets: Vec<u8>,
}

/// Why a note proves nothing and must be ignored as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is not a signed note.
    #[error("it is not a signed note")]
    Malformed,
    /// A signature claims to be of a known key and does not verify.
    #[error("its signature does not verify under the key {0}")]
    BadSignature(String),
}

impl<'a> SignedNote<'a> {
    /// Parses a note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        if note.chars().any(|char| char < ' ' && char != '\n') {
            return Err(NoteError::Malformed);
        }
        // The last empty line separates the signatures. The text includes the line break before it.
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, rest) = note.split_at(split + 1);
        let lines = rest
            .strip_prefix('\n')
            .and_then(|lines| lines.strip_suffix('\n'))
            .ok_or(NoteError::Malformed)?;
        let signatures: Option<Vec<_>> = lines
            .split('\n')
            .take(MAX_SIGNATURES + 1)
            .map(NoteSignature::parse)
            .collect();
        signatures
            .filter(|signatures| signatures.len() <= MAX_SIGNATURES)
            .map(|signatures| Self { text, signatures })
            .ok_or(NoteError::Malformed)
    }

    /// Returns the text that is signed, with its last line break.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// Returns the keys whose signatures verify. Signatures of unknown keys are ignored. If no key is returned, the note
    /// proves nothing.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] if a signature has name and id of a known key and does not verify.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut verified = Vec::new();
        for key in keys {
            // Of several signatures by one key only the first counts, as in Go's `note.Open`.
            let Some(signature) = self.signatures.iter().find(|found| found.is_of(key)) else {
                continue;
            };
            if !key.verify(self.text, &signature.octets) {
                return Err(NoteError::BadSignature(key.to_string()));
            }
            verified.push(key);
        }
        Ok(verified)
    }
}

impl<'a> NoteSignature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, base64) = line.strip_prefix(SIGNATURE)?.split_once(' ')?;
        let octets = STANDARD.decode(base64).ok()?;
        let (id, octets) = octets.split_first_chunk::<KEY_ID_OCTETS>()?;
        (is_key_name(name) && !octets.is_empty()).then(|| Self {
            name,
            id: *id,
            octets: octets.to_vec(),
        })
    }

    fn is_of(&self, key: &VerifierKey) -> bool {
        self.name == key.name() && self.id == key.id()
    }
}

/// Returns the note of a text that ends with a line break, signed by one key. Ed25519 signatures have 64 octets, ECDSA
/// signatures are DER.
#[must_use]
pub fn signed_note(text: &str, key: &VerifierKey, signature: &[u8]) -> String {
    let octets = [key.id().as_slice(), signature].concat();
    format!(
        "{text}\n{SIGNATURE}{} {}\n",
        key.name(),
        STANDARD.encode(&octets)
    )
}

#[cfg(test)]
pub(crate) mod tests;
