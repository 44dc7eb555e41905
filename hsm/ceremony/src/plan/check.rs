//! Reads a plan, and checks that its steps fit together.

use pkcs11_issuer::message::shown;

use super::{Plan, Step, SubjectKey, TokenName, What, given::Files, raw::RawPlan, steps::Reader};
use crate::hash::Hash;

/// The version of this program, which a plan must name.
pub(crate) const TOOL: &str = env!("CARGO_PKG_VERSION");

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("{0}")]
    Yaml(String),
    #[error(
        "line {line} has the character {character:?}, which nobody sees; remove it, because people approve what they see"
    )]
    Invisible { line: usize, character: char },
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
    #[error("step {step:?}: {file}: {why}")]
    File {
        step: String,
        file: String,
        why: String,
    },
    #[error("step {step:?}: {why}")]
    Ca { step: String, why: String },
    #[error("step {0:?}: name either the certificate of the other CA or its request")]
    Cross(String),
    #[error("step {0:?}: nextUpdate must be after thisUpdate, both in whole seconds")]
    Updates(String),
    #[error("step {step:?}: revoked: {why}")]
    Revoked { step: String, why: String },
    #[error("step {0:?}: notAfter must be after notBefore, both in whole seconds")]
    Validity(String),
    #[error(
        "a plan needs exactly one audit-key step; its key, Ed25519 or P-256, signs the transcript and nothing else"
    )]
    AuditKey,
}

impl Plan {
    /// Reads a plan, and the files beside it that it names.
    pub(crate) fn parse(octets: &[u8], files: &Files<'_>) -> Result<Self, PlanError> {
        let text = std::str::from_utf8(octets)
            .map_err(|error| PlanError::Yaml(error.to_string()))?
            .to_owned();
        check_visible(&text)?;
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
        let mut reader = Reader::new(files);
        for step in raw.steps {
            let step = reader.step(step, &steps)?;
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
            What::Certificate(certificate) => {
                matches!(&certificate.key, SubjectKey::Step(key) if key == name)
            }
            What::Request { key, .. } => key == name,
            What::Key(_) | What::Ca(_) | What::Import { .. } | What::Crl(_) => false,
        });
        match key.algorithm {
            A::Ed25519 | A::P256 if !used => Ok(()),
            A::Ed25519 | A::P256 | A::P384 | A::Rsa4096 | A::MlDsa65 | A::MlDsa87 => {
                Err(PlanError::AuditKey)
            }
        }
    }
}

/// Fails if the text has a character that a terminal does not show, or that changes how others are shown.
fn check_visible(text: &str) -> Result<(), PlanError> {
    for (number, line) in text.split('\n').enumerate() {
        let hidden = line
            .chars()
            .find(|character| shown(character) != character.to_string());
        if let Some(character) = hidden {
            let line = number + 1;
            return Err(PlanError::Invisible { line, character });
        }
    }
    Ok(())
}
