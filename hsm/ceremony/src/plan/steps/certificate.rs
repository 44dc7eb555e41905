//! Reads the steps that make certificates.

use std::sync::Arc;

use jiff::Timestamp;
use pkcs11_issuer::issuance::{
    Serial,
    name::{Name, attribute_type},
};

use super::{Reader, follows, is_ca, is_key, refers};
use crate::plan::{
    CertificateStep, PlanError, Step, SubjectKey, What, given,
    raw::{RawCross, RawRenewal, RawRoot},
};

impl Reader<'_> {
    /// Reads a certificate whose contents are in the plan; `issuer` is the step of the CA above.
    pub(super) fn planned(
        &mut self,
        raw: RawRoot,
        issuer: Option<String>,
        earlier: &[Step],
    ) -> Result<Step, PlanError> {
        refers(earlier, &raw.name, "key", &raw.key, is_key)?;
        if let Some(issuer) = &issuer {
            refers(earlier, &raw.name, "issuer", issuer, is_ca)?;
        }
        let subject = subject(&raw.name, &raw.subject)?;
        let (not_before, not_after) = (raw.not_before, raw.not_after);
        let serial = self.serial(&raw.name, raw.serial, not_before, not_after)?;
        Ok(Step {
            name: raw.name,
            what: What::Certificate(CertificateStep {
                key: SubjectKey::Step(raw.key),
                issuer,
                subject,
                serial,
                not_before,
                not_after,
                path_length: raw.path_length,
                subject_key_id: None,
                predecessor: None,
            }),
        })
    }

    /// Reads the successor of a CA's certificate: only its serial number and dates are in the plan.
    pub(super) fn renewal(&mut self, raw: RawRenewal, earlier: &[Step]) -> Result<Step, PlanError> {
        let found = earlier.iter().find_map(|step| match &step.what {
            What::Ca(ca) if step.name == raw.ca => Some(ca),
            What::Ca(_)
            | What::Key(_)
            | What::Certificate(_)
            | What::Request { .. }
            | What::Import { .. }
            | What::Crl(_) => None,
        });
        let ca = found.ok_or_else(|| PlanError::Reference {
            step: raw.name.clone(),
            field: "ca",
            value: raw.ca.clone(),
        })?;
        if let Some(issuer) = &raw.issuer {
            refers(earlier, &raw.name, "issuer", issuer, is_ca)?;
        }
        let predecessor = ca.issuer.chain().issuing();
        let contents = given::contents(&raw.name, predecessor)?;
        let (not_before, not_after) = (raw.not_before, raw.not_after);
        let serial = self.serial(&raw.name, raw.serial, not_before, not_after)?;
        Ok(Step {
            name: raw.name,
            what: What::Certificate(CertificateStep {
                key: SubjectKey::Step(raw.ca),
                issuer: raw.issuer,
                subject: contents.subject,
                serial,
                not_before,
                not_after,
                path_length: contents.path_length,
                subject_key_id: contents.subject_key_id,
                predecessor: Some(Arc::clone(&ca.issuer)),
            }),
        })
    }

    /// Reads a certificate for a CA elsewhere, whose name and key come from its own certificate or from its request.
    pub(super) fn cross(&mut self, raw: RawCross, earlier: &[Step]) -> Result<Step, PlanError> {
        refers(earlier, &raw.name, "issuer", &raw.issuer, is_ca)?;
        let (subject, public, subject_key_id) = match (&raw.certificate, &raw.request) {
            (Some(file), None) => {
                let given = given::certificate(self.files, &raw.name, file, &raw.sha256)?;
                let given = given.chain().issuing();
                let contents = given::contents(&raw.name, given)?;
                let public = given.public_key().key().clone();
                (contents.subject, public, contents.subject_key_id)
            }
            (None, Some(file)) => {
                let (subject, public) = given::request(self.files, &raw.name, file, &raw.sha256)?;
                (subject, public, None)
            }
            (Some(_), Some(_)) | (None, None) => return Err(PlanError::Cross(raw.name)),
        };
        let (not_before, not_after) = (raw.not_before, raw.not_after);
        let serial = self.serial(&raw.name, raw.serial, not_before, not_after)?;
        Ok(Step {
            name: raw.name,
            what: What::Certificate(CertificateStep {
                key: SubjectKey::Given(public),
                issuer: Some(raw.issuer),
                subject,
                serial,
                not_before,
                not_after,
                path_length: raw.path_length,
                subject_key_id,
                predecessor: None,
            }),
        })
    }

    /// Checks the validity of a certificate, and reads its serial number.
    fn serial(
        &mut self,
        step: &str,
        text: String,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Serial, PlanError> {
        if !follows(not_before, not_after) {
            return Err(PlanError::Validity(step.to_owned()));
        }
        let octets: Option<[u8; 16]> = hex::decode(&text)
            .ok()
            .and_then(|octets| octets.try_into().ok());
        let serial = octets.map(Serial::from_random);
        // A number that the type would change is refused: what is approved is what is signed.
        serial
            .filter(|serial| serial.hex() == text && self.serials.insert(text))
            .ok_or_else(|| PlanError::Serial(step.to_owned()))
    }
}

/// Reads a name as the plan writes it.
pub(super) fn subject(step: &str, attributes: &[String]) -> Result<Name, PlanError> {
    let wrong = |why: String| PlanError::Subject {
        step: step.to_owned(),
        why,
    };
    let parsed: Result<Vec<_>, _> = attributes
        .iter()
        .map(|text| {
            let (kind, value) = text.split_once('=')?;
            Some((attribute_type(kind)?, value.to_owned()))
        })
        .zip(attributes)
        .map(|(pair, text)| pair.ok_or_else(|| wrong(format!("{text:?} is not like \"CN=Name\""))))
        .collect();
    let name = Name::of(&parsed?, None).map_err(|error| wrong(error.to_string()))?;
    if name.is_empty() {
        return Err(wrong("a CA needs a subject".to_owned()));
    }
    name.check().map_err(|error| wrong(error.to_string()))?;
    Ok(name)
}
