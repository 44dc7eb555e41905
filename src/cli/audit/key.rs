//! `pkcs11-issuer audit key`: the audit key in the form that the other commands read.

use std::{
    fs,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};

use crate::{
    args::ShowKey,
    audit::note::{NotePublicKey, VerifierKey},
    issuance::pem,
};

/// Prints the verifier key of a public key.
///
/// # Errors
/// The file could not be read or has no public key that signs checkpoints, the name is not one of an audit key, or stdout could
/// not be written.
pub(super) fn key(args: &ShowKey) -> anyhow::Result<ExitCode> {
    let ShowKey { name, file } = args;
    let path = file.display();
    let octets = fs::read(file).with_context(|| format!("failed to read {path}"))?;
    let spki = if octets.starts_with(b"-----BEGIN") {
        let blocks = pem::scan(&octets).with_context(|| format!("{path} is not PEM"))?;
        let first = blocks.blocks.into_iter().next().context("no PEM block")?;
        ensure!(
            first.label == b"PUBLIC KEY",
            "{path} is not the PEM of a public key; it must begin with -----BEGIN PUBLIC KEY-----"
        );
        first.der
    } else {
        octets
    };
    let public = NotePublicKey::of_spki(&spki).with_context(|| {
        format!("{path} is not the public key of an audit key; use Ed25519 or P-256, in PEM or DER")
    })?;
    let key = VerifierKey::new(name, public)?;
    writeln!(io::stdout(), "{key}").context("failed to write to stdout")?;
    Ok(ExitCode::SUCCESS)
}
