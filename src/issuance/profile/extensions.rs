//! The extensions that a profile adds, and those that it copies from a CSR.

use std::str::FromStr;

use const_oid::db::rfc5280::ID_PE_AUTHORITY_INFO_ACCESS;

use super::ProfileError;
use crate::issuance::{
    csr::VerifiedCsr,
    oid::Oid,
    refusal::{Refusal, RefusalReason},
    san::is_uri,
};

/// Rules for the extensions other than those of identity and usages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionRules {
    /// Whether leaves carry a subject key identifier; CA certificates always do.
    pub subject_key_id: bool,
    /// Extensions that are copied from the CSR with their value and criticality.
    pub from_csr: Vec<Oid>,
    /// The policies of the certificates.
    pub policies: Vec<Policy>,
    /// Where the issuing certificate is published.
    pub ca_issuers: Vec<HttpUrl>,
    /// The OCSP responders.
    pub ocsp: Vec<HttpUrl>,
    /// Where the CRL is published.
    pub crl: Vec<HttpUrl>,
    /// Whether leaves say that no revocation information about them is available (RFC 9608).
    pub no_rev_avail: bool,
}

impl Default for ExtensionRules {
    fn default() -> Self {
        Self {
            subject_key_id: true,
            from_csr: Vec::new(),
            policies: Vec::new(),
            ca_issuers: Vec::new(),
            ocsp: Vec::new(),
            crl: Vec::new(),
            no_rev_avail: false,
        }
    }
}

/// A certificate policy (RFC 5280, section 4.2.1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its identifier.
    pub oid: Oid,
    /// Where its certification practice statement is published.
    pub cps: Option<HttpUrl>,
}

/// An absolute URL of scheme `http`. `https` is not allowed, because checking a certificate would then need a connection
/// that itself needs a checked certificate (RFC 5280, section 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Appends a path of letters, digits, dots and slashes to a URL without query and fragment.
    pub(in crate::issuance) fn below(&self, path: &str) -> Self {
        Self(format!("{}/{path}", self.0.trim_end_matches('/')))
    }
}

/// A text that is not an absolute `http` URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an http:// URL in ASCII (not https: see RFC 5280, section 8)")]
pub struct HttpUrlError(String);

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<Self, HttpUrlError> {
        if text.starts_with("http://") && is_uri(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(HttpUrlError(text.to_owned()))
        }
    }
}

/// id-ce: the extensions of X.509 itself, which only the issuer writes.
const ID_CE: Oid = Oid::new_unwrap("2.5.29");

impl ExtensionRules {
    /// Returns the extensions of the CSR that are not copied: those that `from_csr` does not list, including those that only
    /// the issuer writes.
    ///
    /// # Errors
    ///
    /// One of them is critical, so the requester wants no certificate without it. Verifiers must likewise refuse a
    /// certificate with a critical extension that they do not know (RFC 5280, section 4.2).
    pub(super) fn judge(&self, csr: &VerifiedCsr) -> Result<Vec<Oid>, Refusal> {
        let dropped = || {
            let others = csr.asked().others.iter();
            others.filter(|extension| !self.from_csr.contains(&extension.extn_id))
        };
        if let Some(critical) = dropped().find(|extension| extension.critical) {
            return Err(Refusal::new(
                RefusalReason::ExtensionNotAllowed,
                format!(
                    "the CSR asks for the critical extension {}, which this issuer does not copy; leave it out, or make it not critical",
                    critical.extn_id
                ),
            ));
        }
        Ok(dropped()
            .map(|extension| extension.extn_id.clone())
            .collect())
    }

    pub(super) fn check(&self) -> Result<(), ProfileError> {
        for (index, oid) in self.from_csr.iter().enumerate() {
            if oid.starts_with(&ID_CE) || *oid == ID_PE_AUTHORITY_INFO_ACCESS {
                return Err(ProfileError::new(
                    format!("extensions.fromCSR[{index}]"),
                    format!("{oid} is an extension that only the issuer writes"),
                ));
            }
            // RFC 5280, section 4.2: at most once.
            if self.from_csr.iter().take(index).any(|other| other == oid) {
                return Err(ProfileError::new(
                    format!("extensions.fromCSR[{index}]"),
                    format!("{oid} occurs twice"),
                ));
            }
        }
        for (index, policy) in self.policies.iter().enumerate() {
            // RFC 5280, section 4.2.1.4: MUST NOT appear more than once.
            if self
                .policies
                .iter()
                .take(index)
                .any(|p| p.oid == policy.oid)
            {
                return Err(ProfileError::new(
                    format!("extensions.policies[{index}]"),
                    format!("{} occurs twice", policy.oid),
                ));
            }
        }
        // RFC 9608, section 4.
        if self.no_rev_avail && !(self.crl.is_empty() && self.ocsp.is_empty()) {
            return Err(ProfileError::new(
                "extensions.noRevAvail",
                "cannot be combined with crlDistributionPoints or aia.ocsp: either there is revocation or there is none",
            ));
        }
        Ok(())
    }
}
