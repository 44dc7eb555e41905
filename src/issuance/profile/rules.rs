//! The rules of a profile, and the check that they are consistent.

use jiff::SignedDuration;

use super::{
    AllowedNames, DeniedNames, Limits,
    authority::CaRules,
    extensions::ExtensionRules,
    subject::{SubjectMode, SubjectRules},
    usages::UsageRules,
};
use crate::issuance::{pattern::DnsPattern, san::DnsSyntax, scheme::MlDsa};

/// A profile that contradicts itself or its issuer's grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile.{field}: {problem}")]
pub struct ProfileError {
    field: String,
    problem: String,
}

impl ProfileError {
    /// Makes an error from the path of a field and what is wrong with it.
    pub fn new(field: impl Into<String>, problem: impl ToString) -> Self {
        Self {
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}

/// The rules of a profile. The default is safe: leaf certificates only, for digital signature, key
/// encipherment, TLS servers and TLS clients, for at most a year.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How long certificates are valid.
    pub validity: ValidityRules,
    /// Which subject keys are certified.
    pub keys: KeyRules,
    /// What the keys may be used for.
    pub usages: UsageRules,
    /// What happens to the CSR's subject.
    pub subject: SubjectRules,
    /// Which subject alternative names are certified.
    pub names: NameRules,
    /// Rules for CA certificates.
    pub ca: CaRules,
    /// Other extensions of the certificates.
    pub extensions: ExtensionRules,
}

/// How long certificates are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidityRules {
    /// The duration if the request asks for none.
    pub default: SignedDuration,
    /// The shortest duration that a request may ask for.
    pub min: SignedDuration,
    /// The longest duration that a request may ask for.
    pub max: SignedDuration,
    /// How far the validity window is moved into the past; at most a tenth of the duration.
    pub backdate: SignedDuration,
    /// What happens if a certificate would outlive a certificate of the chain.
    pub beyond_ca: BeyondCa,
}

impl Default for ValidityRules {
    fn default() -> Self {
        Self {
            default: SignedDuration::from_hours(2160),
            min: SignedDuration::from_mins(5),
            max: SignedDuration::from_hours(8760),
            backdate: SignedDuration::from_mins(1),
            beyond_ca: BeyondCa::Reject,
        }
    }
}

/// What happens if a certificate would outlive a certificate of the chain, its root included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeyondCa {
    /// The request is refused.
    Reject,
    /// The certificate ends when the first certificate of the chain ends, if at least `min_remaining` is left until
    /// then. Without this minimum, certificates would be renewed more and more often towards the end, because each is
    /// renewed after two thirds of its duration.
    Clamp {
        /// The least time that must be left.
        min_remaining: SignedDuration,
    },
}

/// Which subject keys are certified, of those that the key policy accepts at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRules {
    /// Bits of the shortest RSA modulus.
    pub rsa_min_bits: usize,
    /// Bits of the longest RSA modulus.
    pub rsa_max_bits: usize,
    /// ECDSA on P-256.
    pub p256: bool,
    /// ECDSA on P-384.
    pub p384: bool,
    /// ECDSA on P-521.
    pub p521: bool,
    /// Ed25519.
    pub ed25519: bool,
    /// The parameter sets of ML-DSA; few programs can use such certificates yet.
    pub ml_dsa: Vec<MlDsa>,
    /// SHA-256 hashes of the SubjectPublicKeyInfo of keys that are never certified.
    pub blocked: Vec<[u8; 32]>,
}

impl Default for KeyRules {
    fn default() -> Self {
        Self {
            rsa_min_bits: 2048,
            rsa_max_bits: 8192,
            p256: true,
            p384: true,
            p521: true,
            ed25519: true,
            ml_dsa: Vec::new(),
            blocked: Vec::new(),
        }
    }
}

/// Which subject alternative names are certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRules {
    /// The largest number of names.
    pub max: usize,
    /// Whether DNS names may be wildcards.
    pub wildcards: bool,
    /// Which characters DNS names may have.
    pub dns_syntax: DnsSyntax,
    /// The allowed names.
    pub allowed: AllowedNames,
    /// Names that are refused even if they are allowed.
    pub denied: DeniedNames,
    /// Whether every certificate is an X.509-SVID of one workload.
    pub spiffe: bool,
}

impl Default for NameRules {
    fn default() -> Self {
        Self {
            max: 100,
            wildcards: true,
            dns_syntax: DnsSyntax::Strict,
            allowed: AllowedNames::default(),
            denied: DeniedNames::default(),
            spiffe: false,
        }
    }
}

impl Rules {
    /// Whether a request must belong to a namespace, because a rule needs a value for `{{namespace}}`.
    pub(super) fn need_namespace(&self) -> bool {
        let subject = match &self.subject.mode {
            SubjectMode::Fixed(attributes) => {
                attributes.iter().any(|(_, value)| value.names_namespace())
            }
            SubjectMode::Verbatim | SubjectMode::Omit => false,
        };
        // Without a namespace, a denying pattern would cover nothing and let every name pass.
        subject
            || self
                .names
                .denied
                .dns
                .iter()
                .any(DnsPattern::names_namespace)
    }

    /// Checks that the rules are consistent, and narrows them to the limits.
    pub(super) fn within(mut self, limits: &Limits) -> Result<Self, ProfileError> {
        self.validity.check()?;
        self.subject.check()?;
        self.ca.narrow(limits.ca, self.names.spiffe)?;
        self.usages.narrow(limits)?;
        self.extensions.check()?;
        if self.keys.rsa_min_bits > self.keys.rsa_max_bits {
            return Err(ProfileError::new(
                "keys.rsa.minBits",
                format!("must not be above maxBits, {}", self.keys.rsa_max_bits),
            ));
        }
        if let Some(most) = limits.max_duration {
            if self.validity.min > most {
                return Err(ProfileError::new(
                    "validity.min",
                    format!("the token's grant allows at most {most:#}"),
                ));
            }
            self.validity.max = self.validity.max.min(most);
            self.validity.default = self.validity.default.min(most);
        }
        Ok(self)
    }
}

impl ValidityRules {
    fn check(&self) -> Result<(), ProfileError> {
        let error = |field: &str, problem: &str| {
            Err(ProfileError::new(format!("validity.{field}"), problem))
        };
        // A certificate encodes its validity in whole seconds and must end after it begins.
        if self.min < SignedDuration::from_secs(1) {
            return error("min", "must be at least 1s");
        }
        if self.max < self.min {
            return error("max", "must not be below min");
        }
        if self.default < self.min || self.default > self.max {
            return error("default", "must lie between min and max");
        }
        if self.backdate.is_negative() {
            return error("backdate", "must not be negative");
        }
        match self.beyond_ca {
            BeyondCa::Clamp { min_remaining } if min_remaining < SignedDuration::from_secs(1) => {
                error("minRemaining", "must be at least 1s")
            }
            BeyondCa::Reject | BeyondCa::Clamp { .. } => Ok(()),
        }
    }
}
