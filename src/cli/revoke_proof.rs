//! `pkcs11-issuer revoke-proof`: proves that somebody holds the key of a certificate that is to be revoked.

mod private_key;

use std::{fs, path::Path};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use self::private_key::PrivateKey;
use super::input;
use crate::{args::RevokeProof, issuance::PresentedCertificate};

/// Most octets of a key's file. A key of RSA-8192 has about 6 kB.
const MAX_KEY: usize = 64 * 1024;

/// Returns the proof in base64, on a line.
///
/// # Errors
/// A file could not be read, or the key is not that of the certificate.
pub fn revoke_proof(args: &RevokeProof) -> anyhow::Result<String> {
    let RevokeProof { certificate, key } = args;
    let named = || format!("{} cannot be used", certificate.display());
    let pem = fs::read(certificate).with_context(named)?;
    let presented = PresentedCertificate::parse_pem(&pem).with_context(named)?;
    let public = presented.public_key().with_context(named)?;
    let text = key_text(key).with_context(|| {
        format!(
            "failed to read {}; give a file that has the key alone",
            key.display()
        )
    })?;
    let named = || format!("the key in {} cannot be used", key.display());
    let private = PrivateKey::parse(&text, public.algorithm()).with_context(named)?;
    let proof = private
        .sign(&presented.possession_message())
        .with_context(named)?;
    let proven = presented.prove_possession(&proof);
    proven.with_context(|| {
        format!(
            "the key in {} does not belong to the certificate in {}",
            key.display(),
            certificate.display()
        )
    })?;
    Ok(STANDARD.encode(&proof) + "\n")
}

/// Reads the file of a key, or stdin.
fn key_text(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    // A vector that grows leaves copies of the key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY + 1));
    input::read_into(&mut text, path, MAX_KEY)?;
    Ok(text)
}
