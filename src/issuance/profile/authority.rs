//! Which CA certificates a profile admits.

use der::asn1::{Ia5String, OctetString};
use x509_cert::ext::pkix::{
    NameConstraints,
    constraints::name::{GeneralSubtree, GeneralSubtrees},
    name::GeneralName,
};

use super::{ProfileError, Wanted, usages};
use crate::issuance::{
    csr::VerifiedCsr,
    name::Name,
    pattern::{IpNetwork, PatternError},
    refusal::{Refusal, RefusalReason},
    san::{DnsSyntax, is_dns, is_email},
};

/// CA certificates. The default gives none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaRules {
    /// Whether they are given.
    pub allow: bool,
    /// How many certificate authorities may stand below; `None` for any number.
    pub path_length: Option<u8>,
    /// What becomes of a request for one without a subject.
    pub empty_subject: EmptySubject,
    /// What they may name; where a type occurs, only that.
    pub permitted: Vec<Constraint>,
    /// What they may not name.
    pub excluded: Vec<Constraint>,
}

impl Default for CaRules {
    fn default() -> Self {
        Self {
            allow: false,
            path_length: Some(0),
            empty_subject: EmptySubject::Reject,
            permitted: Vec::new(),
            excluded: Vec::new(),
        }
    }
}

/// What becomes of a request for a CA certificate without a subject, which such a certificate must have (RFC 5280,
/// section 4.1.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptySubject {
    /// It is refused.
    #[default]
    Reject,
    /// The first of its DNS names becomes the common name; where it has none, it is refused.
    FirstDnsName,
}

/// One subtree of a name constraint (RFC 5280, section 4.2.1.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// A DNS name and every name below it.
    Dns(DnsSubtree),
    /// The addresses of a network.
    Ip(IpNetwork),
    /// A host of URIs, with a leading dot the hosts below.
    Uri(HostSubtree),
    /// A mailbox, a host of mailboxes, with a leading dot the hosts below.
    Email(EmailSubtree),
}

macro_rules! subtree {
    ($(#[$doc:meta])+ $name:ident, $error:path, $fits:expr) => {
        $(#[$doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(String);

        impl std::str::FromStr for $name {
            type Err = PatternError;

            fn from_str(text: &str) -> Result<Self, PatternError> {
                let fits: fn(&str) -> bool = $fits;
                match !text.contains('*') && fits(text) {
                    true => Ok(Self(text.to_owned())),
                    false => Err($error(text.to_owned())),
                }
            }
        }
    };
}

subtree! {
    /// A DNS name that stands for itself and every name below it.
    DnsSubtree, PatternError::Dns, |text| is_dns(text, DnsSyntax::Underscore)
}
subtree! {
    /// A host, or with a leading dot the hosts below it.
    HostSubtree, PatternError::Host, is_host
}
subtree! {
    /// A mailbox or a host.
    EmailSubtree, PatternError::Email, |text| is_email(text) || is_host(text)
}

fn is_host(text: &str) -> bool {
    is_dns(
        text.strip_prefix('.').unwrap_or(text),
        DnsSyntax::Underscore,
    )
}

/// What makes a certificate one of an authority.
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a> {
    rules: &'a CaRules,
}

impl Authority<'_> {
    /// How many certificate authorities may stand below; `None` for any number.
    #[must_use]
    pub const fn path_length(&self) -> Option<u8> {
        self.rules.path_length
    }

    /// The constraints it carries, if any.
    pub(in crate::issuance) fn name_constraints(&self) -> der::Result<Option<NameConstraints>> {
        if self.rules.permitted.is_empty() && self.rules.excluded.is_empty() {
            return Ok(None);
        }
        Ok(Some(NameConstraints {
            permitted_subtrees: subtrees(&self.rules.permitted)?,
            excluded_subtrees: subtrees(&self.rules.excluded)?,
        }))
    }
}

fn subtrees(constraints: &[Constraint]) -> der::Result<Option<GeneralSubtrees>> {
    let subtrees = constraints
        .iter()
        .map(|constraint| {
            let base = match constraint {
                Constraint::Dns(DnsSubtree(dns)) => GeneralName::DnsName(Ia5String::new(dns)?),
                Constraint::Ip(network) => {
                    GeneralName::IpAddress(OctetString::new(network.octets())?)
                }
                Constraint::Uri(HostSubtree(host)) => {
                    GeneralName::UniformResourceIdentifier(Ia5String::new(host)?)
                }
                Constraint::Email(EmailSubtree(email)) => {
                    GeneralName::Rfc822Name(Ia5String::new(email)?)
                }
            };
            Ok(GeneralSubtree {
                base,
                minimum: 0,
                maximum: None,
            })
        })
        .collect::<der::Result<Vec<_>>>()?;
    Ok((!subtrees.is_empty()).then_some(subtrees))
}

impl CaRules {
    pub(super) fn check(&self, allow_ca: bool, spiffe: bool) -> Result<(), ProfileError> {
        if self.allow && !allow_ca {
            return Err(ProfileError::new(
                "ca.allow",
                "the token's grant gives no CA certificates; the operator may set limits.allowCA there",
            ));
        }
        if self.allow && spiffe {
            return Err(ProfileError::new(
                "ca.allow",
                "goes not with sans.spiffe: Strict, which is for workloads",
            ));
        }
        Ok(())
    }

    /// Judges whether the request is for a CA certificate, and gets one.
    pub(super) fn judge<'a>(
        &'a self,
        csr: &VerifiedCsr,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Authority<'a>>, Refusal> {
        let asked = csr.asked();
        if asked.name_constraints {
            // RFC 5280, section 4.2.1.10: only in CA certificates, and there they are the profile's.
            return Err(Refusal::new(
                RefusalReason::ExtensionNotAllowed,
                "the CSR asks for nameConstraints, which only the issuer's profile sets; leave them out",
            ));
        }
        if asked.is_ca.is_some_and(|is_ca| is_ca != wanted.is_ca) {
            return Err(usages::mismatch("basicConstraints"));
        }
        if !wanted.is_ca {
            return Ok(None);
        }
        if !self.allow {
            return Err(Refusal::new(
                RefusalReason::CaNotAllowed,
                "isCA is true, but this issuer gives leaf certificates only",
            ));
        }
        if asked.path_length.is_some() && asked.path_length != self.path_length {
            return Err(Refusal::new(
                RefusalReason::CaPathLength,
                "the CSR asks for another path length than the issuer's profile sets; leave it out",
            ));
        }
        Ok(Some(Authority { rules: self }))
    }

    /// The subject of a CA certificate, given what becomes of the CSR's.
    pub(super) fn subject(&self, csr: &VerifiedCsr, subject: Name) -> Result<Name, Refusal> {
        if !subject.is_empty() {
            return Ok(subject);
        }
        let refusal = |problem: &str| Refusal::new(RefusalReason::BadSubject, problem);
        let first = match self.empty_subject {
            EmptySubject::Reject => None,
            EmptySubject::FirstDnsName => {
                csr.subject_alt_names().and_then(|names| names.first_dns())
            }
        };
        let first = first.ok_or_else(|| {
            refusal("a CA certificate must have a subject (RFC 5280, section 4.1.2.6); give one")
        })?;
        let subject = Name::common_name(first).map_err(|error| refusal(&error.to_string()))?;
        subject.check().map_err(|error| {
            Refusal::new(
                error.reason(),
                format!(
                    "the first DNS name cannot be the CA certificate's subject: {error}; give one"
                ),
            )
        })?;
        Ok(subject)
    }
}
