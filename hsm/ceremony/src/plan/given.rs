//! The files beside a plan that its steps name: read, compared with the hash in the plan, and parsed.

use std::{io, sync::Arc};

use pkcs11_issuer::issuance::{
    Issuer, IssuerCertificate, PublicKey, VerifiedCsr, authority, name::Name, pem,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::PlanError;
use crate::hash::Hash;

/// Reads a file beside the plan by its name.
pub(crate) type Files<'a> = dyn Fn(&str) -> io::Result<Vec<u8>> + 'a;

/// What a successor or a cross-certificate has in common with the certificate of a CA.
pub(super) struct Contents {
    pub(super) subject: Name,
    pub(super) path_length: Option<u8>,
    pub(super) subject_key_id: Option<Vec<u8>>,
}

/// Returns the CA of a certificate (PEM).
pub(super) fn certificate(
    files: &Files<'_>,
    step: &str,
    file: &str,
    sha256: &str,
) -> Result<Arc<Issuer>, PlanError> {
    let text = read(files, step, file, sha256)?;
    let wrong = |why: String| wrong(step, file, why);
    let blocks = pem::scan(&text).map_err(|error| wrong(error.to_string()))?;
    let [block] = blocks.blocks.as_slice() else {
        return Err(wrong(
            "the file must have one certificate, in PEM".to_owned(),
        ));
    };
    let issuer = authority::existing(&block.der).map_err(|error| wrong(chain(&error)))?;
    Ok(Arc::new(issuer))
}

/// Returns subject and key of a certificate signing request (PEM), whose signature proves the key.
pub(super) fn request(
    files: &Files<'_>,
    step: &str,
    file: &str,
    sha256: &str,
) -> Result<(Name, PublicKey), PlanError> {
    let text = read(files, step, file, sha256)?;
    let read = VerifiedCsr::parse(&text);
    let read = read.map_err(|refusal| wrong(step, file, refusal.to_string()))?;
    if read.subject().is_empty() {
        return Err(wrong(step, file, "a CA needs a subject".to_owned()));
    }
    Ok((read.subject().clone(), read.public_key().clone()))
}

/// Returns what another certificate of the same CA repeats.
pub(super) fn contents(step: &str, of: &IssuerCertificate) -> Result<Contents, PlanError> {
    let wrong = |why: String| PlanError::Ca {
        step: step.to_owned(),
        why,
    };
    let (_, read) = X509Certificate::from_der(of.der()).map_err(|e| wrong(e.to_string()))?;
    let constraints = read.basic_constraints().map_err(|e| wrong(e.to_string()))?;
    let path_length = constraints.and_then(|found| found.value.path_len_constraint);
    let path_length = path_length.map(u8::try_from).transpose();
    Ok(Contents {
        subject: Name::parse(of.subject_der()).map_err(|e| wrong(e.to_string()))?,
        path_length: path_length.map_err(|e| wrong(format!("its path length: {e}")))?,
        subject_key_id: of.subject_key_id().map(<[u8]>::to_vec),
    })
}

fn read(files: &Files<'_>, step: &str, file: &str, sha256: &str) -> Result<Vec<u8>, PlanError> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
    if file.is_empty() || file.starts_with('.') || !file.bytes().all(plain) {
        let why = "name a file beside the plan, of letters, digits, '.', '_' and '-'";
        return Err(wrong(step, file, why.to_owned()));
    }
    let octets = files(file).map_err(|error| wrong(step, file, error.to_string()))?;
    let hash = Hash::of(&octets).hex();
    if hash != sha256 {
        let why = format!("its SHA-256 is {hash}, and the plan says {sha256:?}");
        return Err(wrong(step, file, why));
    }
    Ok(octets)
}

fn wrong(step: &str, file: &str, why: String) -> PlanError {
    PlanError::File {
        step: step.to_owned(),
        file: file.to_owned(),
        why,
    }
}

/// Returns an error with its causes on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    pkcs11_issuer::telemetry::ErrorChain(error).to_string()
}
