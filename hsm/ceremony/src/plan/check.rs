//! Reads a plan, and checks that its steps fit together.

use std::collections::BTreeSet;

use pkcs11_issuer::issuance::{
    Serial,
    name::{Name, attribute_type},
};

use super::{
    CertificateStep, KeyStep, Plan, Step, TokenName, What,
    raw::{RawKey, RawPlan, RawRoot, RawStep},
};
use crate::hash::Hash;

/// The version of this program, which a plan must name.
pub(crate) const TOOL: &str = env!("CARGO_PKG_VERSION");

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("{0}")]
    Yaml(String),
    #[error(
        "the plan is for version {0} of pkcs11-ceremony, and this is {TOOL}; use that version, or write and approve a plan for this one"
    )]
    Tool(String),
    #[error("ceremony {0:?}: use 1 to 60 of the characters a-z, 0-9, '.' and '-'")]
    Ceremony(String),
    #[error("step {0:?}: use 1 to 40 of the characters a-z, 0-9 and '-' as its name")]
    Name(String),
    #[error("step {0:?}: another step has the same name")]
    Twice(String),
    #[error("step {step:?}: {field} {value:?} names no earlier step of the right kind")]
    Reference {
        step: String,
        field: &'static str,
        value: String,
    },
    #[error(
        "step {0:?}: the serial number must be 32 hexadecimal digits, the first from 4 to 7, and no other step's; make one with: printf '4%s' \"$(openssl rand -hex 16 | cut -c2-)\""
    )]
    Serial(String),
    #[error("step {step:?}: subject: {why}")]
    Subject { step: String, why: String },
    #[error("step {0:?}: another step has the same key label")]
    Label(String),
    #[error("step {0:?}: notAfter must be after notBefore, both in whole seconds")]
    Validity(String),
    #[error(
        "a plan needs exactly one audit-key step; its key, Ed25519 or P-256, signs the transcript and nothing else"
    )]
    AuditKey,
}

impl Plan {
    /// Reads a plan.
    pub(crate) fn parse(octets: &[u8]) -> Result<Self, PlanError> {
        let text = std::str::from_utf8(octets)
            .map_err(|error| PlanError::Yaml(error.to_string()))?
            .to_owned();
        let raw: RawPlan = serde_saphyr::from_str(&text).map_err(|error| {
            let said = error.without_snippet().to_string();
            PlanError::Yaml(said.lines().next().unwrap_or_default().to_owned())
        })?;
        if raw.tool != TOOL {
            return Err(PlanError::Tool(raw.tool));
        }
        let plain = |text: &str, more: &[u8], most: usize| {
            (1..=most).contains(&text.len())
                && text.bytes().all(|octet| {
                    octet.is_ascii_lowercase() || octet.is_ascii_digit() || more.contains(&octet)
                })
        };
        if !plain(&raw.ceremony, b".-", 60) {
            return Err(PlanError::Ceremony(raw.ceremony));
        }
        let mut steps: Vec<Step> = Vec::new();
        let mut seen = Seen::default();
        for step in raw.steps {
            let step = seen.step(step, &steps)?;
            if !plain(&step.name, b"-", 40) {
                return Err(PlanError::Name(step.name));
            }
            if steps.iter().any(|earlier| earlier.name == step.name) {
                return Err(PlanError::Twice(step.name));
            }
            steps.push(step);
        }
        let plan = Self {
            ceremony: raw.ceremony,
            token: TokenName {
                label: raw.token.label,
                serial: raw.token.serial,
            },
            steps,
            hash: Hash::of(octets),
            text,
        };
        plan.check_audit_key()?;
        Ok(plan)
    }

    fn check_audit_key(&self) -> Result<(), PlanError> {
        use super::Algorithm as A;
        let mut audit = self.keys().filter(|(_, key)| key.audit);
        let (Some((name, key)), None) = (audit.next(), audit.next()) else {
            return Err(PlanError::AuditKey);
        };
        let used = self.steps.iter().any(|step| match &step.what {
            What::Certificate(certificate) => certificate.key == name,
            What::Request { key, .. } => key == name,
            What::Key(_) | What::Import { .. } => false,
        });
        match key.algorithm {
            A::Ed25519 | A::P256 if !used => Ok(()),
            A::Ed25519 | A::P256 | A::P384 | A::Rsa4096 | A::MlDsa65 | A::MlDsa87 => {
                Err(PlanError::AuditKey)
            }
        }
    }
}

/// What must not occur twice.
#[derive(Default)]
struct Seen {
    serials: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Seen {
    fn step(&mut self, raw: RawStep, earlier: &[Step]) -> Result<Step, PlanError> {
        Ok(match raw {
            RawStep::Keygen(key) => self.key(key, false)?,
            RawStep::AuditKey(key) => self.key(key, true)?,
            RawStep::Root(raw) => self.certificate(raw, None, earlier)?,
            RawStep::Intermediate(raw) => {
                let (issuer, raw) = raw.split();
                self.certificate(raw, Some(issuer), earlier)?
            }
            RawStep::Csr(raw) => {
                refers(earlier, &raw.name, "key", &raw.key, is_key)?;
                let subject = subject(&raw.name, &raw.subject)?;
                Step {
                    name: raw.name,
                    what: What::Request {
                        key: raw.key,
                        subject,
                    },
                }
            }
            RawStep::ImportCertificate(raw) => {
                refers(
                    earlier,
                    &raw.name,
                    "certificate",
                    &raw.certificate,
                    is_certificate,
                )?;
                Step {
                    name: raw.name,
                    what: What::Import {
                        certificate: raw.certificate,
                        label: raw.label,
                    },
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
            }),
        })
    }

    /// Reads the step of a certificate; `issuer` is the step of the CA above.
    fn certificate(
        &mut self,
        raw: RawRoot,
        issuer: Option<String>,
        earlier: &[Step],
    ) -> Result<Step, PlanError> {
        refers(earlier, &raw.name, "key", &raw.key, is_key)?;
        if let Some(issuer) = &issuer {
            refers(earlier, &raw.name, "issuer", issuer, is_certificate)?;
        }
        let subject = subject(&raw.name, &raw.subject)?;
        let serial = self.serial(&raw.name, raw.serial)?;
        let whole = [raw.not_before, raw.not_after]
            .iter()
            .all(|time| time.subsec_nanosecond() == 0);
        if !whole || raw.not_after <= raw.not_before {
            return Err(PlanError::Validity(raw.name));
        }
        Ok(Step {
            name: raw.name,
            what: What::Certificate(CertificateStep {
                key: raw.key,
                issuer,
                subject,
                serial,
                not_before: raw.not_before,
                not_after: raw.not_after,
                path_length: raw.path_length,
            }),
        })
    }

    fn serial(&mut self, step: &str, text: String) -> Result<Serial, PlanError> {
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

const fn is_key(what: &What) -> bool {
    matches!(what, What::Key(_))
}

const fn is_certificate(what: &What) -> bool {
    matches!(what, What::Certificate(_))
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
