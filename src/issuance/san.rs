//! Subject alternative names (RFC 5280, section 4.2.1.6): the raw value and the syntax of each name.

use std::net::{IpAddr, Ipv6Addr};

use der::{Decode as _, Encode as _, Reader as _, Tag, TagNumber, Tagged as _, asn1::AnyRef};

use super::{
    name::{Name, NameError},
    oid::Oid,
    raw::whole,
};

mod other_name;

/// Reason why a SAN extension is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SanError {
    /// Not a SEQUENCE OF GeneralName.
    #[error("the subject alternative name extension is not well encoded")]
    Encoding(#[source] der::Error),
    /// An extension without names; RFC 5280 requires at least one.
    #[error("the subject alternative name extension has no names; leave it out")]
    Empty,
    /// A name with octets outside ASCII, an IP address that has neither 4 nor 16 octets, or a malformed OID.
    #[error("a subject alternative name of type {0} is not well encoded")]
    Value(&'static str),
    /// A DNS name that breaks the preferred name syntax.
    #[error(
        "{0:?} is not a DNS name: use letters, digits and hyphens in labels of 1 to 63 characters, 253 in all, without a trailing dot; a wildcard may only be the whole left-most label"
    )]
    Dns(String),
    /// A URI that is relative or malformed.
    #[error("{0:?} is not an absolute URI in ASCII (RFC 3986)")]
    Uri(String),
    /// An e-mail address that is not local-part@domain.
    #[error("{0:?} is not an e-mail address of the form local-part@domain (RFC 5321)")]
    Email(String),
    /// An IPv6 address that stands for an IPv4 address.
    #[error(
        "{0} is an IPv4 address mapped into IPv6, which some verifiers read as IPv4 and others as IPv6; give the IPv4 address itself"
    )]
    Mapped(Ipv6Addr),
    /// An `otherName` whose value is not the string that its type requires.
    #[error(
        "a subject alternative name of type {name} must be a {tag} of at least one character, without control characters"
    )]
    OtherName {
        /// The type, for people.
        name: &'static str,
        /// The string type that it requires.
        tag: Tag,
    },
    /// A directory name without attributes; RFC 5280 forbids empty names.
    #[error("a subject alternative name of type directoryName is empty; leave it out")]
    EmptyDirectory,
    /// A directory name that breaks the rules for subjects.
    #[error("the subject alternative name of type directoryName {name} is malformed")]
    Directory {
        /// The name.
        name: String,
        /// The rule that it breaks.
        source: NameError,
    },
}

/// One general name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeneralName {
    /// `dNSName`.
    Dns(String),
    /// `iPAddress`.
    Ip(IpAddr),
    /// `uniformResourceIdentifier`.
    Uri(String),
    /// `rfc822Name`.
    Email(String),
    /// `otherName` of this type.
    OtherName(Oid),
    /// `directoryName`.
    Directory(Name),
    /// `registeredID`.
    RegisteredId(Oid),
    /// Another type, by its name in RFC 5280: `x400Address` or `ediPartyName`.
    Other(&'static str),
}

/// Set of characters that the labels of a DNS name may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsSyntax {
    /// Letters, digits and hyphens.
    #[default]
    Strict,
    /// Letters, digits, hyphens and underscores, as in some service names.
    Underscore,
}

/// The names of a SAN extension, together with their original bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectAltNames {
    der: Vec<u8>,
    names: Vec<GeneralName>,
}

