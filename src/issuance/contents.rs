//! What a certificate says, as text for the issuance log.

use super::{
    profile::CertificateParams,
    san::{GeneralName, SubjectAltNames},
    usage::Usage,
};

/// Contents of a certificate as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The subject, as RFC 4514 writes it.
    pub subject: String,
    /// The subject alternative names: `DNS:`, `IP:`, `URI:`, `email:` or `other:`, then the name.
    pub names: Vec<String>,
    /// The usages in cert-manager's words; OIDs for purposes without a word.
    pub usages: Vec<String>,
    /// Whether it is the certificate of a CA.
    pub ca: bool,
}

impl CertificateParams<'_> {
    /// Returns the contents as text.
    #[must_use]
    pub fn contents(&self) -> Contents {
        let names = self.csr().subject_alt_names();
        let names = names.map_or(&[][..], SubjectAltNames::names);
        let bits = self.key_usage().into_iter().map(Usage::Key);
        let purposes = self.extended_key_usage().iter().cloned();
        Contents {
            subject: self.subject().to_string(),
            names: names.iter().map(name).collect(),
            usages: bits
                .chain(purposes.map(Usage::Extended))
                .map(usage)
                .collect(),
            ca: self.authority().is_some(),
        }
    }
}

fn name(name: &GeneralName) -> String {
    match name {
        GeneralName::Dns(dns) => format!("DNS:{dns}"),
        GeneralName::Ip(address) => format!("IP:{address}"),
        GeneralName::Uri(uri) => format!("URI:{uri}"),
        GeneralName::Email(address) => format!("email:{address}"),
        GeneralName::OtherName(kind) => format!("other:otherName {kind}"),
        GeneralName::Directory(name) => format!("other:directoryName {name}"),
        GeneralName::RegisteredId(oid) => format!("other:registeredID {oid}"),
        GeneralName::Other(kind) => format!("other:{kind}"),
    }
}

fn usage(usage: Usage) -> String {
    match (usage.word(), &usage) {
        (Some(word), _) => word.to_owned(),
        (None, Usage::Extended(purpose)) => purpose.to_string(),
        (None, Usage::Key(bit)) => format!("{bit:?}"),
    }
}
