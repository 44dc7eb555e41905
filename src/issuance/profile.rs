//! What an issuer may issue: the profile, and the parameters of one leaf that it admits.

use const_oid::ObjectIdentifier;
use der::flagset::FlagSet;
use jiff::SignedDuration;
use x509_cert::ext::pkix::KeyUsages;

use super::{
    csr::VerifiedCsr,
    refusal::{Refusal, RefusalReason},
    san::{GeneralName, SubjectAltNames},
    usage::{Usage, Usages},
};

/// What the Kubernetes object asks for, beside its CSR.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// cert-manager's words, as in `spec.usages`.
    pub usages: &'a [String],
    /// `spec.isCA`.
    pub is_ca: bool,
    /// Length of the validity; `None` for the profile's default.
    pub duration: Option<SignedDuration>,
}

/// The rules of an issuer. The default is safe: leaf certificates only, for digital signature, key
/// encipherment, TLS servers and TLS clients, for at most a year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    default_duration: SignedDuration,
    min_duration: SignedDuration,
    max_duration: SignedDuration,
    backdate: SignedDuration,
    usages: Vec<Usage>,
    max_names: usize,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            default_duration: SignedDuration::from_hours(2160),
            min_duration: SignedDuration::from_mins(5),
            max_duration: SignedDuration::from_hours(8760),
            backdate: SignedDuration::from_mins(1),
            usages: vec![
                Usage::DIGITAL_SIGNATURE,
                Usage::KEY_ENCIPHERMENT,
                Usage::SERVER_AUTH,
                Usage::CLIENT_AUTH,
            ],
            max_names: 100,
        }
    }
}

/// The contents of one leaf certificate that a profile admits, bound to its CSR.
#[derive(Clone, Debug)]
pub struct LeafParams<'csr> {
    csr: &'csr VerifiedCsr,
    key_usage: FlagSet<KeyUsages>,
    extended_key_usage: Vec<ObjectIdentifier>,
    duration: SignedDuration,
    backdate: SignedDuration,
}

impl LeafParams<'_> {
    pub(super) const fn csr(&self) -> &VerifiedCsr {
        self.csr
    }

    /// The bits of keyUsage, after what the key cannot do was dropped; empty: no extension.
    #[must_use]
    pub const fn key_usage(&self) -> FlagSet<KeyUsages> {
        self.key_usage
    }

    /// The purposes of extKeyUsage; empty: no extension.
    #[must_use]
    pub fn extended_key_usage(&self) -> &[ObjectIdentifier] {
        &self.extended_key_usage
    }

    /// Length of the validity, in whole seconds.
    #[must_use]
    pub const fn duration(&self) -> SignedDuration {
        self.duration
    }

    /// By how much the window of validity is moved into the past.
    #[must_use]
    pub const fn backdate(&self) -> SignedDuration {
        self.backdate
    }
}

impl Profile {
    /// Judges a request: usages, CA, names, duration, and that the CSR asks for nothing else than the
    /// request does.
    ///
    /// # Errors
    ///
    /// A refusal with the first rule broken.
    pub fn admit<'csr>(
        &self,
        csr: &'csr VerifiedCsr,
        wanted: &Wanted<'_>,
    ) -> Result<LeafParams<'csr>, Refusal> {
        if wanted.is_ca {
            return Err(Refusal::new(
                RefusalReason::CaNotAllowed,
                "isCA is true, but this issuer gives leaf certificates only",
            ));
        }
        let asked = self.usages(wanted.usages)?;
        check_match(csr, &asked)?;
        check_identity(csr)?;
        if let Some(names) = csr.subject_alt_names() {
            self.check_names(names)?;
        }
        let duration = self.duration(wanted.duration)?;
        Ok(LeafParams {
            csr,
            key_usage: normalise(csr, asked.key)?,
            extended_key_usage: asked.extended,
            duration,
            // A tenth at most, so that a short certificate is not mostly in the past.
            backdate: self.backdate.min(duration / 10),
        })
    }

    fn usages(&self, words: &[String]) -> Result<Usages, Refusal> {
        if words.is_empty() {
            // cert-manager's default for an empty list.
            return Ok([Usage::DIGITAL_SIGNATURE, Usage::KEY_ENCIPHERMENT]
                .into_iter()
                .collect());
        }
        words
            .iter()
            .map(|word| match Usage::parse(word) {
                Some(usage) if self.usages.contains(&usage) => Ok(usage),
                Some(_) => Err(format!("usage {word:?} is not given by this issuer")),
                None => Err(format!("usage {word:?} is unknown")),
            })
            .collect::<Result<_, _>>()
            .map_err(|problem| {
                let allowed: Vec<_> = self
                    .usages
                    .iter()
                    .filter_map(|usage| usage.word())
                    .collect();
                Refusal::new(
                    RefusalReason::UsageNotAllowed,
                    format!("{problem}; ask for some of: {}", allowed.join(", ")),
                )
            })
    }

    fn check_names(&self, names: &SubjectAltNames) -> Result<(), Refusal> {
        let count = names.names().len();
        if count > self.max_names {
            return Err(Refusal::new(
                RefusalReason::TooManySans,
                format!(
                    "the CSR has {count} subject alternative names, this issuer gives at most {}",
                    self.max_names
                ),
            ));
        }
        names
            .check()
            .map_err(|error| Refusal::new(RefusalReason::BadSan, error.to_string()))?;
        names.names().iter().try_for_each(|name| match name {
            GeneralName::Other(kind) => Err(Refusal::new(
                RefusalReason::SanNotAllowed,
                format!("the CSR has a subject alternative name of type {kind}; this issuer gives DNS names, IP addresses, URIs and e-mail addresses"),
            )),
            GeneralName::Dns(_) | GeneralName::Ip(_) | GeneralName::Uri(_) | GeneralName::Email(_) => Ok(()),
        })
    }

    fn duration(&self, wanted: Option<SignedDuration>) -> Result<SignedDuration, Refusal> {
        let duration = wanted.unwrap_or(self.default_duration);
        if duration < self.min_duration {
            return Err(Refusal::new(
                RefusalReason::DurationInvalid,
                format!(
                    "a duration of {duration:#} is asked for, the least is {:#}",
                    self.min_duration
                ),
            ));
        }
        if duration > self.max_duration {
            return Err(Refusal::new(
                RefusalReason::DurationTooLong,
                format!(
                    "a duration of {duration:#} is asked for, the most is {:#}",
                    self.max_duration
                ),
            ));
        }
        // Certificates count in whole seconds.
        Ok(SignedDuration::from_secs(duration.as_secs()))
    }
}

