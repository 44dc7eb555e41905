//! Plan B: what the token will sign, byte for byte, computed from the plan and the public keys alone.

use std::{collections::BTreeMap, error::Error, fmt::Write as _, sync::Arc};

use pkcs11_issuer::issuance::{
    Authority, Issuer, PreparedAuthority, PreparedRequest, PublicKey,
    crl::{CrlParams, PrepareCrlError, PreparedCrl},
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

/// A step that signs.
pub(crate) struct SigningStep<'a> {
    pub(crate) name: &'a str,
    /// The step of the key that signs.
    pub(crate) key: &'a str,
    pub(crate) prepared: Prepared,
}

/// Why a step cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[error("step {step:?} cannot be signed as planned")]
pub(crate) struct PrepareError {
    step: String,
    source: Box<dyn Error>,
}

/// Returns the DER of the first PEM block of a text.
pub(crate) fn first_block(text: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
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
    pub(crate) fn check(&self, text: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
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

/// Prepares every step that signs, in the plan's order. `None`: a key does not exist yet. Then the steps that do not need it were
/// prepared all the same, so that their faults are found.
pub(crate) fn prepare<'a>(
    plan: &'a Plan,
    keys: &BTreeMap<String, PublicKey>,
) -> Result<Option<Vec<SigningStep<'a>>>, PrepareError> {
    let mut cas: BTreeMap<&str, Arc<Issuer>> = BTreeMap::new();
    let mut all = Vec::new();
    let mut is_whole = true;
    for step in &plan.steps {
        let name = step.name.as_str();
        let failed = |source: Box<dyn Error>| PrepareError {
            step: name.to_owned(),
            source,
        };
        let signing_key = |ca: &'a str| {
            let found = plan.signing_key(ca);
            found.ok_or_else(|| failed(format!("the key of {ca:?} is not on the token").into()))
        };
        let (key, prepared) = match &step.what {
            What::Key(_) | What::Import { .. } => continue,
            What::Ca(ca) => {
                cas.insert(name, Arc::clone(&ca.issuer));
                continue;
            }
            What::Certificate(certificate) => {
                let public = match &certificate.key {
                    SubjectKey::Step(name) => keys.get(name),
                    SubjectKey::Given(public) => Some(public),
                };
                let issuer = certificate.issuer.as_deref();
                let above = issuer.and_then(|issuer| cas.get(issuer));
                let (Some(public), true) = (public, above.is_some() == issuer.is_some()) else {
                    is_whole = false;
                    continue;
                };
                let made = certificate_of(certificate, public, above).map_err(failed)?;
                if let SubjectKey::Step(_) = &certificate.key {
                    let ca = made.as_issuer().map_err(|error| failed(error.into()))?;
                    cas.insert(name, Arc::new(ca));
                }
                // A root signs itself.
                let signs = signing_key(issuer.unwrap_or(name))?;
                (signs, Prepared::Certificate(made))
            }
            What::Request { key, subject } => {
                let Some(public) = keys.get(key) else {
                    is_whole = false;
                    continue;
                };
                let made = PreparedRequest::new(subject, public);
                let made = made.map_err(|error| failed(error.into()))?;
                (key.as_str(), Prepared::Request(made))
            }
            What::Crl(crl) => {
                let Some(ca) = cas.get(crl.issuer.as_str()) else {
                    is_whole = false;
                    continue;
                };
                let made = crl_of(crl, ca).map_err(|error| failed(error.into()))?;
                (signing_key(&crl.issuer)?, Prepared::Crl(made))
            }
        };
        all.push(SigningStep {
            name,
            key,
            prepared,
        });
    }
    Ok(is_whole.then_some(all))
}

/// Prepares a certificate of this key. `above` is the CA that signs; `None`: the certificate's own key.
fn certificate_of(
    step: &CertificateStep,
    key: &PublicKey,
    above: Option<&Arc<Issuer>>,
) -> Result<PreparedAuthority, Box<dyn Error>> {
    let authority = Authority {
        subject: step.subject.clone(),
        key: key.clone(),
        serial: step.serial,
        not_before: step.not_before,
        not_after: step.not_after,
        path_length: step.path_length,
        subject_key_id: step.subject_key_id.clone(),
    };
    let made = match above {
        None => PreparedAuthority::root(&authority)?,
        Some(above) => PreparedAuthority::under(&authority, above)?,
    };
    if let Some(predecessor) = &step.predecessor {
        let predecessor = predecessor.chain().issuing();
        successor::compare(predecessor.der(), &made.unsigned()?)?;
        if above.is_some_and(|above| !above.chain().issuing().verifies(predecessor)) {
            return Err("the key of its issuer has not signed its predecessor".into());
        }
    }
    Ok(made)
}

fn crl_of(step: &CrlStep, ca: &Issuer) -> Result<PreparedCrl, PrepareCrlError> {
    let params = CrlParams {
        number: step.number,
        this_update: step.this_update,
        next_update: step.next_update,
        partition: None,
        revoked: &step.revoked,
    };
    PreparedCrl::prepare(&params, ca.chain().issuing(), ca.algorithm())
}

/// Returns the text of plan B, whose SHA-256 is what people approve.
///
/// # Errors
///
/// What was prepared cannot be read back, so that nobody could see what they approve.
pub(crate) fn text(
    plan: &Plan,
    keys: &BTreeMap<String, PublicKey>,
    attestations: &BTreeMap<String, Hash>,
    steps: &[SigningStep<'_>],
) -> Result<String, PrepareError> {
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
    for SigningStep {
        name,
        key,
        prepared,
    } in steps
    {
        writeln!(text, "\nstep {name}, to be signed by {key}").ok();
        match prepared {
            Prepared::Certificate(prepared) => decoded::certificate(&mut text, prepared),
            Prepared::Request(prepared) => decoded::request(&mut text, prepared),
            Prepared::Crl(prepared) => decoded::crl(&mut text, prepared),
        }
        .map_err(|source| PrepareError {
            step: (*name).to_owned(),
            source,
        })?;
        let bytes = prepared.bytes();
        writeln!(text, "  SHA-256 {}\n  bytes", Hash::of(bytes).hex()).ok();
        for line in bytes.chunks(32) {
            writeln!(text, "    {}", hex::encode(line)).ok();
        }
    }
    Ok(text)
}
