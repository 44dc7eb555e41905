//! A certificate authority and a subject whose keys are the same in every run, so that a crash can be reproduced.

use std::{future::ready, sync::LazyLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use const_oid::db::{
    rfc5280::{ID_CE_BASIC_CONSTRAINTS, ID_CE_KEY_USAGE, ID_CE_SUBJECT_KEY_IDENTIFIER},
    rfc8410::ID_ED_25519,
};
use pkcs11_issuer::issuance::{
    IssuerChain, Signature, Signer, SigningInput, pem, signature::Signing,
};

use crate::der::{bit_string, extension, oid, rdns, sequence, tlv};

/// An Ed25519 key.
pub(crate) struct Key {
    pair: Ed25519KeyPair,
    pub(crate) spki: Vec<u8>,
}

impl Key {
    fn new(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any seed is a key");
        let spki = sequence(&[&algorithm(), &bit_string(pair.public_key().as_ref())]);
        Self { pair, spki }
    }

    /// Signs `content` and appends the algorithm and the signature, as in certificates and certification requests.
    pub(crate) fn sign_der(&self, content: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(content);
        sequence(&[content, &algorithm(), &bit_string(signature.as_ref())])
    }
}

impl Signer for Key {
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a> {
        let signature = self.pair.sign(input.payload()).as_ref().to_vec();
        Box::pin(ready(Ok(Signature::from_octets(signature))))
    }
}

fn algorithm() -> Vec<u8> {
    sequence(&[&oid(ID_ED_25519)])
}

/// The key that requests certificates.
pub(crate) static SUBJECT: LazyLock<Key> = LazyLock::new(|| Key::new([1; 32]));
/// The key that issues.
pub(crate) static ISSUER: LazyLock<Key> = LazyLock::new(|| Key::new([2; 32]));
/// The issuer's certificate.
pub(crate) static CHAIN: LazyLock<IssuerChain> = LazyLock::new(|| {
    let pem = pem::encode("CERTIFICATE", &root(&[]));
    IssuerChain::parse(pem.as_bytes(), None).expect("our own root can issue")
});

/// Returns a root that ends in 2049, with further extensions.
pub(crate) fn root(others: &[u8]) -> Vec<u8> {
    let name = tlv(0x30, &rdns(&[("2.5.4.3", "root")]));
    let extensions = [
        extension(ID_CE_BASIC_CONSTRAINTS, true, &sequence(&[&[1, 1, 0xff]])),
        // keyCertSign and cRLSign.
        extension(ID_CE_KEY_USAGE, true, &[3, 2, 1, 6]),
        extension(ID_CE_SUBJECT_KEY_IDENTIFIER, false, &tlv(4, b"key id")),
        others.to_vec(),
    ];
    certificate(&name, &ISSUER.spki, &extensions.concat())
}

/// Returns a certificate signed by the issuer's key.
pub(crate) fn certificate(subject: &[u8], spki: &[u8], extensions: &[u8]) -> Vec<u8> {
    let validity = [tlv(0x17, b"200101000000Z"), tlv(0x17, b"491231235959Z")];
    ISSUER.sign_der(&sequence(&[
        &[0xa0, 3, 2, 1, 2],
        &[2, 1, 1],
        &algorithm(),
        &tlv(0x30, &rdns(&[("2.5.4.3", "root")])),
        &tlv(0x30, &validity.concat()),
        subject,
        spki,
        &tlv(0xa3, &tlv(0x30, extensions)),
    ]))
}
