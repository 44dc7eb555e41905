//! Reads the steps of a plan one after another, and checks that each fits the earlier ones.

use std::collections::BTreeSet;

use jiff::Timestamp;
use pkcs11_issuer::issuance::{
    Serial,
    crl::{CrlNumber, Revoked},
    name::{Name, attribute_type},
};

use super::{
    CaStep, CertificateStep, CrlStep, KeyStep, PlanError, Step, SubjectKey, What,
    given::{self, Files},
    raw::{RawCa, RawCrl, RawCross, RawKey, RawRenewal, RawRevoked, RawRoot, RawStep},
};

/// What must not occur twice, and the files that the plan names.
pub(super) struct Reader<'a> {
    serials: BTreeSet<String>,
    labels: BTreeSet<String>,
    files: &'a Files<'a>,
}

/// Serial number and validity of a certificate.
struct Terms {
    serial: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(files: &'a Files<'a>) -> Self {
        Self {
            serials: BTreeSet::new(),
            labels: BTreeSet::new(),
            files,
        }
    }

    pub(super) fn step(&mut self, raw: RawStep, earlier: &[Step]) -> Result<Step, PlanError> {
        Ok(match raw {
            RawStep::Keygen(key) => self.key(key, false)?,
            RawStep::AuditKey(key) => self.key(key, true)?,
            RawStep::Ca(raw) => self.ca(raw, earlier)?,
            RawStep::Root(raw) => self.planned(raw, None, earlier)?,
            RawStep::Intermediate(raw) => {
                let (issuer, raw) = raw.split();
                self.planned(raw, Some(issuer), earlier)?
            }
            RawStep::Renew(raw) => self.renewal(raw, earlier)?,
            RawStep::CrossSign(raw) => self.cross(raw, earlier)?,
            RawStep::Crl(raw) => crl(raw, earlier)?,
            RawStep::Csr(raw) => {
                refers(earlier, &raw.name, "key", &raw.key, is_key)?;
                let subject = subject(&raw.name, &raw.subject)?;
                let what = What::Request {
                    key: raw.key,
                    subject,
                };
                Step {
                    name: raw.name,
                    what,
                }
            }
            RawStep::ImportCertificate(raw) => {
                let (name, value) = (&raw.name, &raw.certificate);
                refers(earlier, name, "certificate", value, is_of_planned_key)?;
                let what = What::Import {
                    certificate: raw.certificate,
                    label: raw.label,
                };
                Step {
                    name: raw.name,
                    what,
                }
            }
        })
    }

    fn key(&mut self, raw: RawKey, audit: bool) -> Result<Step, PlanError> {
        if !self.labels.insert(raw.label.clone()) {
            return Err(PlanError::Label(raw.name));
        }
        Ok(Step {
            name: raw.name,
            what: What::Key(KeyStep {
                algorithm: raw.algorithm,
                label: raw.label,
                audit,
                attestation: raw.attestation,
            }),
        })
    }

    fn ca(&self, raw: RawCa, earlier: &[Step]) -> Result<Step, PlanError> {
        let wrong = |why: &str| PlanError::Ca {
            step: raw.name.clone(),
            why: why.to_owned(),
        };
        let issuer = given::certificate(self.files, &raw.name, &raw.certificate, &raw.sha256)?;
        let key_id = hex::decode(&raw.key_id).ok().filter(|id| !id.is_empty());
        let key_id = key_id.ok_or_else(|| wrong("keyId is not hexadecimal"))?;
        let taken = earlier.iter().any(|step| match &step.what {
            What::Ca(other) => other.key_id == key_id,
            What::Key(_)
            | What::Certificate(_)
            | What::Request { .. }
            | What::Import { .. }
            | What::Crl(_) => false,
        });
        if taken {
            return Err(wrong("another step has the same keyId"));
        }
        Ok(Step {
            name: raw.name,
            what: What::Ca(CaStep { issuer, key_id }),
        })
    }

