//! Why a CRL is not read, or is not that of a CA.

use super::{super::MAX_ENTRIES, MAX_CRLS, MAX_TEXT};
use crate::issuance::{
    chain::NoCrlSign, crl::MAX_DER, key::BadSignature, oid::Oid, pem::PemError, scheme::SchemeError,
};

/// Why a CRL of others is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadCrlError {
    /// Larger than the bound.
    #[error("it has {0} octets, but at most {MAX_DER} of DER or {MAX_TEXT} of PEM are read")]
    TooLarge(usize),
    /// Not PEM.
    #[error("it is neither the DER of a CRL nor PEM")]
    Pem(#[source] PemError),
    /// Another kind of block.
    #[error("it has a PEM block {0:?}; only X509 CRL blocks are allowed")]
    NotCrl(String),
    /// Too many CRLs in one text.
    #[error("it has {0} CRLs, but at most {MAX_CRLS} are read")]
    TooMany(usize),
    /// Not the DER of a CRL.
    #[error("it is not the DER encoding of a CRL")]
    Encoding(#[from] der::Error),
    /// Version 1.
    #[error("its version is not 2")]
    Version,
    /// Two different algorithms.
    #[error("its two signature algorithms differ")]
    AlgorithmsDiffer,
    /// An issuer that is empty or very long.
    #[error("its issuer name is empty or too long")]
    Issuer,
    /// No nextUpdate, or one that is not after thisUpdate.
    #[error("its nextUpdate is missing or not after its thisUpdate")]
    NextUpdate,
    /// Too many entries.
    #[error("it has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// An entry that cannot be read.
    #[error("entry number {position} cannot be used: {problem}")]
    Entry {
        /// Counted from 1.
        position: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Too many extensions.
    #[error("it has too many extensions")]
    TooManyExtensions,
    /// The same extension twice.
    #[error("it has extension {0} twice")]
    DuplicateExtension(Oid),
    /// An extension that is malformed or too large.
    #[error("its extension {0} is malformed or too large")]
    Extension(Oid),
    /// A critical extension that is not known.
    #[error("its extension {0} is critical and not known, so the CRL must not be used")]
    UnknownCritical(Oid),
    /// A delta CRL.
    #[error("it is a delta CRL; give the complete one")]
    Delta,
    /// A CRL with certificates of several CAs.
    #[error("it is an indirect CRL; give one that its CA has signed itself")]
    Indirect,
    /// A CRL for some reasons only.
    #[error(
        "it lists certificates that were revoked for some reasons only; give one for all reasons"
    )]
    SomeReasons,
}

impl ReadCrlError {
    /// Returns a stable word for the problem.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too-large",
            Self::Pem(_) => "bad-pem",
            Self::NotCrl(_) => "not-a-crl",
            Self::TooMany(_) => "too-many-crls",
            Self::Encoding(_) => "bad-der",
            Self::Version => "bad-version",
            Self::AlgorithmsDiffer => "algorithms-differ",
            Self::Issuer => "bad-issuer",
            Self::NextUpdate => "bad-next-update",
            Self::TooManyEntries => "too-many-entries",
            Self::Entry { .. } => "bad-entry",
            Self::TooManyExtensions => "too-many-extensions",
            Self::DuplicateExtension(_) => "duplicate-extension",
            Self::Extension(_) => "bad-extension",
            Self::UnknownCritical(_) => "unknown-critical-extension",
            Self::Delta => "delta-crl",
            Self::Indirect => "indirect-crl",
            Self::SomeReasons => "some-reasons-only",
        }
    }
}

/// Why a CRL is not one of a CA.
#[derive(Debug, thiserror::Error)]
pub enum VerifyCrlError {
    /// Another name.
    #[error("the CRL is one of {found:?} and not of {wanted:?}")]
    OtherIssuer {
        /// The issuer that the CRL names.
        found: String,
        /// The subject of the CA certificate.
        wanted: String,
    },
    /// The CA may not sign CRLs.
    #[error(transparent)]
    NoCrlSign(#[from] NoCrlSign),
    /// The key identifiers differ.
    #[error("the CRL names another key of the same CA name as its signer")]
    OtherKey,
    /// The CRL is malformed: a bug, because it was read before.
    #[error("the CRL is malformed")]
    Encoding(#[source] der::Error),
    /// An algorithm that is weak or not supported.
    #[error("the signature of the CRL cannot be verified")]
    Scheme(#[source] SchemeError),
    /// A signature by another key, or a changed CRL.
    #[error("the signature of the CRL is wrong")]
    Signature(#[source] BadSignature),
}

impl VerifyCrlError {
    /// Returns a stable word for the problem.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::OtherIssuer { .. } => "other-issuer",
            Self::NoCrlSign(_) => "no-crl-sign",
            Self::OtherKey => "other-key",
            Self::Encoding(_) => "bad-der",
            Self::Scheme(_) => "bad-algorithm",
            Self::Signature(_) => "bad-signature",
        }
    }
}
