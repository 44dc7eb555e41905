//! Key usages and extended key usages, and cert-manager's words for them.

use const_oid::db::rfc5280::{
    ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH, ID_KP_CODE_SIGNING, ID_KP_EMAIL_PROTECTION,
    ID_KP_OCSP_SIGNING, ID_KP_SERVER_AUTH, ID_KP_TIME_STAMPING,
};
use der::flagset::FlagSet;
use x509_cert::ext::pkix::KeyUsages;

use super::oid::Oid;

const IPSEC_END_SYSTEM: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.5");
const IPSEC_TUNNEL: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.6");
const IPSEC_USER: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.7");
const MICROSOFT_SGC: Oid = Oid::new_unwrap("1.3.6.1.4.1.311.10.3.3");
const NETSCAPE_SGC: Oid = Oid::new_unwrap("2.16.840.1.113730.4.1");

/// One usage of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A bit of keyUsage (RFC 5280, section 4.2.1.3).
    Key(KeyUsages),
    /// A purpose of extKeyUsage (RFC 5280, section 4.2.1.12).
    Extended(Oid),
}

impl Usage {
    /// `digital signature`.
    pub const DIGITAL_SIGNATURE: Self = Self::Key(KeyUsages::DigitalSignature);
    /// `key encipherment`.
    pub const KEY_ENCIPHERMENT: Self = Self::Key(KeyUsages::KeyEncipherment);
    /// `server auth`.
    pub const SERVER_AUTH: Self = Self::Extended(Oid::of(ID_KP_SERVER_AUTH));
    /// `client auth`.
    pub const CLIENT_AUTH: Self = Self::Extended(Oid::of(ID_KP_CLIENT_AUTH));

    /// Parses a word of `spec.usages` of a CertificateRequest or a Kubernetes CSR.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        WORDS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, usage)| usage.clone())
    }

    /// Returns the word for the usage: of two words, the first in the table; `None` for a purpose without a word.
    #[must_use]
    pub fn word(&self) -> Option<&'static str> {
        WORDS
            .iter()
            .find(|(_, usage)| usage == self)
            .map(|(word, _)| *word)
    }
}

/// cert-manager's `KeyUsage` values (its API reference, cert-manager.io/v1).
const WORDS: &[(&str, Usage)] = &[
    ("digital signature", Usage::DIGITAL_SIGNATURE),
    ("signing", Usage::DIGITAL_SIGNATURE),
    ("content commitment", Usage::Key(KeyUsages::NonRepudiation)),
    ("key encipherment", Usage::KEY_ENCIPHERMENT),
    ("data encipherment", Usage::Key(KeyUsages::DataEncipherment)),
    ("key agreement", Usage::Key(KeyUsages::KeyAgreement)),
    ("cert sign", Usage::Key(KeyUsages::KeyCertSign)),
    ("crl sign", Usage::Key(KeyUsages::CRLSign)),
    ("encipher only", Usage::Key(KeyUsages::EncipherOnly)),
    ("decipher only", Usage::Key(KeyUsages::DecipherOnly)),
    ("any", Usage::Extended(Oid::of(ANY_EXTENDED_KEY_USAGE))),
    ("server auth", Usage::SERVER_AUTH),
    ("client auth", Usage::CLIENT_AUTH),
    ("code signing", Usage::Extended(Oid::of(ID_KP_CODE_SIGNING))),
    (
        "email protection",
        Usage::Extended(Oid::of(ID_KP_EMAIL_PROTECTION)),
    ),
    ("s/mime", Usage::Extended(Oid::of(ID_KP_EMAIL_PROTECTION))),
    ("ipsec end system", Usage::Extended(IPSEC_END_SYSTEM)),
    ("ipsec tunnel", Usage::Extended(IPSEC_TUNNEL)),
    ("ipsec user", Usage::Extended(IPSEC_USER)),
    (
        "timestamping",
        Usage::Extended(Oid::of(ID_KP_TIME_STAMPING)),
    ),
    ("ocsp signing", Usage::Extended(Oid::of(ID_KP_OCSP_SIGNING))),
    ("microsoft sgc", Usage::Extended(MICROSOFT_SGC)),
    ("netscape sgc", Usage::Extended(NETSCAPE_SGC)),
];

/// The usages of one certificate: bits and purposes, each at most once. Purposes keep the order of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usages {
    /// The bits of keyUsage.
    pub key: FlagSet<KeyUsages>,
    /// The purposes of extKeyUsage.
    pub extended: Vec<Oid>,
}

impl FromIterator<Usage> for Usages {
    fn from_iter<I: IntoIterator<Item = Usage>>(usages: I) -> Self {
        let mut set = Self {
            key: FlagSet::default(),
            extended: Vec::new(),
        };
        for usage in usages {
            match usage {
                Usage::Key(bit) => set.key |= bit,
                Usage::Extended(purpose) if !set.extended.contains(&purpose) => {
                    set.extended.push(purpose);
                }
                Usage::Extended(_) => {}
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synonyms_mean_the_same() {
        assert_eq!(Usage::parse("signing"), Usage::parse("digital signature"));
        assert_eq!(Usage::parse("s/mime"), Usage::parse("email protection"));
        assert_eq!(Usage::parse("Server Auth"), None);
    }

    #[test]
    fn purposes_keep_their_order_and_occur_once() {
        let usages: Usages = ["client auth", "server auth", "client auth"]
            .into_iter()
            .filter_map(Usage::parse)
            .collect();
        assert_eq!(usages.extended, [ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH]);
        assert!(usages.key.is_empty());
    }
}
