//! Which subject alternative names a profile admits.

use std::{fmt, net::IpAddr};

use super::{
    Limits,
    rules::{NameRules, Rules},
};
use crate::issuance::{
    csr::{VerifiedCsr, chain},
    name::Name,
    pattern::{DnsPattern, IpNetwork, Variables},
    refusal::{Refusal, RefusalReason},
    san::{DnsSyntax, GeneralName, SubjectAltNames, is_dns},
    spiffe,
};

/// What a decision about names is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Topic<'a> {
    Count(usize),
    Syntax,
    Name(&'a GeneralName),
    Svid,
    CommonName(&'a str),
}

/// What names are judged by.
pub(super) struct Judge<'a> {
    pub(super) rules: &'a NameRules,
    pub(super) limits: &'a Limits,
    pub(super) variables: Variables<'a>,
}

impl<'a> Judge<'a> {
    pub(super) const fn new(
        rules: &'a Rules,
        limits: &'a Limits,
        variables: Variables<'a>,
    ) -> Self {
        Self {
            rules: &rules.names,
            limits,
            variables,
        }
    }

    /// Judges every name, those of the subject that verifiers read as names of hosts included.
    pub(super) fn check(&self, csr: &VerifiedCsr, subject: &Name) -> Result<(), Refusal> {
        self.decisions(csr, subject)
            .try_for_each(|(_, decision)| decision)
    }

    /// Every decision with what it is about, in order; the first refusal is the one that counts.
    pub(super) fn decisions<'n>(
        &'n self,
        csr: &'n VerifiedCsr,
        subject: &'n Name,
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
        let each = names
            .iter()
            .map(|name| (Topic::Name(name), self.name(name)));
        let svid = self.rules.spiffe.then(|| (Topic::Svid, self.svid(names)));
        // A verifier without regard for RFC 9525 takes a common name for a host.
        let hosts = subject.common_names().filter_map(|text| {
            let decision = if let Ok(address) = text.parse() {
                self.ip(address)
            } else if text.contains('.') && is_dns(text, DnsSyntax::Underscore) {
                self.dns(text)
            } else {
                return None;
            };
            Some((Topic::CommonName(text), decision))
        });
        whole.chain(each).chain(svid).chain(hosts)
    }

    fn count(&self, count: usize) -> Result<(), Refusal> {
        if count <= self.rules.max {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalReason::TooManySans,
            format!(
                "the CSR has {count} subject alternative names, this issuer gives at most {}",
                self.rules.max
            ),
        ))
    }

    fn name(&self, name: &GeneralName) -> Result<(), Refusal> {
        let allowed = &self.rules.allowed;
        match name {
            GeneralName::Dns(dns) => self.dns(dns),
            GeneralName::Ip(address) => self.ip(*address),
            GeneralName::Uri(uri) => permit(
                allowed.uri.as_ref().is_none_or(|patterns| {
                    patterns
                        .iter()
                        .any(|pattern| pattern.covers(uri, self.variables))
                }),
                name,
            ),
            GeneralName::Email(email) => permit(
                allowed.email.as_ref().is_none_or(|patterns| {
                    patterns
                        .iter()
                        .any(|pattern| pattern.covers(email, self.variables))
                }),
                name,
            ),
            GeneralName::OtherName(kind) => permit(allowed.other_names.contains(kind), name),
            // Profiles have no list for these: a verifier that knows what to do with one is yet to be met.
            GeneralName::Directory(_) | GeneralName::RegisteredId(_) | GeneralName::Other(_) => {
                permit(false, name)
            }
        }
    }

    fn dns(&self, dns: &str) -> Result<(), Refusal> {
        if dns.starts_with("*.") && !self.rules.wildcards {
            return permit(false, &format_args!("wildcard {dns:?}"));
        }
        let covered = |patterns: Option<&[DnsPattern]>| {
            patterns.is_none_or(|patterns| {
                patterns
                    .iter()
                    .any(|pattern| pattern.covers(dns, self.variables))
            })
        };
        let denied = self
            .rules
            .denied
            .dns
            .iter()
            .any(|pattern| pattern.touches(dns, self.variables));
        permit(
            covered(self.rules.allowed.dns.as_deref())
                && covered(self.limits.allowed_dns.as_deref())
                && !denied,
            &format_args!("DNS name {dns:?}"),
        )
    }

    fn ip(&self, address: IpAddr) -> Result<(), Refusal> {
        let within =
            |networks: &[IpNetwork]| networks.iter().any(|network| network.contains(address));
        let allowed = self.rules.allowed.ip.as_deref().is_none_or(within);
        permit(
            allowed && !within(&self.rules.denied.ip),
            &format_args!("IP address {address}"),
        )
    }

    /// X509-SVID, section 2: exactly one URI, which is the SPIFFE ID.
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
                "this issuer gives certificates with exactly one URI, a SPIFFE ID",
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
            Self::Name(name) => name.fmt(f),
            Self::Svid => f.write_str("exactly one SPIFFE ID"),
            Self::CommonName(text) => write!(f, "common name {text:?}, which reads as a host"),
        }
    }
}

fn permit(permitted: bool, name: &impl fmt::Display) -> Result<(), Refusal> {
    if permitted {
        Ok(())
    } else {
        Err(Refusal::new(
            RefusalReason::SanNotAllowed,
            format!("this issuer does not give the {name}; ask whoever keeps it, or leave it out"),
        ))
    }
}