/// What the CSR asks for must be what the request asks for, compared as sets. What only the CSR names
/// nobody has approved: approvers look at the request.
fn check_match(csr: &VerifiedCsr, wanted: &Usages) -> Result<(), Refusal> {
    let asked = csr.asked();
    let mismatch = |what: &str| {
        Refusal::new(
            RefusalReason::CsrRequestMismatch,
            format!(
                "the CSR's {what} differs from what the request asks for; leave it out of the CSR or make both the same"
            ),
        )
    };
    if asked.is_ca == Some(true) {
        return Err(mismatch("basicConstraints (CA:TRUE)"));
    }
    if asked.name_constraints {
        // RFC 5280, section 4.2.1.10: only in CA certificates.
        return Err(Refusal::new(
            RefusalReason::ExtensionNotAllowed,
            "the CSR asks for nameConstraints, which only CA certificates may carry",
        ));
    }
    if asked.key_usage.is_some_and(|bits| bits != wanted.key) {
        return Err(mismatch("keyUsage"));
    }
    let Some(purposes) = &asked.extended_key_usage else {
        return Ok(());
    };
    if let Some(unknown) = purposes
        .iter()
        .find(|&&oid| Usage::Extended(oid).word().is_none())
    {
        return Err(Refusal::new(
            RefusalReason::UsageNotAllowed,
            format!(
                "the CSR asks for extended key usage {unknown}, which this issuer does not give"
            ),
        ));
    }
    let same = purposes.iter().all(|oid| wanted.extended.contains(oid))
        && wanted.extended.iter().all(|oid| purposes.contains(oid));
    if same {
        Ok(())
    } else {
        Err(mismatch("extKeyUsage"))
    }
}

/// RFC 5280, section 4.1.2.6: where the subject is empty, the names must stand in the SAN.
fn check_identity(csr: &VerifiedCsr) -> Result<(), Refusal> {
    csr.subject().check().map_err(|error| {
        Refusal::new(
            error.reason(),
            format!("the CSR's subject is refused: {error}"),
        )
    })?;
    if csr.subject().is_empty() && csr.subject_alt_names().is_none() {
        return Err(Refusal::new(
            RefusalReason::NoIdentity,
            "the CSR has neither a subject nor subject alternative names; give one",
        ));
    }
    Ok(())
}

/// Drops the usages that the key cannot have.
fn normalise(csr: &VerifiedCsr, wanted: FlagSet<KeyUsages>) -> Result<FlagSet<KeyUsages>, Refusal> {
    let key = csr.public_key().algorithm();
    if key.can_encipher() {
        return Ok(wanted);
    }
    let kept = wanted - (KeyUsages::KeyEncipherment | KeyUsages::DataEncipherment);
    if kept.is_empty() && !wanted.is_empty() {
        return Err(Refusal::new(
            RefusalReason::UsageNotAllowed,
            format!(
                "an {key} key cannot encipher, and no other usage is asked for; ask for digital signature"
            ),
        ));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
