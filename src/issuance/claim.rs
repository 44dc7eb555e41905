//! The names that a certificate claims, in every way that a verifier may read them.
//!
//! Profiles, grants and the name constraints of the chain all check these claims, so that a name cannot evade a check
//! by standing in another place of the certificate.

use std::{fmt, net::IpAddr};

use super::{name::Name, oid::Oid, san::GeneralName};

/// A name that a certificate claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    /// A host name. In a common name it may have wildcards that are not whole labels.
    Dns(&'a str),
    /// An IP address.
    Ip(IpAddr),
    /// A URI.
    Uri(&'a str),
    /// An e-mail address.
    Email(&'a str),
    /// A distinguished name.
    Directory(&'a Name),
    /// An `otherName` of this type.
    OtherName(&'a Oid),
    /// A `registeredID`.
    RegisteredId(&'a Oid),
    /// Another type, by its name in RFC 5280: `x400Address` or `ediPartyName`.
    Other(&'static str),
}

/// Place of a claim in the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The subject alternative name extension.
    AltName,
    /// A common name of the subject.
    CommonName,
    /// An `emailAddress` of the subject.
    EmailAddress,
}

/// A claim and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed<'a> {
    /// The name.
    pub claim: Claim<'a>,
    /// Its place.
    pub origin: Origin,
}

/// Whether a certificate is that of a certificate authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The certificate may sign certificates.
    Authority,
    /// The certificate may not sign certificates.
    Leaf,
}

impl Role {
    /// Returns the role of a certificate with this value of cA.
    #[must_use]
    pub const fn of(is_ca: bool) -> Self {
        if is_ca { Self::Authority } else { Self::Leaf }
    }
}

/// Returns the claims of the alternative names, then those of the subject.
///
/// RFC 5280, section 4.2.1.10: an `emailAddress` of a subject is an e-mail name. Verifiers that do not follow RFC 9525
/// read the common name of a leaf as a host. An IP address or a host with a dot in a common name is always a claim. A
/// host without a dot is a claim only if there is no dNSName.
pub fn claims<'a>(
    subject: &'a Name,
    names: &'a [GeneralName],
    role: Role,
) -> impl Iterator<Item = Claimed<'a>> {
    let has_dns = names.iter().any(|name| matches!(name, GeneralName::Dns(_)));
    let hosts = subject
        .common_names()
        .filter(move |_| role == Role::Leaf)
        .filter_map(move |text| host(text, has_dns))
        .map(|claim| Claimed {
            claim,
            origin: Origin::CommonName,
        });
    let emails = subject.email_addresses().map(|text| Claimed {
        claim: Claim::Email(text),
        origin: Origin::EmailAddress,
    });
    let names = names.iter().map(|name| Claimed {
        claim: Claim::from(name),
        origin: Origin::AltName,
    });
    names.chain(hosts).chain(emails)
}

/// Returns the claim that a verifier may read in a common name: an IP address, or a host with or without a trailing dot.
fn host(text: &str, has_dns: bool) -> Option<Claim<'_>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if let Ok(address) = text.parse() {
        return Some(Claim::Ip(address));
    }
    let is_host = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.*".contains(&b));
    (is_host && (text.contains('.') || !has_dns)).then_some(Claim::Dns(text))
}

impl<'a> From<&'a GeneralName> for Claim<'a> {
    fn from(name: &'a GeneralName) -> Self {
        match name {
            GeneralName::Dns(dns) => Self::Dns(dns),
            GeneralName::Ip(address) => Self::Ip(*address),
            GeneralName::Uri(uri) => Self::Uri(uri),
            GeneralName::Email(email) => Self::Email(email),
            GeneralName::OtherName(kind) => Self::OtherName(kind),
            GeneralName::Directory(name) => Self::Directory(name),
            GeneralName::RegisteredId(id) => Self::RegisteredId(id),
            GeneralName::Other(kind) => Self::Other(kind),
        }
    }
}

impl fmt::Display for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(dns) => write!(f, "DNS name {dns:?}"),
            Self::Ip(address) => write!(f, "IP address {address}"),
            Self::Uri(uri) => write!(f, "URI {uri:?}"),
            Self::Email(email) => write!(f, "e-mail address {email:?}"),
            Self::Directory(name) => write!(f, "directoryName {name}"),
            Self::OtherName(kind) => write!(f, "otherName of type {kind}"),
            Self::RegisteredId(id) => write!(f, "registeredID {id}"),
            Self::Other(kind) => write!(f, "subject alternative name of type {kind}"),
        }
    }
}

impl fmt::Display for Claimed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.claim.fmt(f)?;
        match self.origin {
            Origin::AltName => Ok(()),
            Origin::CommonName => f.write_str(" of the subject's common name"),
            Origin::EmailAddress => f.write_str(" of the subject"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims_of(common_name: &str, names: &[GeneralName], role: Role) -> Vec<String> {
        let subject = Name::common_name(common_name).unwrap();
        claims(&subject, names, role)
            .map(|claimed| claimed.to_string())
            .collect()
    }

    #[test]
    fn the_common_name_of_a_leaf_is_claimed_as_a_verifier_may_read_it() {
        let dns = [GeneralName::Dns("a.example".to_owned())];
        let uri = [GeneralName::Uri("spiffe://td/a".to_owned())];
        let name = |text: &str| format!("DNS name {text:?} of the subject's common name");
        let table: [(&str, &[GeneralName], Option<String>); 14] = [
            ("www.bank.example", &dns, Some(name("www.bank.example"))),
            ("www.bank.example.", &dns, Some(name("www.bank.example"))),
            ("w*.bank.example", &dns, Some(name("w*.bank.example"))),
            ("*.*.example", &dns, Some(name("*.*.example"))),
            ("_sip.a.example", &dns, Some(name("_sip.a.example"))),
            ("john.smith", &dns, Some(name("john.smith"))),
            ("vault", &dns, None),
            ("vault", &uri, Some(name("vault"))),
            ("*", &[], Some(name("*"))),
            ("Alice Example", &[], None),
            ("ceo@bank.example", &[], None),
            ("bücher.example", &[], None),
            (
                "10.0.0.1",
                &dns,
                Some("IP address 10.0.0.1 of the subject's common name".to_owned()),
            ),
            (
                "::ffff:10.0.0.1",
                &dns,
                Some("IP address ::ffff:10.0.0.1 of the subject's common name".to_owned()),
            ),
        ];
        for (text, names, expected) in table {
            let found = claims_of(text, names, Role::Leaf)
                .into_iter()
                .nth(names.len());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_common_name_of_an_authority_claims_no_host() {
        assert_eq!(
            claims_of("issuing.example", &[], Role::Authority),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_email_address_in_a_subject_is_claimed_by_leaves_and_authorities_alike() {
        let email = crate::issuance::name::attribute_type("emailAddress").unwrap();
        let subject = Name::of(&[(email, "ceo@bank.example".to_owned())], None).unwrap();
        for role in [Role::Leaf, Role::Authority] {
            let found: Vec<_> = claims(&subject, &[], role).collect();
            assert_eq!(
                found,
                [Claimed {
                    claim: Claim::Email("ceo@bank.example"),
                    origin: Origin::EmailAddress
                }]
            );
        }
    }
}
