//! A PEM scanner for untrusted text (RFC 7468), and an encoder for our output.
//!
//! We do not use a library to decode, because the available libraries either accept bytes after the DER value or refuse
//! a second newline at the end of a file, which a shell may add.

use base64::{Engine as _, engine::general_purpose::STANDARD};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reason why a text is not the expected PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No `-----BEGIN …-----` line.
    #[error("no PEM block was found; it must start with a line -----BEGIN …-----")]
    NoBlock,
    /// A boundary line that is cut short or garbled.
    #[error("a PEM boundary line is malformed")]
    Boundary,
    /// A block without its `-----END …-----` line, or with the line of another label.
    #[error("a PEM block does not end with an -----END …----- line that has the same label")]
    Unterminated,
    /// RFC 1421 headers, as encrypted keys carry them.
    #[error("a PEM block has headers; remove them")]
    Headers,
    /// The body is not base64.
    #[error("the body of a PEM block is not base64")]
    Base64,
    /// Text after the only allowed block.
    #[error("there is text after the end of the PEM block; remove it")]
    TrailingText,
}

/// One decoded block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The text between `-----BEGIN ` and `-----`.
    pub label: &'a [u8],
    /// The decoded base64.
    pub der: Vec<u8>,
}

/// The blocks of a text, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks<'a> {
    /// The blocks in the order of the text.
    pub blocks: Vec<Block<'a>>,
    /// Whether anything but white space follows the last block.
    pub trailing_text: bool,
}

/// Reads every block. Lines may end in LF or CRLF, with trailing blanks; there may be text between blocks.
///
/// # Errors
///
/// Fails if there is no block, or if one is malformed.
pub fn scan(text: &[u8]) -> Result<Blocks<'_>, PemError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut lines = text
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    let mut blocks = Vec::new();
    let mut trailing_text = false;
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix(BEGIN) {
            let label = rest.strip_suffix(DASHES).ok_or(PemError::Boundary)?;
            blocks.push(Block {
                label,
                der: body(label, &mut lines)?,
            });
            trailing_text = false;
        } else if line.starts_with(END) {
            return Err(PemError::Boundary);
        } else if !line.is_empty() {
            trailing_text = true;
        }
    }
    if blocks.is_empty() {
        return Err(PemError::NoBlock);
    }
    Ok(Blocks {
        blocks,
        trailing_text,
    })
}

fn body<'a>(label: &[u8], lines: &mut impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, PemError> {
    let mut base64 = Vec::new();
    for line in lines {
        if let Some(rest) = line.strip_prefix(END) {
            if rest.strip_suffix(DASHES) != Some(label) {
                return Err(PemError::Unterminated);
            }
            let base64 = std::str::from_utf8(&base64).map_err(|_| PemError::Base64)?;
            return STANDARD.decode(base64).map_err(|_| PemError::Base64);
        }
        if line.starts_with(BEGIN) {
            return Err(PemError::Unterminated);
        }
        if line.contains(&b':') {
            return Err(PemError::Headers);
        }
        base64.extend_from_slice(line);
    }
    Err(PemError::Unterminated)
}

/// Encodes one block with lines of 64 characters and LF, as RFC 7468, section 2 requires of generators.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, character) in base64.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN X-----\nAAEC\n-----END X-----\n";

    fn error(text: &str) -> Option<PemError> {
        scan(text.as_bytes()).err()
    }

    #[test]
    fn leading_text_trailing_blanks_and_carriage_returns_are_tolerated() {
        for text in [
            BLOCK.to_owned(),
            format!("Certificate Request:\n  Data\n{BLOCK}"),
            format!("\u{feff}{BLOCK}\n\n  \t\n"),
            BLOCK.replace('\n', "\r\n"),
            BLOCK.replace('\n', " \n"),
            BLOCK.trim_end().to_owned(),
            BLOCK.replace("AAEC", "AA\nEC"),
        ] {
            let read = scan(text.as_bytes()).unwrap();
            assert_eq!(read.blocks[0].label, b"X");
            assert_eq!(read.blocks[0].der, [0, 1, 2]);
            assert!(!read.trailing_text);
        }
    }

    #[test]
    fn each_malformed_text_has_its_own_error() {
        let table = [
            ("", PemError::NoBlock),
            ("MIIB", PemError::NoBlock),
            (
                "-----BEGIN X----\nAAEC\n-----END X-----\n",
                PemError::Boundary,
            ),
            ("-----END X-----\n", PemError::Boundary),
            ("-----BEGIN X-----\nAAEC\n", PemError::Unterminated),
            (
                "-----BEGIN X-----\nAAEC\n-----END Y-----\n",
                PemError::Unterminated,
            ),
            (
                "-----BEGIN X-----\nAAEC\n-----BEGIN X-----\n",
                PemError::Unterminated,
            ),
            (
                "-----BEGIN X-----\nA: b\n\nAAEC\n-----END X-----\n",
                PemError::Headers,
            ),
            (
                "-----BEGIN X-----\nAA*C\n-----END X-----\n",
                PemError::Base64,
            ),
            (
                "-----BEGIN X-----\nAAE\n-----END X-----\n",
                PemError::Base64,
            ),
            (
                "-----BEGIN X-----\nAAF=\n-----END X-----\n",
                PemError::Base64,
            ),
        ];
        for (text, expected) in table {
            assert_eq!(error(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn text_after_the_last_block_is_reported() {
        let text = format!("{BLOCK}junk");
        assert!(scan(text.as_bytes()).unwrap().trailing_text);
    }

    #[test]
    fn an_encoded_block_reads_back_the_same() {
        for length in [0_usize, 1, 47, 48, 49, 96, 200] {
            let der = vec![7; length];
            let text = encode("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(scan(text.as_bytes()).unwrap().blocks[0].der, der);
        }
    }
}
