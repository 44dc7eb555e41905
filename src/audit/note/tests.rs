//! Tests of signed notes against notes that others signed: Go's checksum database and Sigstore's Rekor.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};

use super::*;

/// The keys of the tests of Go's `golang.org/x/mod/sumdb/note`.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
/// A note by both.
const BY_BOTH: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n\
    — EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
/// The key of Sigstore's log, and a checkpoint of it.
const REKOR: &str = "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc=";
const BY_REKOR: &str = "Rekor\n\
    798034\n\
    f+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\
    \n\
    — rekor.sigstore.dev wNI9ajBEAiARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3+GKVClgqq20uDLet7MCoTURUCRdxwWBHHufk=\n";

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

/// A software key that signs notes as the token's key does.
pub(crate) enum NoteSigner {
    Ed25519(Box<Ed25519KeyPair>),
    P256(Box<EcdsaKeyPair>),
}

impl NoteSigner {
    /// Returns the same Ed25519 key for the same seed.
    pub(crate) fn ed25519(seed: u8) -> Self {
        Self::Ed25519(Box::new(
            Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
        ))
    }

    pub(crate) fn p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self::P256(Box::new(pair))
    }

    pub(crate) fn key(&self, name: &str) -> VerifierKey {
        let public = match self {
            Self::Ed25519(pair) => {
                NotePublicKey::Ed25519(pair.public_key().as_ref().try_into().unwrap())
            }
            Self::P256(pair) => NotePublicKey::P256(pair.public_key().as_ref().try_into().unwrap()),
        };
        VerifierKey::new(name, public).unwrap()
    }

    pub(crate) fn sign(&self, text: &str) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
                signature.as_ref().to_vec()
            }
        }
    }
}

#[test]
fn notes_of_others_verify_under_their_keys() {
    let (peter, enoch, rekor) = (key(PETER), key(ENOCH), key(REKOR));
    let note = SignedNote::parse(BY_BOTH).unwrap();
    assert!(note.text().ends_with("what your problem is.\n"));
    let keys = [peter.clone(), enoch.clone(), rekor.clone()];
    assert_eq!(note.verify(&keys), Ok(vec![&peter, &enoch]));
    assert_eq!(note.verify([&enoch]), Ok(vec![&enoch]));
    assert_eq!(note.verify([&rekor]), Ok(vec![]));
    let note = SignedNote::parse(BY_REKOR).unwrap();
    assert_eq!(note.verify(&keys), Ok(vec![&rekor]));
}

#[test]
fn a_note_that_is_made_here_verifies_and_has_one_spelling() {
    for signer in [NoteSigner::ed25519(7), NoteSigner::p256()] {
        let key = signer.key("prod");
        let text = "prod/replica-0/00ff\n0\nAAAA\n";
        let made = signed_note(text, &key, &signer.sign(text));
        let note = SignedNote::parse(&made).unwrap();
        assert_eq!((note.text(), note.verify([&key])), (text, Ok(vec![&key])));
        let other = signer.key("other");
        assert_eq!(note.verify([&other]), Ok(vec![]));
        let wrong = made.replace("/00ff", "/00fe");
        let wrong = SignedNote::parse(&wrong).unwrap();
        assert_eq!(
            wrong.verify([&key]),
            Err(NoteError::BadSignature(key.to_string()))
        );
    }
}

#[test]
fn a_signature_of_a_known_key_that_does_not_verify_makes_the_note_worthless() {
    let (peter, enoch) = (key(PETER), key(ENOCH));
    let tampered = BY_BOTH.replace("EnochRoot rwz+eBzm", "EnochRoot rwz+eBzn");
    let note = SignedNote::parse(&tampered).unwrap();
    assert_eq!(note.verify([&peter]), Ok(vec![&peter]));
    assert_eq!(
        note.verify([&peter, &enoch]),
        Err(NoteError::BadSignature(ENOCH.to_owned()))
    );
}

#[test]
fn a_text_of_another_form_is_not_a_note() {
    let line = BY_REKOR.lines().last().unwrap();
    let many = |count: usize| format!("text\n\n{}", format!("{line}\n").repeat(count));
    SignedNote::parse(&many(MAX_SIGNATURES)).unwrap();
    for other in [
        String::new(),
        "text\n".to_owned(),
        "text\n\n".to_owned(),
        format!("text\n{line}\n"),
        format!("text\n\n{line}"),
        format!("text\n\n\n{line}\nmore\n"),
        format!("text\r\n\n{line}\n"),
        format!("te\u{0}xt\n\n{line}\n"),
        format!("text\n\n{}\n", line.replace('\u{2014}', "-")),
        format!("text\n\n{}\n", line.replacen("\u{2014} ", "\u{2014}  ", 1)),
        format!("text\n\n{}\n", line.replace(".dev ", ".dev")),
        format!("text\n\n{}\n", line.replace(".dev ", "+dev ")),
        format!("text\n\n{}\n", line.replace(".dev ", "\u{a0}dev ")),
        format!("text\n\n{}\n", line.trim_end_matches('=')),
        format!("text\n\n{line}=\n"),
        "text\n\n\u{2014} a AAAAAA==\n".to_owned(),
        many(MAX_SIGNATURES + 1),
    ] {
        assert_eq!(
            SignedNote::parse(&other),
            Err(NoteError::Malformed),
            "{other:?}"
        );
    }
}

#[test]
fn a_verifier_key_has_one_spelling() {
    for text in [PETER, ENOCH, REKOR] {
        assert_eq!(key(text).to_string(), text);
    }
    // The ids of Go's own wrong keys match.
    for (wrong, why) in [
        (String::new(), VerifierKeyError::Form),
        ("PeterNeumann".to_owned(), VerifierKeyError::Form),
        ("PeterNeumann+c74f20a3".to_owned(), VerifierKeyError::Form),
        (
            PETER.replace("c74f20a3", "C74F20A3"),
            VerifierKeyError::Form,
        ),
        (PETER.replace("c74f20a3", "c74f20a"), VerifierKeyError::Form),
        (PETER.replace("c74f20a3", "c74f20a4"), VerifierKeyError::Id),
        (PETER.replace("Peter", "Paul"), VerifierKeyError::Id),
        (PETER.replace("PeterNeumann", ""), VerifierKeyError::Name),
        (PETER.replace("Peter", "Peter "), VerifierKeyError::Name),
        (format!("{PETER}="), VerifierKeyError::Form),
        (
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEQ==".to_owned(),
            VerifierKeyError::Key,
        ),
        (
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".to_owned(),
            VerifierKeyError::Type,
        ),
        (REKOR.replace("AjBZ", "AzBZ"), VerifierKeyError::Type),
        (REKOR.replace("AjBZ", "AjBY"), VerifierKeyError::Key),
        // A point that is not on the curve.
        (REKOR.replace("fkWLc=", "fkWLg="), VerifierKeyError::Key),
    ] {
        assert_eq!(wrong.parse::<VerifierKey>(), Err(why), "{wrong}");
    }
}

#[test]
fn a_point_in_another_form_is_not_a_key() {
    let base64 = REKOR.splitn(3, '+').last().unwrap();
    let typed = STANDARD.decode(base64).unwrap();
    let point: [u8; 65] = typed.last_chunk().copied().unwrap();
    VerifierKey::new("prod", NotePublicKey::P256(point)).unwrap();
    for form in [0x02, 0x03, 0x06, 0x07, 0x00] {
        let mut other = point;
        other[0] = form;
        assert_eq!(
            VerifierKey::new("prod", NotePublicKey::P256(other)),
            Err(VerifierKeyError::Key),
            "{form}"
        );
    }
}
