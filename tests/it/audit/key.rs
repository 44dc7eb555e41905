//! An audit key in software, and runs of the program.

use std::process::Command;

use anyhow::Result;
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use pkcs11_issuer::audit::note::{NotePublicKey, VerifierKey, signed_note};
use serde_json::Value;

/// Signs a text.
type Signing = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A key that signs checkpoints.
pub(super) struct AuditKey {
    pub(super) name: &'static str,
    public: VerifierKey,
    /// DER of the SubjectPublicKeyInfo, as the library writes it.
    spki: Vec<u8>,
    sign: Signing,
}

impl AuditKey {
    pub(super) fn ed25519() -> Result<Self> {
        let pair = Ed25519KeyPair::generate()?;
        let public = NotePublicKey::Ed25519(pair.public_key().as_ref().try_into()?);
        Ok(Self {
            name: "Ed25519",
            public: VerifierKey::new("prod", public)?,
            spki: AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())?
                .as_ref()
                .to_vec(),
            sign: Box::new(move |text| pair.sign(text).as_ref().to_vec()),
        })
    }

    pub(super) fn p256() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let public = NotePublicKey::P256(pair.public_key().as_ref().try_into()?);
        Ok(Self {
            name: "P-256",
            public: VerifierKey::new("prod", public)?,
            spki: AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())?
                .as_ref()
                .to_vec(),
            sign: Box::new(move |text| {
                let signed = pair.sign(&SystemRandom::new(), text).unwrap();
                signed.as_ref().to_vec()
            }),
        })
    }

    /// Returns the public key as an auditor has it.
    pub(super) fn vkey(&self) -> String {
        self.public.to_string()
    }

    /// Returns the public key as a token shows it.
    pub(super) fn spki(&self) -> Vec<u8> {
        self.spki.clone()
    }

    /// Returns a log with its checkpoints signed. Checkpoints are no leaves, so the tree stays the same.
    pub(super) fn seal(&self, log: &str) -> Result<String> {
        let mut sealed = String::new();
        for line in log.lines() {
            let parsed: Option<Value> = serde_json::from_str(line).ok();
            let text = parsed.as_ref().and_then(|line| line["checkpoint"].as_str());
            match text {
                Some(text) => {
                    let note = signed_note(text, &self.public, &(self.sign)(text.as_bytes()));
                    let (text, note) =
                        (serde_json::to_string(text)?, serde_json::to_string(&note)?);
                    sealed.push_str(&line.replace(&text, &note));
                }
                None => sealed.push_str(line),
            }
            sealed.push('\n');
        }
        Ok(sealed)
    }
}

/// Exit code and output of a run of `pkcs11-issuer audit`.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs `pkcs11-issuer audit`.
pub(super) fn audit(args: &[&str]) -> Result<Told> {
    let output = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .arg("audit")
        .args(args)
        .output()?;
    Ok(Told {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}
