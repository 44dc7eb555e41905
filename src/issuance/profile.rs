//! What an issuer may issue: the profile, and the contents of one certificate that it admits.

use aws_lc_rs::digest;
use der::flagset::FlagSet;
use jiff::SignedDuration;
use x509_cert::ext::pkix::KeyUsages;

use super::{
    claim::Role,
    csr::VerifiedCsr,
    key::{KeyAlgorithm, PublicKey},
    name::Name,
    oid::Oid,
    pattern::Variables,
    refusal::{Refusal, RefusalReason},
    san::DnsSyntax,
    usage::Usages,
};

mod allowed;
mod authority;
mod constraint;
mod explain;
mod extensions;
mod fence;
mod limits;
mod names;
mod rules;
mod subject;
mod usages;

pub use allowed::{AllowedNames, DeniedNames};
pub use authority::{CaExtensions, CaRules, ConstraintMode, EmptySubject};
pub use constraint::{Constraint, Constraints, DnsSubtree, EmailSubtree, HostSubtree};
pub use explain::RuleDecision;
pub use extensions::{ExtensionRules, HttpUrl, HttpUrlError, Policy};
pub use limits::{CaLimits, Limits, SubjectLimits};
pub use rules::{BeyondCa, KeyRules, NameRules, ProfileError, Rules, ValidityRules};
pub use subject::{SubjectMode, SubjectRules};
pub use usages::{Incompatible, UsageRules};

/// Everything that a request asks for outside its CSR.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Namespace and name of the request.
    pub variables: Variables<'a>,
    /// The usages in cert-manager's words, as in `spec.usages`.
    pub usages: &'a [String],
    /// `spec.isCA`.
    pub is_ca: bool,
    /// Whether only an annotation asks for a CA certificate.
    pub by_annotation: bool,
    /// Length of the validity; `None` for the profile's default.
    pub duration: Option<SignedDuration>,
}

/// Rules that are consistent with each other and with the issuer's grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    rules: Rules,
    limits: Limits,
}

/// The contents of one certificate that a profile admits, bound to its CSR.
#[derive(Clone, Debug)]
pub struct CertificateParams<'a> {
    csr: &'a VerifiedCsr,
    subject: Name,
    authority: Option<CaExtensions>,
    key_usage: FlagSet<KeyUsages>,
    extended_key_usage: Vec<Oid>,
    duration: SignedDuration,
    backdate: SignedDuration,
    beyond_ca: BeyondCa,
    extensions: &'a ExtensionRules,
    dropped_extensions: Vec<Oid>,
}

impl<'a> CertificateParams<'a> {
    pub(super) const fn csr(&self) -> &'a VerifiedCsr {
        self.csr
    }

    /// The subject.
    #[must_use]
    pub const fn subject(&self) -> &Name {
        &self.subject
    }

    /// Path length and name constraints of a CA certificate; `None` for a leaf.
    #[must_use]
    pub const fn authority(&self) -> Option<&CaExtensions> {
        self.authority.as_ref()
    }

    pub(super) const fn extensions(&self) -> &'a ExtensionRules {
        self.extensions
    }

    /// The extensions that the CSR asks for and the certificate will not carry, in the CSR's order. None is critical.
    #[must_use]
    pub fn dropped_extensions(&self) -> &[Oid] {
        &self.dropped_extensions
    }

    /// The requested bits of keyUsage that the key can have; empty means no extension.
    #[must_use]
    pub const fn key_usage(&self) -> FlagSet<KeyUsages> {
        self.key_usage
    }

    /// The purposes of extKeyUsage; empty means no extension.
    #[must_use]
    pub fn extended_key_usage(&self) -> &[Oid] {
        &self.extended_key_usage
    }

    /// Length of the validity, in whole seconds.
    #[must_use]
    pub const fn duration(&self) -> SignedDuration {
        self.duration
    }

    /// How far the validity window is moved into the past.
    #[must_use]
    pub const fn backdate(&self) -> SignedDuration {
        self.backdate
    }

    /// What happens if the certificate would outlive a certificate of the chain.
    #[must_use]
    pub const fn beyond_ca(&self) -> BeyondCa {
        self.beyond_ca
    }
}

impl Profile {
    /// Narrows the rules to what the issuer is granted.
    ///
    /// # Errors
    ///
    /// The rules contradict each other, or the grant makes them impossible.
    pub fn new(rules: Rules, limits: Limits) -> Result<Self, ProfileError> {
        Ok(Self {
            rules: rules.within(&limits)?,
            limits,
        })
    }

    /// Which characters DNS names may have.
    pub(super) const fn dns_syntax(&self) -> DnsSyntax {
        self.rules.names.dns_syntax
    }

    /// Whether every certificate is an X.509-SVID.
    pub(super) const fn is_spiffe(&self) -> bool {
        self.rules.names.spiffe
    }

    /// The extensions that are copied from CSRs.
    pub(super) fn copied_extensions(&self) -> &[Oid] {
        &self.rules.extensions.from_csr
    }

    /// Whether leaves say that they are never revoked (RFC 9608).
    pub(super) const fn denies_revocation(&self) -> bool {
        self.rules.extensions.no_rev_avail
    }

    /// Returns whether a request for this key would be admitted.
    pub(super) fn certifies(&self, key: &PublicKey) -> bool {
        self.rules.keys.check(key).is_ok()
    }

    /// The longest validity that a request may ask for.
    #[must_use]
    pub const fn longest(&self) -> SignedDuration {
        self.rules.validity.max
    }