    /// Reads a certificate whose contents are in the plan; `issuer` is the step of the CA above.
    fn planned(
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
        let terms = Terms {
            serial: raw.serial,
            not_before: raw.not_before,
            not_after: raw.not_after,
        };
        let (serial, not_before, not_after) = self.terms(&raw.name, terms)?;
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
    fn renewal(&mut self, raw: RawRenewal, earlier: &[Step]) -> Result<Step, PlanError> {
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
        let terms = Terms {
            serial: raw.serial,
            not_before: raw.not_before,
            not_after: raw.not_after,
        };
        let (serial, not_before, not_after) = self.terms(&raw.name, terms)?;
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
                predecessor: Some(predecessor.der().to_vec()),
            }),
        })
    }

    /// Reads a certificate for a CA elsewhere, whose name and key come from its own certificate or from its request.
    fn cross(&mut self, raw: RawCross, earlier: &[Step]) -> Result<Step, PlanError> {
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
        let terms = Terms {
            serial: raw.serial,
            not_before: raw.not_before,
            not_after: raw.not_after,
        };
        let (serial, not_before, not_after) = self.terms(&raw.name, terms)?;
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

    fn terms(
        &mut self,
        step: &str,
        terms: Terms,
    ) -> Result<(Serial, Timestamp, Timestamp), PlanError> {
        let Terms {
            serial: text,
            not_before,
            not_after,
        } = terms;
        if !follows(not_before, not_after) {
            return Err(PlanError::Validity(step.to_owned()));
        }
        let octets: Option<[u8; 16]> = hex::decode(&text)
            .ok()
            .and_then(|octets| octets.try_into().ok());
        let serial = octets.map(Serial::from_random);
        // A number that the type would change is refused: what is approved is what is signed.
        let serial = serial
            .filter(|serial| serial.hex() == text && self.serials.insert(text))
            .ok_or_else(|| PlanError::Serial(step.to_owned()))?;
        Ok((serial, not_before, not_after))
    }
}

fn crl(raw: RawCrl, earlier: &[Step]) -> Result<Step, PlanError> {
    refers(earlier, &raw.name, "issuer", &raw.issuer, is_ca)?;
    if !follows(raw.this_update, raw.next_update) {
        return Err(PlanError::Updates(raw.name));
    }
    let wrong = |why: String| PlanError::Revoked {
        step: raw.name.clone(),
        why,
    };
    let revoked = |entry: RawRevoked| {
        let wrong = |why: &dyn std::fmt::Display| wrong(format!("{:?}: {why}", entry.serial));
        let serial = entry.serial.parse().map_err(|why| wrong(&why))?;
        let reason = entry.reason.parse().map_err(|why| wrong(&why))?;
        if entry.at > raw.this_update {
            return Err(wrong(&"it is revoked after thisUpdate"));
        }
        Revoked::new(serial, entry.at, reason, entry.invalidity).map_err(|why| wrong(&why))
    };
    let revoked: Result<Vec<_>, _> = raw.revoked.into_iter().map(revoked).collect();
    Ok(Step {
        what: What::Crl(CrlStep {
            issuer: raw.issuer,
            number: CrlNumber::new(raw.number),
            this_update: raw.this_update,
            next_update: raw.next_update,
            revoked: revoked?,
        }),
        name: raw.name,
    })
}

fn follows(first: Timestamp, last: Timestamp) -> bool {
    let whole = |time: Timestamp| time.subsec_nanosecond() == 0;
    whole(first) && whole(last) && first < last
}

const fn is_key(what: &What) -> bool {
    matches!(what, What::Key(_))
}

/// Whether certificates and CRLs can be signed by it: a CA whose key is on the token.
const fn is_ca(what: &What) -> bool {
    match what {
        What::Ca(_) => true,
        What::Certificate(certificate) => matches!(certificate.key, SubjectKey::Step(_)),
        What::Key(_) | What::Request { .. } | What::Import { .. } | What::Crl(_) => false,
    }
}

/// Whether it is a certificate of a key that this plan makes. Beside an older key, the token has a certificate already.
const fn is_of_planned_key(what: &What) -> bool {
    match what {
        What::Certificate(certificate) => {
            matches!(certificate.key, SubjectKey::Step(_)) && certificate.predecessor.is_none()
        }
        What::Ca(_) | What::Key(_) | What::Request { .. } | What::Import { .. } | What::Crl(_) => {
            false
        }
    }
}

fn refers(
    earlier: &[Step],
    step: &str,
    field: &'static str,
    value: &str,
    right: fn(&What) -> bool,
) -> Result<(), PlanError> {
    if earlier
        .iter()
        .any(|found| found.name == value && right(&found.what))
    {
        return Ok(());
    }
    Err(PlanError::Reference {
        step: step.to_owned(),
        field,
        value: value.to_owned(),
    })
}

fn subject(step: &str, attributes: &[String]) -> Result<Name, PlanError> {
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
