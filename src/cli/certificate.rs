//! `pkcs11-issuer certificate`: certificates decoded, and verified as relying parties do.

mod record;
mod text;
mod verify;

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use anyhow::{Context as _, bail, ensure};
use hsm::Uri;

use self::record::CertificateRecord;
use super::{find::one, input, key::objects, output::print, session::start_log};
use crate::{
    args::{CertificateCommand, SeeCertificates},
    issuance::pem,
};

/// Most octets of a file: the largest CRL in PEM and a bundle of all public roots have fewer.
const MAX_FILE: usize = 32 << 20;

/// Prints certificates, or whether one verifies.
///
/// # Errors
/// A file, the library, the token or the PIN must be corrected first. A certificate that does not verify is not an error.
pub async fn certificate(command: &CertificateCommand) -> anyhow::Result<ExitCode> {
    start_log()?;
    match command {
        CertificateCommand::Show(asked) => show(asked).await,
        CertificateCommand::Verify(asked) => verify::verify(asked),
    }
}

async fn show(asked: &SeeCertificates) -> anyhow::Result<ExitCode> {
    let source = &asked.source;
    let read = if source.starts_with("pkcs11:") {
        on_token(asked).await?
    } else {
        ensure!(
            asked.libraries.module.is_none() && asked.libraries.config.is_none(),
            "{source} is a file, which needs neither --module nor --config; name a token by its PKCS#11 URI"
        );
        certificates(Path::new(source))?
    };
    let decoded = read.iter().enumerate().map(|(place, der)| {
        CertificateRecord::of(der)
            .with_context(|| format!("certificate {} of {source} cannot be decoded", place + 1))
    });
    let decoded = decoded.collect::<anyhow::Result<Vec<_>>>()?;
    let record = BTreeMap::from([("certificates", &decoded)]);
    print(asked.libraries.output, &record, || text::show(&decoded))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the certificates on a token that a URI names.
async fn on_token(asked: &SeeCertificates) -> anyhow::Result<Vec<Vec<u8>>> {
    let named: Uri = asked
        .source
        .parse()
        .context("the URI of the certificates is not accepted")?;
    let token = named.token().map(|token| Uri::of_token(token).to_string());
    let seen = one(&asked.libraries, token.as_deref()).await?;
    let found = objects(&seen, &asked.login).await?.certificates;
    let wanted = named.key();
    let label = wanted.label.as_ref().map(String::as_bytes);
    let mut read = Vec::new();
    for certificate in found.objects {
        let is_it = label.is_none_or(|label| *label == certificate.label)
            && wanted.id.as_ref().is_none_or(|id| *id == certificate.id);
        if is_it {
            read.push(certificate.der.with_context(|| {
                format!(
                    "the certificate {:?} on the token is not shown, or too long",
                    String::from_utf8_lossy(&certificate.label)
                )
            })?);
        }
    }
    ensure!(
        !read.is_empty(),
        "the token shows no such certificate; see what it has with key list"
    );
    Ok(read)
}

/// Reads the certificates of a file or of stdin: DER of one, or PEM.
fn certificates(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    blocks(path, "CERTIFICATE")
}

/// Reads the DER of a file, or all its PEM blocks, which must have this label.
fn blocks(path: &Path, label: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let shown = path.display();
    let octets = input::octets(path, MAX_FILE)
        .with_context(|| format!("failed to read {shown}; give a file in PEM or DER"))?;
    // A SEQUENCE; no text begins like this.
    if octets.first() == Some(&0x30) {
        return Ok(vec![octets]);
    }
    let found = pem::scan(&octets)
        .with_context(|| format!("{shown} is neither PEM nor DER; give a file in PEM or DER"))?;
    if let Some(other) = found
        .blocks
        .iter()
        .find(|one| one.label != label.as_bytes())
    {
        bail!(
            "{shown} has a PEM block {:?}; it must have only {label} blocks",
            String::from_utf8_lossy(other.label)
        );
    }
    Ok(found.blocks.into_iter().map(|block| block.der).collect())
}
