//! Checks the PEM scanner.

use jiff::Timestamp;
use pkcs11_issuer::issuance::{
    Bundle, VerifiedCsr,
    pem::{encode, scan},
};

/// Checks that for any text: the blocks can be written and read again unchanged; and neither line ends nor a byte order mark
/// change the blocks.
///
/// # Panics
///
/// One of these does not hold.
pub fn check(text: &[u8]) {
    // Both outcomes are right; only a panic is wrong.
    drop(VerifiedCsr::parse(text));
    drop(Bundle::parse(text, Some(text)).map(|bundle| bundle.at(Timestamp::UNIX_EPOCH)));
    let read = scan(text);
    assert_eq!(read, scan(&with_carriage_returns(text)), "CRLF");
    if !text.starts_with(b"\xef\xbb\xbf") {
        assert_eq!(
            read,
            scan(&[b"\xef\xbb\xbf", text].concat()),
            "a byte order mark must not change the blocks"
        );
    }
    let Ok(read) = read else { return };
    assert!(
        !read.blocks.is_empty(),
        "a text without a block must be an error"
    );
    let octets: usize = read.blocks.iter().map(|block| block.der.len()).sum();
    assert!(
        octets <= text.len() / 4 * 3,
        "the blocks must not be longer than the text"
    );
    let Some(labels) = read
        .blocks
        .iter()
        .map(|block| str::from_utf8(block.label).ok())
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let written: String = labels
        .iter()
        .zip(&read.blocks)
        .map(|(label, block)| encode(label, &block.der))
        .collect();
    let again = scan(written.as_bytes()).expect("what we write can be read");
    assert_eq!(again.blocks, read.blocks);
    assert!(!again.trailing_text);
}

fn with_carriage_returns(text: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split(|&octet| octet == b'\n').collect();
    lines.join(&b"\r\n"[..])
}

/// Returns texts with one block, with two blocks, with text around them, with headers, and cut short.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let csr = encode("CERTIFICATE REQUEST", &[0x30, 3, 2, 1, 0]);
    let certificate = encode("CERTIFICATE", &[7; 100]);
    [
        csr.clone(),
        certificate.repeat(2),
        format!("Certificate Request:\n    Data\n{csr}\n \n"),
        format!("{csr}{certificate}text"),
        csr.replace('\n', "\r\n"),
        csr.replace("-----\nM", "-----\nProc-Type: 4,ENCRYPTED\n\nM"),
        csr.replace("-----END", "----END"),
        csr.replace("REQUEST-----\n", "REQUEST-----"),
        csr.replace("CERTIFICATE REQUEST", "X-----"),
        encode("", &[]),
    ]
    .map(String::into_bytes)
    .to_vec()
}
