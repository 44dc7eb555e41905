//! Reads the steps of a plan one after another, and checks that each fits the earlier ones.

use std::collections::BTreeSet;

use jiff::Timestamp;
use pkcs11_issuer::issuance::crl::{CrlNumber, Revoked};

use super::{
    CaStep, CrlStep, KeyStep, PlanError, Step, SubjectKey, What,
    given::{self, Files},
    raw::{RawCa, RawCrl, RawKey, RawRevoked, RawStep},
};

mod certificate;

/// What must not occur twice, and the files that the plan names.
pub(super) struct Reader<'a> {
    serials: BTreeSet<String>,
    labels: BTreeSet<String>,
    files: &'a Files<'a>,
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
                let subject = certificate::subject(&raw.name, &raw.subject)?;
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
