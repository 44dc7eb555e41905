//! Signatures that `ssh-keygen` makes, and those that it would not make.

use std::{fs, process::Command};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

/// Signs with ssh-keygen, and returns the signature.
fn signed(kind: &str, namespace: &str, message: &[u8]) -> (SshKey, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let text = folder.path().join("message");
    fs::write(&text, message).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("ssh-keygen").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let key_path = key.to_str().unwrap();
    run(&["-q", "-t", kind, "-N", "", "-f", key_path]);
    run(&[
        "-Y",
        "sign",
        "-f",
        key_path,
        "-n",
        namespace,
        text.to_str().unwrap(),
    ]);
    let line = fs::read_to_string(folder.path().join("key.pub")).unwrap();
    let signature = fs::read_to_string(folder.path().join("message.sig")).unwrap();
    (SshKey::parse(&line).unwrap(), signature)
}

#[test]
fn a_signature_of_ssh_keygen_verifies_for_its_message_and_namespace_only() {
    for kind in ["ed25519", "ecdsa"] {
        let (key, signature) = signed(kind, NAMESPACE, b"plan");
        assert_eq!(verify(&signature, b"plan"), Ok(key), "{kind}");
        assert_eq!(verify(&signature, b"plan B"), Err(SshError::Wrong));
        let (_, signature) = signed(kind, "file", b"plan");
        assert_eq!(verify(&signature, b"plan"), Err(SshError::Namespace));
    }
}

#[test]
fn a_key_of_another_type_approves_nothing() {
    let (_, signature) = signed("rsa", NAMESPACE, b"plan");
    assert!(verify(&signature, b"plan").is_err());
}

#[test]
fn text_that_is_no_signature_is_an_error() {
    let (_, signature) = signed("ed25519", NAMESPACE, b"plan");
    for text in ["", BEGIN, &signature[..signature.len() / 2]] {
        assert_eq!(verify(text, b"plan"), Err(SshError::Form));
    }
}

fn string(octets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(octets.len()).unwrap();
    [length.to_be_bytes().as_slice(), octets].concat()
}

/// Makes the signature that a security key makes (PROTOCOL.u2f), with these flags.
fn by_security_key(flags: u8, message: &[u8]) -> String {
    let pair = Ed25519KeyPair::generate().unwrap();
    let kind = string(b"sk-ssh-ed25519@openssh.com");
    let key = [
        kind.clone(),
        string(pair.public_key().as_ref()),
        string(b"ssh:"),
    ]
    .concat();
    let rest = [string(NAMESPACE.as_bytes()), string(b""), string(b"sha256")].concat();
    let data = [MAGIC, &rest, &string(Hash::of(message).octets())].concat();
    let tail = [flags, 0, 0, 0, 9];
    let signed = [
        Hash::of(b"ssh:").octets().as_slice(),
        &tail,
        Hash::of(&data).octets(),
    ]
    .concat();
    let signature = [kind, string(pair.sign(&signed).as_ref()), tail.to_vec()].concat();
    let blob = [
        MAGIC,
        &[0, 0, 0, 1],
        &string(&key),
        &rest,
        &string(&signature),
    ]
    .concat();
    format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(&blob))
}

#[test]
fn a_security_key_must_have_been_touched() {
    assert!(verify(&by_security_key(1, b"plan"), b"plan").is_ok());
    assert_eq!(
        verify(&by_security_key(0, b"plan"), b"plan"),
        Err(SshError::NoPresence)
    );
}
