//! Why an issuer's certificates cannot be used.

use jiff::Timestamp;

use super::{MAX_ANCHORS, MAX_CERTIFICATES, MAX_PEM};
use crate::issuance::{
    Fault, constraints::ConstraintsError, key::KeyError, oid::Oid, pem::PemError,
    refusal::RefusalReason, scheme::SchemeError,
};

/// Reason why a certificate cannot issue certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("it is not the DER encoding of an X.509 certificate")]
    Encoding(#[from] der::Error),
    /// Version 1 or 2, without extensions, and not a root.
    #[error("it must have version 3; only a root may have an earlier version")]
    Version,
    /// The same extension twice.
    #[error("it has extension {0} twice")]
    DuplicateExtension(Oid),
    /// A critical extension that no verifier knows (RFC 5280, section 4.2).
    #[error(
        "its extension {0} is critical and not one of RFC 5280, so verifiers refuse every certificate below it"
    )]
    UnknownCritical(Oid),
    /// An end-entity certificate.
    #[error("it is not a CA certificate: basicConstraints must say CA:TRUE")]
    NotCa,
    /// A CA that may not sign certificates.
    #[error("its keyUsage does not include keyCertSign")]
    NoKeyCertSign,
    /// A subject without attributes; RFC 5280, section 4.1.2.6 requires a CA to have a subject.
    #[error("its subject is empty")]
    NoSubject,
    /// A key that is not supported.
    #[error("its public key is not supported")]
    Key(#[source] KeyError),
    /// A signature algorithm that is not supported.
    #[error("its signature cannot be verified")]
    Scheme(#[source] SchemeError),
    /// Name constraints that cannot be enforced.
    #[error("its nameConstraints extension cannot be enforced")]
    NameConstraints(#[source] ConstraintsError),
}

/// A CA certificate whose key may not sign CRLs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the keyUsage of the CA certificate {0:?} does not include cRLSign, so verifiers refuse its CRLs; have it renewed with cRLSign"
)]
pub struct NoCrlSign(pub(super) String);

/// Reason why an issuer's certificates cannot be used. Messages name a certificate by its subject.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The text is not PEM.
    #[error("the issuer's certificates are not PEM")]
    Pem(#[source] PemError),
    /// The text is too large.
    #[error("the issuer's certificates have {0} octets of PEM, but at most {MAX_PEM} are read")]
    TooLarge(usize),
    /// A block of another kind, such as a private key.
    #[error(
        "the issuer's certificates include a PEM block {0:?}; only CERTIFICATE blocks are allowed"
    )]
    NotCertificate(String),
    /// A certificate that cannot issue certificates.
    #[error("certificate number {position} of the issuer cannot issue certificates")]
    Certificate {
        /// Why.
        #[source]
        source: CertificateError,
        /// Counted from 1, each certificate once.
        position: usize,
    },
    /// A root that has the right name but cannot be the root of the chain.
    #[error("root certificate number {position} cannot be the root of the chain")]
    Root {
        /// Why.
        #[source]
        source: CertificateError,
        /// Counted from 1, each certificate once.
        position: usize,
    },
    /// No certificate with the issuer's name has the key that signed.
    #[error(
        "{subject:?} names {issuer:?} as its issuer, but none of the given certificates with that name signed it; replace that certificate"
    )]
    WrongSigner {
        /// The certificate whose signature does not verify.
        subject: String,
        /// The name of its issuer.
        issuer: String,
    },
    /// A certificate signed another, but its subject and the other's issuer are the same name in two encodings.
    #[error(
        "{subject:?} was signed by {issuer:?}, but names its issuer in another encoding, and verifiers compare octets: {how}; have one of the two certificates issued again"
    )]
    EncodedDifferently {
        /// The certificate that was signed.
        subject: String,
        /// The subject of the certificate that signed it.
        issuer: String,
        /// The first attribute that differs, in both encodings.
        how: String,
    },
    /// Too many certificates for one chain and its cross-certificates.
    #[error(
        "the issuer's chain has {0} certificates, but at most {MAX_CERTIFICATES} are read; remove those that are not between the issuing certificate and its root"
    )]
    TooMany(usize),
    /// Too many roots that may be the root of the chain.
    #[error(
        "{0} of the given roots have the name of an issuer in the chain, but at most {MAX_ANCHORS} are read; remove those that are not needed"
    )]
    TooManyRoots(usize),
    /// The first certificate signed another, and the others do not show which one is the issuing certificate.
    #[error(
        "several of the issuer's certificates could be the issuing one; put it first, or remove the others"
    )]
    NoIssuing,
    /// A certificate that is not on any path from the issuing certificate to a root.
    #[error(
        "{0:?} is not part of the chain of the issuing certificate; remove it, or put the issuing certificate first"
    )]
    NotInChain(String),
    /// A root that names another certificate as its issuer.
    #[error(
        "{0:?} is given as a root but is not self-signed; put it with the intermediate certificates"
    )]
    NotRoot(String),
    /// Roots were given, and the chain ends in none of them.
    #[error(
        "the chain ends at {0:?}, which none of the given roots signed; add its root, or give no roots"
    )]
    OtherRoot(String),
    /// A path length constraint that the chain exceeds.
    #[error(
        "{subject:?} allows {allowed} certificate authorities below it, but there are {present}"
    )]
    PathLength {
        /// The certificate with the constraint.
        subject: String,
        /// Its pathLenConstraint.
        allowed: usize,
        /// How many certificate authorities are below it.
        present: usize,
    },
    /// Expired.
    #[error("{subject:?} expired at {not_after}; renew it")]
    Expired {
        /// The certificate.
        subject: String,
        /// Its last second.
        not_after: Timestamp,
    },
    /// Not yet valid.
    #[error("{subject:?} is not valid before {not_before}; wait, or check the clock")]
    NotYetValid {
        /// The certificate.
        subject: String,
        /// Its first second.
        not_before: Timestamp,
    },
}

impl ChainError {
    /// Returns the reason: the chain is invalid, or it is only expired or not yet valid.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::Expired { .. } | Self::NotYetValid { .. } => RefusalReason::IssuerNotValid,
            Self::Pem(_)
            | Self::TooLarge(_)
            | Self::NotCertificate(_)
            | Self::Certificate { .. }
            | Self::Root { .. }
            | Self::WrongSigner { .. }
            | Self::EncodedDifferently { .. }
            | Self::TooMany(_)
            | Self::TooManyRoots(_)
            | Self::NoIssuing
            | Self::NotInChain(_)
            | Self::NotRoot(_)
            | Self::OtherRoot(_)
            | Self::PathLength { .. } => RefusalReason::IssuerInvalid,
        }
    }

    /// Who has to act: always the issuer's owner.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Issuer
    }
}