    /// Judges a request: its key, CA flag, usages, names and duration, and whether the CSR asks for the same as the request.
    ///
    /// # Errors
    ///
    /// A refusal for the first rule that the request breaks.
    pub fn admit<'a>(
        &'a self,
        csr: &'a VerifiedCsr,
        wanted: &Wanted<'_>,
    ) -> Result<CertificateParams<'a>, Refusal> {
        let rules = &self.rules;
        self.check_namespace(wanted.variables)?;
        rules.keys.check(csr.public_key())?;
        let authority = rules.ca.judge(csr, wanted, &self.limits)?;
        let role = Role::of(wanted.is_ca);
        let asked = self.usages(csr, wanted)?;
        let dropped_extensions = rules.extensions.judge(csr)?;
        let subject = rules.subject.judge(csr, wanted.variables)?;
        let subject = match authority {
            Some(_) => rules.ca.subject(csr, subject)?,
            None => subject,
        };
        self.check_subject(&subject, wanted.variables)?;
        names::Judge::new(rules, &self.limits, wanted.variables).check(csr, &subject, role)?;
        let key_usage = rules.usages.fit(csr, asked.key)?;
        if rules.names.spiffe {
            check_svid_usages(key_usage)?;
        }
        let duration = rules.validity.duration(wanted.duration)?;
        Ok(CertificateParams {
            csr,
            subject,
            authority,
            key_usage,
            extended_key_usage: asked.extended,
            duration,
            backdate: rules.validity.backdate_of(duration),
            beyond_ca: rules.validity.beyond_ca,
            extensions: &rules.extensions,
            dropped_extensions,
        })
    }
}

impl Profile {
    /// Returns the requested usages, or refuses a usage that the rules or the grant do not allow.
    fn usages(&self, csr: &VerifiedCsr, wanted: &Wanted<'_>) -> Result<Usages, Refusal> {
        let rules = &self.rules.usages;
        let usages = rules.match_csr(csr, rules.read(wanted.usages, wanted.is_ca)?)?;
        self.limits.state(usages, Role::of(wanted.is_ca))
    }

    fn check_subject(&self, subject: &Name, variables: Variables<'_>) -> Result<(), Refusal> {
        let limits = self.limits.subject.as_ref();
        limits.map_or(Ok(()), |limits| limits.check(subject, variables))
    }

    /// Refuses a request without a namespace if a rule depends on the namespace.
    fn check_namespace(&self, variables: Variables<'_>) -> Result<(), Refusal> {
        if variables.namespace.is_none() && self.rules.need_namespace() {
            return Err(Refusal::new(
                RefusalReason::NamespaceUnknown,
                "this issuer's profile depends on a namespace, and the request belongs to none; have it made by a service account",
            ));
        }
        Ok(())
    }
}

impl KeyRules {
    fn check(&self, key: &PublicKey) -> Result<(), Refusal> {
        let algorithm = key.algorithm();
        let refuse = |reason, problem: &str| {
            Err(Refusal::new(
                reason,
                format!("the CSR's {algorithm} key is refused: this issuer {problem}"),
            ))
        };
        let certified = match algorithm {
            KeyAlgorithm::Rsa { bits } if bits < self.rsa_min_bits => {
                let problem = format!("requires at least {} bits", self.rsa_min_bits);
                return refuse(RefusalReason::WeakKey, &problem);
            }
            KeyAlgorithm::Rsa { bits } if bits > self.rsa_max_bits => {
                let problem = format!("accepts at most {} bits", self.rsa_max_bits);
                return refuse(RefusalReason::KeyTooLarge, &problem);
            }
            KeyAlgorithm::Rsa { .. } => true,
            KeyAlgorithm::EcdsaP256 => self.p256,
            KeyAlgorithm::EcdsaP384 => self.p384,
            KeyAlgorithm::EcdsaP521 => self.p521,
            KeyAlgorithm::Ed25519 => self.ed25519,
            KeyAlgorithm::MlDsa(set) => self.ml_dsa.contains(&set),
        };
        if !certified {
            return refuse(
                RefusalReason::UnsupportedKey,
                "does not certify this kind of key",
            );
        }
        let hash = digest::digest(&digest::SHA256, key.spki_der());
        if self.blocked.iter().any(|blocked| blocked == hash.as_ref()) {
            return refuse(
                RefusalReason::BlockedKey,
                "lists it as blocked; generate a new key",
            );
        }
        Ok(())
    }
}

impl ValidityRules {
    /// Limits backdating to a tenth of the duration, so that the window of a short-lived certificate is not mostly in
    /// the past.
    fn backdate_of(&self, duration: SignedDuration) -> SignedDuration {
        self.backdate.min(duration / 10)
    }

    fn duration(&self, wanted: Option<SignedDuration>) -> Result<SignedDuration, Refusal> {
        let duration = wanted.unwrap_or(self.default);
        if duration < self.min {
            return Err(Refusal::new(
                RefusalReason::DurationInvalid,
                format!(
                    "the request asks for a duration of {duration:#}; this issuer requires at least {:#}",
                    self.min
                ),
            ));
        }
        if duration > self.max {
            return Err(Refusal::new(
                RefusalReason::DurationTooLong,
                format!(
                    "the request asks for a duration of {duration:#}; this issuer allows at most {:#}",
                    self.max
                ),
            ));
        }
        // Certificates encode their validity in whole seconds.
        Ok(SignedDuration::from_secs(duration.as_secs()))
    }
}

/// X509-SVID, section 4.3: a leaf must set digitalSignature.
fn check_svid_usages(key_usage: FlagSet<KeyUsages>) -> Result<(), Refusal> {
    if key_usage.contains(KeyUsages::DigitalSignature) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalReason::UsageNotAllowed,
        "an X.509-SVID must have the usage \"digital signature\"; ask for it",
    ))
}

#[cfg(test)]
mod tests;
