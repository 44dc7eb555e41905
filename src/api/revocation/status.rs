//! Status of a revocation, and the reasons of its conditions: stable words, each explained in `docs/revocation.md`.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Status that the controller reports for a revocation.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationStatus {
    /// `metadata.generation` of the specification that this status is about; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted` is True once the revocation is stored, Unknown while it waits, and False if it is refused for good.
    /// `Published` is True once a CRL has the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The CA whose CRL has the certificate: the name of its folder below `/crl/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Serial number of the certificate in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// End of the certificate. Its entry leaves the CRL one CRL later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// When the certificate was revoked, as the CRL says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
    /// The renewal that comes first, while the certificate is not revoked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<RenewalStatus>,
    /// The first CRL that has the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<RevocationCrl>,
}

/// A renewal, with what is known of the request whose certificate is replaced: cert-manager deletes the request as soon as it is.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenewalStatus {
    /// When the controller asked cert-manager for the renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,
    /// Name of the Certificate.
    pub certificate_name: String,
    /// UID of the Certificate.
    pub certificate_uid: String,
    /// Revision of the Certificate that is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// The CSR of the request, in PEM.
    pub csr: String,
    /// The certificate of the request, in PEM.
    pub certificate: String,
}

/// A CRL.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationCrl {
    /// Its number.
    pub number: i64,
    /// Its shard.
    pub shard: i64,
    /// Its thisUpdate.
    pub this_update: Time,
}

/// Types of conditions on revocations.
pub mod condition_type {
    /// The revocation is stored.
    pub const ACCEPTED: &str = "Accepted";
    /// A CRL has the certificate.
    pub const PUBLISHED: &str = "Published";
}

impl RevocationStatus {
    /// Returns the condition with this type.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_)
    }

    /// Returns the reason of `Accepted`, if it has one that this version knows.
    #[must_use]
    pub fn accepted(&self) -> Option<AcceptedReason> {
        let condition = self.condition(condition_type::ACCEPTED)?;
        AcceptedReason::named(&condition.reason)
    }

    /// Returns the reason of `Published`, if it has one that this version knows.
    #[must_use]
    pub fn published(&self) -> Option<PublishedReason> {
        let condition = self.condition(condition_type::PUBLISHED)?;
        PublishedReason::named(&condition.reason)
    }
}

/// Declares the reasons of a condition: the variants, their words and the list of all.
macro_rules! words {
    ($(#[$about:meta])+ $name:ident { $($(#[$doc:meta])+ $variant:ident,)+ }) => {
        $(#[$about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])+ $variant,)+
        }

        impl $name {
            /// Every reason, in the order of `docs/revocation.md`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the word in the condition.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// Returns the reason with this word.
            #[must_use]
            pub fn named(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Reason of the condition `Accepted`.
    AcceptedReason {
        /// The certificate is revoked: the entry is stored.
        Revoked,
        /// The hold has ended.
        Released,
        /// The issuer cannot be used at present.
        IssuerNotReady,
        /// The Certificate is being renewed first.
        Renewing,
        /// The entry could not be stored yet.
        NotStored,
        /// The issuer does not exist.
        IssuerNotFound,
        /// The issuer publishes no CRL.
        CrlNotEnabled,
        /// The issuer is in another namespace.
        IssuerNotAllowed,
        /// The CertificateRequest does not exist.
        RequestNotFound,
        /// The CertificateRequest names another issuer.
        RequestOfOtherIssuer,
        /// The CertificateRequest has no certificate.
        NotIssued,
        /// The text is not a certificate.
        CertificateInvalid,
        /// The CA of the issuer did not issue the certificate.
        NotOurs,
        /// The certificate in the status of the CertificateRequest has another key than its CSR.
        KeyMismatch,
        /// There is no proof that the author holds the key.
        ProofMissing,
        /// The proof was not made by the certificate's key for this certificate.
        ProofWrong,
        /// A serial number is not enough in this namespace.
        SerialNotAllowed,
        /// The serial number is not one.
        SerialInvalid,
        /// The date of invalidity is in the future, or before 1970.
        InvalidityDateInvalid,
        /// The certificate has ended.
        CertificateEnded,
        /// The certificate is revoked already, for another reason.
        AlreadyRevoked,
        /// The certificate is not on hold.
        NotOnHold,
        /// Somebody else put the certificate on hold.
        HeldByOthers,
        /// No Certificate owns the CertificateRequest.
        NothingToRenew,
    }
}

words! {
    /// Reason of the condition `Published`.
    PublishedReason {
        /// A CRL has the certificate.
        OnCrl,
        /// The next CRL will have the certificate.
        Waiting,
        /// The certificate is not revoked, and not on the CRL.
        NotRevoked,
        /// The certificate has ended, and its entry has left the CRL.
        Ended,
    }
}

impl AcceptedReason {
    /// Returns the status of the condition: `True` if the revocation took effect, `Unknown` while it waits, `False` if it is
    /// refused for good.
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::Revoked | Self::Released => "True",
            Self::IssuerNotReady | Self::Renewing | Self::NotStored => "Unknown",
            Self::IssuerNotFound
            | Self::CrlNotEnabled
            | Self::IssuerNotAllowed
            | Self::RequestNotFound
            | Self::RequestOfOtherIssuer
            | Self::NotIssued
            | Self::CertificateInvalid
            | Self::NotOurs
            | Self::KeyMismatch
            | Self::ProofMissing
            | Self::ProofWrong
            | Self::SerialNotAllowed
            | Self::SerialInvalid
            | Self::InvalidityDateInvalid
            | Self::CertificateEnded
            | Self::AlreadyRevoked
            | Self::NotOnHold
            | Self::HeldByOthers
            | Self::NothingToRenew => "False",
        }
    }
}

impl PublishedReason {
    /// Returns the status of the condition.
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::OnCrl => "True",
            Self::Waiting | Self::NotRevoked | Self::Ended => "False",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The page that explains every reason.
    const PAGE: &str = include_str!("../../../docs/revocation.md");

    #[test]
    fn the_page_explains_every_reason_of_a_revocation_and_what_to_do() {
        let (_, table) = PAGE.split_once("### What became of a revocation").unwrap();
        let rows = table
            .lines()
            .skip(1)
            .skip_while(|row| !row.starts_with('|'));
        let rows = rows.take_while(|row| row.starts_with('|')).skip(2);
        let rows: Vec<Vec<_>> = rows
            .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert!(rows.iter().flatten().all(|cell| !cell.is_empty()));
        let accepted = AcceptedReason::ALL.iter().map(|one| {
            let (word, status) = (one.as_str(), one.status());
            (format!("`{word}`"), format!("Accepted {status}"))
        });
        let published = PublishedReason::ALL.iter().map(|one| {
            let (word, status) = (one.as_str(), one.status());
            (format!("`{word}`"), format!("Published {status}"))
        });
        let expected: Vec<_> = accepted.chain(published).collect();
        let found: Vec<_> = rows
            .iter()
            .map(|cells| (cells[0].to_owned(), cells[1].to_owned()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_word_is_found_again_and_stands_for_one_reason() {
        let mut words = BTreeSet::new();
        for reason in AcceptedReason::ALL {
            assert_eq!(AcceptedReason::named(reason.as_str()), Some(*reason));
            assert!(words.insert(reason.as_str()));
        }
        for reason in PublishedReason::ALL {
            assert_eq!(PublishedReason::named(reason.as_str()), Some(*reason));
            assert!(words.insert(reason.as_str()));
        }
    }
}
