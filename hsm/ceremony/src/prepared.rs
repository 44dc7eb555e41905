//! Plan B: what the token will sign, byte for byte, computed from the plan and the public keys alone.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use pkcs11_issuer::issuance::{
    Authority, Issuer, PreparedAuthority, PreparedRequest, PublicKey,
    crl::{CrlParams, PreparedCrl},
    pem,
};

use crate::{
    hash::Hash,
    plan::{CertificateStep, CrlStep, Plan, SubjectKey, What},
};

mod decoded;
mod successor;

/// What a step signs.
pub(crate) enum Prepared {
    Certificate(PreparedAuthority),
    Request(PreparedRequest),
    Crl(PreparedCrl),
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
            Self::Crl(prepared) => prepared.tbs(),
        }
    }

    /// The name of the output and the label of its PEM.
    pub(crate) const fn output(&self) -> (&'static str, &'static str) {
        match self {
            Self::Certificate(_) => ("pem", "CERTIFICATE"),
            Self::Request(_) => ("csr.pem", "CERTIFICATE REQUEST"),
            Self::Crl(_) => ("crl.pem", "X509 CRL"),
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
            Self::Crl(prepared) => prepared.check(&der)?,
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
        let name = step.name.as_str();
        let failed = |source: Box<dyn std::error::Error>| PrepareError {
            step: name.to_owned(),
            source,
        };
        let key = |name: &str| {
            let found = keys.get(name).cloned();
            found.ok_or_else(|| failed(format!("its key {name:?} does not exist yet").into()))
        };
        let signing_key = |ca: &'a str| {
            let found = plan.signing_key(ca);
            found.ok_or_else(|| failed(format!("the key of {ca:?} is not on the token").into()))
        };
        let (key_name, prepared) = match &step.what {
            What::Key(_) | What::Import { .. } => continue,
            What::Ca(ca) => {
                cas.insert(name, Arc::clone(&ca.issuer));
                continue;
            }
            What::Certificate(certificate) => {
                let public = match &certificate.key {
                    SubjectKey::Step(name) => key(name)?,
                    SubjectKey::Given(public) => public.clone(),
                };
                let above = certificate.issuer.as_deref();
                let made = certificate_of(certificate, public, above.and_then(|ca| cas.get(ca)));
                let made = made.map_err(failed)?;
                if let SubjectKey::Step(_) = &certificate.key {
                    let ca = made.as_issuer().map_err(|error| failed(error.into()))?;
                    cas.insert(name, Arc::new(ca));
                }
                // A root signs itself.
                let signs = signing_key(above.unwrap_or(name))?;
                (signs, Prepared::Certificate(made))
            }
            What::Request { key: name, subject } => {
                let made = PreparedRequest::new(subject, &key(name)?);
                let made = made.map_err(|error| failed(error.into()))?;
                (name.as_str(), Prepared::Request(made))
            }
            What::Crl(crl) => {
                let made = crl_of(crl, cas.get(crl.issuer.as_str())).map_err(failed)?;
                (signing_key(&crl.issuer)?, Prepared::Crl(made))
            }
        };
        all.push((name, key_name, prepared));
    }
    Ok(all)
}

/// Prepares a certificate of this key. `above` is the CA that the step names.
fn certificate_of(
    step: &CertificateStep,
    key: PublicKey,
    above: Option<&Arc<Issuer>>,
) -> Result<PreparedAuthority, Box<dyn std::error::Error>> {
    let authority = Authority {
        subject: step.subject.clone(),
        key,
        serial: step.serial,
        not_before: step.not_before,
        not_after: step.not_after,
        path_length: step.path_length,
        subject_key_id: step.subject_key_id.clone(),
    };
    let made = match (&step.issuer, above) {
        (None, _) => PreparedAuthority::root(&authority)?,
        (Some(_), Some(above)) => PreparedAuthority::under(&authority, above)?,
        (Some(issuer), None) => return Err(format!("{issuer:?} is not prepared").into()),
    };
    if let Some(predecessor) = &step.predecessor {
        successor::compare(predecessor, &made.unsigned()?)?;
    }
    Ok(made)
}

fn crl_of(
    step: &CrlStep,
    ca: Option<&Arc<Issuer>>,
) -> Result<PreparedCrl, Box<dyn std::error::Error>> {
    let ca = ca.ok_or_else(|| format!("{:?} is not prepared", step.issuer))?;
    let params = CrlParams {
        number: step.number,
        this_update: step.this_update,
        next_update: step.next_update,
        partition: None,
        revoked: &step.revoked,
    };
    Ok(PreparedCrl::prepare(
        &params,
        ca.chain().issuing(),
        ca.algorithm(),
    )?)
}

/// Returns the text of plan B, whose SHA-256 is what people approve.
pub(crate) fn text(
    plan: &Plan,
    keys: &BTreeMap<String, PublicKey>,
    attestations: &BTreeMap<String, Hash>,
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
        if let Some(hash) = attestations.get(name) {
            writeln!(text, "  SHA-256 of the attestation {}", hash.hex()).ok();
        }
    }
    for (name, key, prepared) in steps {
        writeln!(text, "\nstep {name}, to be signed by {key}").ok();
        match prepared {
            Prepared::Certificate(prepared) => decoded::certificate(&mut text, prepared),
            Prepared::Request(_) => {
                text.push_str("  a request for a certificate, without attributes\n");
            }
            Prepared::Crl(prepared) => decoded::crl(&mut text, prepared),
        }
        let bytes = prepared.bytes();
        writeln!(text, "  SHA-256 {}\n  bytes", Hash::of(bytes).hex()).ok();
        for line in bytes.chunks(32) {
            writeln!(text, "    {}", hex::encode(line)).ok();
        }
    }
    text
}
