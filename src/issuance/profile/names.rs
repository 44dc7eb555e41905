//! Which subject alternative names a profile admits.

use std::fmt;

use super::{
    AllowedNames, DeniedNames, Limits,
    rules::{NameRules, Rules},
};
use crate::issuance::{
    claim::{Claim, Claimed, Role, claims},
    csr::{VerifiedCsr, chain},
    name::Name,
    pattern::Variables,
    refusal::{Refusal, RefusalReason},
    san::{GeneralName, SanError, SubjectAltNames, mapped},
    spiffe,
};

/// Topic of a decision about names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Topic<'a> {
    Count(usize),
    Syntax,
    Name(Claimed<'a>),
    Svid,
}

/// Rules and limits that names are judged by, for one request.
pub(super) struct Judge<'a> {
    rules: &'a NameRules,
    limits: &'a Limits,
    variables: Variables<'a>,
    /// The lists of the profile and of the grant, with their variables replaced for this request.
    allowed: AllowedNames,
    denied: DeniedNames,
    granted: Option<AllowedNames>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(rules: &'a Rules, limits: &'a Limits, variables: Variables<'a>) -> Self {
        Self {
            rules: &rules.names,
            limits,
            variables,
            allowed: rules.names.allowed.bind(variables),
            denied: rules.names.denied.bind(variables),
            granted: limits.names.as_ref().map(|names| names.bind(variables)),
        }
    }

    /// Judges every name that the certificate would claim.
    pub(super) fn check(
        &self,
        csr: &VerifiedCsr,
        subject: &Name,
        role: Role,
    ) -> Result<(), Refusal> {
        self.decisions(csr, subject, role)
            .try_for_each(|(_, decision)| decision)
    }

    /// Returns every decision with its topic, in order. The first refusal is the one that counts.
    pub(super) fn decisions<'n>(
        &'n self,
        csr: &'n VerifiedCsr,
        subject: &'n Name,
        role: Role,
    ) -> impl Iterator<Item = (Topic<'n>, Result<(), Refusal>)> {
        let given = csr.subject_alt_names();
        let names = given.map_or(&[][..], SubjectAltNames::names);
        let whole = given.into_iter().flat_map(|names| {
            let syntax = names
                .check(self.rules.dns_syntax)
                .map_err(|error| Refusal::new(RefusalReason::BadSan, chain(&error)));
            let count = names.names().len();
            [
                (Topic::Count(count), self.count(count)),
                (Topic::Syntax, syntax),
            ]
        });
        let each =
            claims(subject, names, role).map(|claimed| (Topic::Name(claimed), self.judge(claimed)));
        let svid = self.rules.spiffe.then(|| (Topic::Svid, self.svid(names)));
        whole.chain(each).chain(svid)
    }

    fn count(&self, count: usize) -> Result<(), Refusal> {
        if count <= self.rules.max {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalReason::TooManySans,
            format!(
                "the CSR has {count} subject alternative names, but this issuer allows at most {}",
                self.rules.max
            ),
        ))
    }

    fn judge(&self, claimed: Claimed<'_>) -> Result<(), Refusal> {
        let Claimed { claim, .. } = claimed;
        // The syntax check refuses an IPv4 address mapped into IPv6 only among the SANs; it does not look at common
        // names.
        if let Claim::Ip(address) = claim
            && let Some(address) = mapped(address)
        {
            return Err(Refusal::new(
                RefusalReason::BadSan,
                format!("{claimed}: {}", SanError::Mapped(address)),
            ));
        }
        let wildcard = matches!(claim, Claim::Dns(dns) if dns.contains('*'));
        if wildcard && !self.rules.wildcards {
            return Err(not_allowed(
                "this issuer",
                claimed,
                "it allows no wildcards",
            ));
        }
        if self.denied.touch(claim, self.variables) {
            return Err(not_allowed("this issuer", claimed, "it denies this name"));
        }
        self.within(&self.allowed, &self.rules.allowed, "this issuer", claimed)?;
        match (&self.granted, &self.limits.names) {
            (Some(granted), Some(written)) => {
                self.within(granted, written, "the token's grant", claimed)
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    fn within(
        &self,
        allowed: &AllowedNames,
        written: &AllowedNames,
        whose: &str,
        claimed: Claimed<'_>,
    ) -> Result<(), Refusal> {
        if allowed.admits(claimed.claim, self.variables) {
            return Ok(());
        }
        let unknown = self.variables.namespace.is_none();
        if unknown && written.names_namespace_for(claimed.claim) {
            return Err(Refusal::new(
                RefusalReason::NamespaceUnknown,
                format!(
                    "whether {whose} allows the {claimed} depends on a namespace, and the request belongs to none; have it made by a service account"
                ),
            ));
        }
        Err(not_allowed(
            whose,
            claimed,
            &format!("it allows {}", allowed.of_type(claimed.claim)),
        ))
    }

    /// Checks that the only URI is a SPIFFE ID (X509-SVID, section 2).
    fn svid(&self, names: &[GeneralName]) -> Result<(), Refusal> {
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::Uri(uri) => Some(uri),
            GeneralName::Dns(_)
            | GeneralName::Ip(_)
            | GeneralName::Email(_)
            | GeneralName::OtherName(_)
            | GeneralName::Directory(_)
            | GeneralName::RegisteredId(_)
            | GeneralName::Other(_) => None,
        });
        match (uris.next(), uris.next()) {
            (Some(uri), None) if spiffe::is_workload(uri) => Ok(()),
            (Some(uri), None) => Err(Refusal::new(
                RefusalReason::BadSpiffeId,
                format!("{uri:?} is not the SPIFFE ID of a workload: spiffe://trust-domain/path"),
            )),
            (None, _) | (Some(_), Some(_)) => Err(Refusal::new(
                RefusalReason::BadSpiffeId,
                "this issuer requires exactly one URI, a SPIFFE ID",
            )),
        }
    }
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(1) => f.write_str("one name"),
            Self::Count(count) => write!(f, "{count} names"),
            Self::Syntax => f.write_str("the syntax of every name"),
            Self::Name(claimed) => claimed.fmt(f),
            Self::Svid => f.write_str("exactly one SPIFFE ID"),
        }
    }
}

/// Returns the refusal of a name, which says what is allowed instead.
fn not_allowed(whose: &str, claimed: Claimed<'_>, allowed: &str) -> Refusal {
    Refusal::new(
        RefusalReason::SanNotAllowed,
        format!(
            "{whose} does not allow the {claimed}: {allowed}; leave it out, or ask for it to be allowed"
        ),
    )
}