impl SubjectAltNames {
    /// Parses the value of the extension. [`check`](Self::check) checks the syntax of the names.
    ///
    /// # Errors
    ///
    /// Fails if the value is malformed or empty.
    pub fn parse(der: &[u8]) -> Result<Self, SanError> {
        let elements = whole(der, |reader| {
            reader.sequence(|reader| {
                let mut elements = Vec::new();
                while !reader.is_finished() {
                    elements.push(AnyRef::decode(reader)?);
                }
                Ok::<_, der::Error>(elements)
            })
        })
        .map_err(SanError::Encoding)?;
        if elements.is_empty() {
            return Err(SanError::Empty);
        }
        let names = elements
            .into_iter()
            .map(general_name)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            der: der.to_vec(),
            names,
        })
    }

    /// Builds an extension of URIs, followed by DNS names. [`check`](Self::check) checks the syntax of the names.
    ///
    /// # Errors
    ///
    /// Fails if there is no name, or if a name is not ASCII.
    pub fn of(uris: &[String], dns_names: &[String]) -> Result<Self, SanError> {
        let mut content = Vec::new();
        let names = uris
            .iter()
            .map(|uri| (6, uri))
            .chain(dns_names.iter().map(|dns| (2, dns)));
        for (number, text) in names {
            let tag = Tag::ContextSpecific {
                constructed: false,
                number: TagNumber(number),
            };
            AnyRef::new(tag, text.as_bytes())
                .and_then(|name| name.encode_to_vec(&mut content))
                .map_err(SanError::Encoding)?;
        }
        let der = AnyRef::new(Tag::Sequence, &content).and_then(|names| names.to_der());
        Self::parse(&der.map_err(SanError::Encoding)?)
    }

    /// Returns the value of the extension as it was given.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the names in order.
    #[must_use]
    pub fn names(&self) -> &[GeneralName] {
        &self.names
    }

    /// Returns the first DNS name.
    pub(super) fn first_dns(&self) -> Option<&str> {
        self.names.iter().find_map(|name| match name {
            GeneralName::Dns(dns) => Some(dns.as_str()),
            GeneralName::Ip(_)
            | GeneralName::Uri(_)
            | GeneralName::Email(_)
            | GeneralName::OtherName(_)
            | GeneralName::Directory(_)
            | GeneralName::RegisteredId(_)
            | GeneralName::Other(_) => None,
        })
    }

    /// Checks the syntax of every name.
    ///
    /// # Errors
    ///
    /// Returns the first malformed name.
    pub fn check(&self, syntax: DnsSyntax) -> Result<(), SanError> {
        self.names.iter().try_for_each(|name| match name {
            GeneralName::Dns(dns) if !is_dns(dns, syntax) => Err(SanError::Dns(dns.clone())),
            GeneralName::Ip(address) => {
                mapped(*address).map_or(Ok(()), |it| Err(SanError::Mapped(it)))
            }
            GeneralName::Uri(uri) if !is_uri(uri) => Err(SanError::Uri(uri.clone())),
            GeneralName::Uri(uri) => literal(uri)
                .and_then(mapped)
                .map_or(Ok(()), |it| Err(SanError::Mapped(it))),
            GeneralName::Email(email) if !is_email(email) => Err(SanError::Email(email.clone())),
            GeneralName::Directory(name) if name.is_empty() => Err(SanError::EmptyDirectory),
            GeneralName::Directory(name) => name.check().map_err(|source| SanError::Directory {
                name: name.to_string(),
                source,
            }),
            GeneralName::Dns(_)
            | GeneralName::Email(_)
            | GeneralName::OtherName(_)
            | GeneralName::RegisteredId(_)
            | GeneralName::Other(_) => Ok(()),
        })
    }
}

fn general_name(element: AnyRef<'_>) -> Result<GeneralName, SanError> {
    let unknown = || SanError::Encoding(element.tag().unexpected_error(None).into());
    if !element.tag().is_context_specific() {
        return Err(unknown());
    }
    let (constructed, name) = match element.tag().number() {
        TagNumber(0) => (
            true,
            GeneralName::OtherName(other_name::read(element.value())?),
        ),
        TagNumber(1) => (
            false,
            GeneralName::Email(ascii("rfc822Name", element.value())?),
        ),
        TagNumber(2) => (false, GeneralName::Dns(ascii("dNSName", element.value())?)),
        TagNumber(3) => (true, GeneralName::Other("x400Address")),
        // A CHOICE keeps its own tag within that of the field (X.680, section 31.2.7).
        TagNumber(4) => (
            true,
            GeneralName::Directory(Name::parse(element.value()).map_err(SanError::Encoding)?),
        ),
        TagNumber(5) => (true, GeneralName::Other("ediPartyName")),
        TagNumber(6) => (
            false,
            GeneralName::Uri(ascii("uniformResourceIdentifier", element.value())?),
        ),
        TagNumber(7) => (false, GeneralName::Ip(ip(element.value())?)),
        TagNumber(8) => (
            false,
            GeneralName::RegisteredId(registered_id(element.value())?),
        ),
        TagNumber(_) => return Err(unknown()),
    };
    if element.tag().is_constructed() == constructed {
        Ok(name)
    } else {
        Err(unknown())
    }
}

