//! Plan B: what the token will sign, byte for byte, computed from the plan and the public keys alone.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use pkcs11_issuer::issuance::{
    Authority, Issuer, PreparedAuthority, PreparedRequest, PublicKey, pem,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    hash::Hash,
    plan::{Plan, What},
};

/// What a step signs.
pub(crate) enum Prepared {
    Certificate(PreparedAuthority),
    Request(PreparedRequest),
}

/// Why a step cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[error("step {step:?} cannot be signed as planned")]
pub(crate) struct PrepareError {
    step: String,
    source: Box<dyn std::error::Error>,
}

/// Returns the DER of the first PEM block of a text.
pub(crate) fn first_block(text: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let block = pem::scan(text)?.blocks.into_iter().next();
    Ok(block.ok_or("the file has no PEM block")?.der)
}

impl Prepared {
    /// The bytes that the token signs.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Certificate(prepared) => prepared.tbs(),
            Self::Request(prepared) => prepared.info(),
        }
    }

    /// The name of the output and the label of its PEM.
    pub(crate) const fn output(&self) -> (&'static str, &'static str) {
        match self {
            Self::Certificate(_) => ("pem", "CERTIFICATE"),
            Self::Request(_) => ("csr.pem", "CERTIFICATE REQUEST"),
        }
    }

    /// Checks an output (PEM) that was made before: the prepared bytes and their signature.
    pub(crate) fn check(&self, text: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let (_, label) = self.output();
        let der = first_block(text)?;
        if pem::encode(label, &der).as_bytes() != text {
            return Err("the file has more than one PEM block, or another spelling".into());
        }
        match self {
            Self::Certificate(prepared) => prepared.check(&der)?,
            Self::Request(prepared) => prepared.check(&der)?,
        }
        Ok(der)
    }
}

/// Prepares every step that signs, in the plan's order: name, key step and bytes.
pub(crate) fn prepare<'a>(
    plan: &'a Plan,
    keys: &BTreeMap<String, PublicKey>,
) -> Result<Vec<(&'a str, &'a str, Prepared)>, PrepareError> {
    let mut cas: BTreeMap<&str, Arc<Issuer>> = BTreeMap::new();
    let mut all = Vec::new();
    for step in &plan.steps {
        let failed = |source: Box<dyn std::error::Error>| PrepareError {
            step: step.name.clone(),
            source,
        };
        let key = |name: &str| {
            let found = keys.get(name).cloned();
            found.ok_or_else(|| failed(format!("its key {name:?} does not exist yet").into()))
        };
        let (key_name, prepared) = match &step.what {
            What::Key(_) | What::Import { .. } => continue,
            What::Certificate(certificate) => {
                let authority = Authority {
                    subject: certificate.subject.clone(),
                    key: key(&certificate.key)?,
                    serial: certificate.serial,
                    not_before: certificate.not_before,
                    not_after: certificate.not_after,
                    path_length: certificate.path_length,
                };
                let above = certificate.issuer.as_deref();
                let (signs, made) = match above {
                    None => (
                        certificate.key.as_str(),
                        PreparedAuthority::root(&authority),
                    ),
                    Some(issuer) => {
                        let (Some(ca), Some(above)) = (cas.get(issuer), plan.certificate(issuer))
                        else {
                            return Err(failed(format!("{issuer:?} is not prepared").into()));
                        };
                        let made = PreparedAuthority::under(&authority, ca);
                        (above.key.as_str(), made)
                    }
                };
                let made = made.map_err(|error| failed(error.into()))?;
                let ca = made.as_issuer().map_err(|error| failed(error.into()))?;
                cas.insert(&step.name, Arc::new(ca));
                (signs, Prepared::Certificate(made))
            }
            What::Request { key: name, subject } => {
                let made = PreparedRequest::new(subject, &key(name)?);
                let made = made.map_err(|error| failed(error.into()))?;
                (name.as_str(), Prepared::Request(made))
            }
        };
        all.push((step.name.as_str(), key_name, prepared));
    }
    Ok(all)
}

/// Returns the text of plan B, whose SHA-256 is what people approve.
pub(crate) fn text(
    plan: &Plan,
    keys: &BTreeMap<String, PublicKey>,
    steps: &[(&str, &str, Prepared)],
) -> String {
    let mut text = format!(
        "pkcs11-ceremony plan B\nceremony: {}\nplan A: {}\ntoken: {} serial {}\n",
        plan.ceremony,
        plan.hash.hex(),
        plan.token.label,
        plan.token.serial
    );
    // Writing to a string cannot fail.
    for (name, key) in keys {
        writeln!(
            text,
            "\nkey {name}: {}\n  CKA_ID {}\n  SHA-256 of the public key {}",
            key.algorithm(),
            hex::encode(plan.key_id(name)),
            Hash::of(key.spki_der()).hex()
        )
        .ok();
    }
    for (name, key, prepared) in steps {
        writeln!(text, "\nstep {name}, to be signed by {key}").ok();
        match prepared {
            Prepared::Certificate(certificate) => decoded(&mut text, certificate),
            Prepared::Request(_) => {
                text.push_str("  a request for a certificate, without attributes\n");
            }
        }
        let bytes = prepared.bytes();
        writeln!(text, "  SHA-256 {}\n  bytes", Hash::of(bytes).hex()).ok();
        for line in bytes.chunks(32) {
            writeln!(text, "    {}", hex::encode(line)).ok();
        }
    }
    text
}

/// Writes what a parser reads that shares no code with the one that wrote the bytes.
fn decoded(text: &mut String, prepared: &PreparedAuthority) {
    let Ok(unsigned) = prepared.unsigned() else {
        return;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(&unsigned) else {
        return;
    };
    let constraints = certificate.basic_constraints().ok().flatten();
    let limit = constraints.and_then(|found| found.value.path_len_constraint);
    let usage = certificate.key_usage().ok().flatten();
    writeln!(
        text,
        "  serial      {}\n  issuer      {}\n  subject     {}\n  not before  {}\n  not after   {}\n  algorithm   {}\n  CA          {}, path length {}\n  key usage   {}",
        certificate.tbs_certificate.raw_serial_as_string(),
        certificate.issuer(),
        certificate.subject(),
        certificate.validity().not_before,
        certificate.validity().not_after,
        prepared.issuer().algorithm(),
        certificate.is_ca(),
        limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string()),
        usage.map_or_else(|| "none".to_owned(), |usage| usage.value.to_string()),
    )
    .ok();
}
