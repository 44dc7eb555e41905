//! `revoke-proof` with keys and certificates that openssl makes.

use std::process::{Command, Output};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pkcs11_issuer::issuance::PresentedCertificate;

use super::openssl::Openssl;

/// How openssl makes a key: the name, the arguments, and the hash with which `openssl dgst` signs, if it can.
const KEYS: [(&str, &[&str], Option<&str>); 6] = [
    (
        "rsa-2048",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        Some("-sha256"),
    ),
    (
        "rsa-4096",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
        Some("-sha256"),
    ),
    (
        "p256",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        Some("-sha256"),
    ),
    (
        "p384",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        Some("-sha384"),
    ),
    (
        "p521",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
        Some("-sha512"),
    ),
    ("ed25519", &["-algorithm", "ED25519"], None),
];

/// Runs the command in the folder of openssl's files.
fn revoke_proof(openssl: &Openssl, certificate: &str, key: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .args(["revoke-proof", "--certificate", certificate, "--key", key])
        .current_dir(openssl.path("."))
        .output()
        .unwrap()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Makes a key and a certificate for it: `NAME.key` (PKCS #8) and `NAME.pem`.
fn certify(openssl: &Openssl, name: &str, arguments: &[&str]) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    openssl.run(&[&["genpkey", "-out", &key], arguments].concat());
    openssl.run(&[
        "req",
        "-x509",
        "-new",
        "-key",
        &key,
        "-subj",
        "/CN=leaf",
        "-out",
        &certificate,
    ]);
}

#[test]
fn keys_of_every_kind_and_form_make_the_proof_that_the_controller_accepts() {
    let openssl = Openssl::new();
    for (name, arguments, hash) in KEYS {
        certify(&openssl, name, arguments);
        let certificate = format!("{name}.pem");
        let pem = std::fs::read(openssl.path(&certificate)).unwrap();
        let presented = PresentedCertificate::parse_pem(&pem).unwrap();
        let mut forms = vec![format!("{name}.key")];
        if hash.is_some() {
            // PKCS #1 for RSA, SEC 1 for ECDSA.
            let old = format!("{name}.old");
            openssl.run(&["pkey", "-in", &forms[0], "-traditional", "-out", &old]);
            forms.push(old);
        }
        for form in &forms {
            let made = revoke_proof(&openssl, &certificate, form);
            let stderr = String::from_utf8_lossy(&made.stderr);
            assert!(made.status.success(), "{form}: {stderr}");
            let text = String::from_utf8(made.stdout).unwrap();
            let proof = STANDARD.decode(text.trim_end()).unwrap();
            presented.prove_possession(&proof).unwrap();
        }
        // As the help says, openssl alone makes the same proof.
        if let Some(hash) = hash {
            let message = openssl.path("message");
            std::fs::write(&message, presented.possession_message()).unwrap();
            let [key, proof] = [&forms[0], "proof"];
            openssl.run(&["dgst", hash, "-sign", key, "-out", proof, "message"]);
            let proof = std::fs::read(openssl.path(proof)).unwrap();
            presented.prove_possession(&proof).unwrap();
        }
    }
}

#[test]
fn a_key_that_is_encrypted_or_of_another_certificate_makes_no_proof_and_the_error_says_what_to_do()
{
    let openssl = Openssl::new();
    for (name, arguments, _) in [KEYS[2], KEYS[5]] {
        certify(&openssl, name, arguments);
    }
    certify(&openssl, "other", KEYS[2].1);
    let (key, pem) = ("p256.key", "p256.pem");
    openssl.run(&[
        "pkey",
        "-in",
        key,
        "-aes256",
        "-passout",
        "pass:secret",
        "-out",
        "new.enc",
    ]);
    openssl.run(&[
        "pkey",
        "-in",
        key,
        "-aes256",
        "-passout",
        "pass:secret",
        "-traditional",
        "-out",
        "old.enc",
    ]);
    for (key, expected) in [
        (
            "new.enc",
            "it is encrypted; decrypt it on the way: openssl pkey -in FILE |",
        ),
        (
            "old.enc",
            "it is encrypted; decrypt it on the way: openssl pkey -in FILE |",
        ),
        (
            "other.key",
            "the key in other.key does not belong to the certificate in p256.pem",
        ),
        ("ed25519.key", "it is not a well encoded ECDSA P-256 key"),
        (
            "p256.pem",
            "it has no private key: its blocks are CERTIFICATE",
        ),
        ("absent.key", "failed to read absent.key"),
    ] {
        let told = error(&revoke_proof(&openssl, pem, key));
        assert!(told.contains(expected), "{key}: {told}");
    }
    let told = error(&revoke_proof(&openssl, key, key));
    assert!(told.contains("p256.key cannot be used"), "{told}");
    assert!(told.contains("must be CERTIFICATE"), "{told}");
    // No part of a key is repeated.
    let text = std::fs::read_to_string(openssl.path(key)).unwrap();
    let line = text.lines().nth(1).unwrap();
    assert!(!told.contains(line), "{told}");
}