/// Decodes the content of an OBJECT IDENTIFIER whose tag is replaced by that of the field.
fn registered_id(content: &[u8]) -> Result<Oid, SanError> {
    let error = SanError::Value("registeredID");
    Oid::from_bytes(content).ok_or(error)
}

fn ascii(kind: &'static str, octets: &[u8]) -> Result<String, SanError> {
    match std::str::from_utf8(octets) {
        Ok(text) if text.is_ascii() => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(SanError::Value(kind)),
    }
}

fn ip(octets: &[u8]) -> Result<IpAddr, SanError> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .map_err(|_| SanError::Value("iPAddress"))
}

/// Returns the address if it is an IPv4 address mapped into IPv6 (`::ffff:0:0/96`, RFC 4291, section 2.5.5.2). Go and
/// others read it as the IPv4 address. OpenSSL reads it as an IPv6 address, to which constraints on IPv4 do not apply.
/// Such an address is therefore never certified, whatever a profile allows.
pub(super) fn mapped(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => address.to_ipv4_mapped().map(|_| address),
        IpAddr::V4(_) => None,
    }
}

/// Returns the host of a URI if it is an IP address in square brackets.
fn literal(uri: &str) -> Option<IpAddr> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let (address, _) = host.strip_prefix('[')?.split_once(']')?;
    address.parse().ok()
}

/// Returns whether the name has the preferred name syntax (RFC 1034, section 3.5 as changed by RFC 1123, section 2.1),
/// with the wildcard of RFC 9525, section 6.3. The last label must not be all digits, because verifiers could read the
/// name as an IPv4 address.
pub(super) fn is_dns(name: &str, syntax: DnsSyntax) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    name.len() <= 253
        && host.split('.').all(|label| is_label(label, syntax))
        && host
            .rsplit('.')
            .next()
            .is_some_and(|last| !last.bytes().all(|b| b.is_ascii_digit()))
}

/// Returns whether the text is one or more labels of a DNS name; any label may be all digits.
pub(super) fn has_dns_labels(text: &str) -> bool {
    text.split('.')
        .all(|label| is_label(label, DnsSyntax::Underscore))
}

fn is_label(label: &str, syntax: DnsSyntax) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| {
            b.is_ascii_alphanumeric() || b == b'-' || (b == b'_' && syntax == DnsSyntax::Underscore)
        })
}

/// Returns whether the text is a URI as RFC 5280, section 4.2.1.6 requires: absolute, with a scheme, a scheme-specific
/// part and, if there is an authority, a host. RFC 3986 defines the characters.
pub(super) fn is_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return false;
    };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let host_fits = rest.strip_prefix("//").is_none_or(|rest| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        !host.is_empty() && !host.starts_with(':')
    });
    scheme_fits && !rest.is_empty() && host_fits && has_uri_characters(rest)
}

fn has_uri_characters(text: &str) -> bool {
    let mut parts = text.split('%');
    let fit = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&b))
    };
    parts.next().is_some_and(fit)
        && parts.all(|part| {
            part.get(..2)
                .is_some_and(|octet| octet.bytes().all(|b| b.is_ascii_hexdigit()))
                && fit(part)
        })
}

/// Returns whether the text is a Mailbox (RFC 5280, section 4.2.1.6; RFC 5321, section 4.1.2) that consists of a
/// dot-string and a domain.
pub(super) fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    local.len() <= 64
        && local.split('.').all(is_atom)
        && !domain.starts_with('*')
        && is_dns(domain, DnsSyntax::Strict)
}

#[cfg(test)]
mod tests;
