//! The pure core of issuance: turns an untrusted CSR into a signed certificate with its chain.
//!
//! ```text
//! PEM ─► VerifiedCsr ─► CertificateParams ─► PreparedCertificate ─(Signer)─► IssuedCertificate
//! ```
//!
//! Each step yields a type with private fields, which only that step constructs. A value of that type proves that the
//! step was done.
//!
//! # Guarantees
//!
//! * Nothing here reads a clock or a random source. Time, serial and probe randomness are arguments,
//!   so the same arguments give the same bytes.
//! * Only [`PreparedCertificate`], [`PreparedAuthority`], [`PreparedRequest`], [`PreparedCrl`](crl::PreparedCrl) and [`Probe`]
//!   request a signature, and signing consumes them. The bytes that were linted are the bytes that are signed and sealed.
//! * [`PreparedCertificate::issue`] returns a certificate only if its signature verifies under the
//!   issuing certificate's public key and a second parser reads the same values as ours.
//! * Identity is copied, never encoded again: the subject public key and the subject alternative names are the bytes of
//!   the CSR. So is the subject, unless the profile replaces it. For a pod, the issuer makes the names.

pub mod authority;
pub mod chain;
pub mod claim;
pub mod constraints;
pub mod contents;
pub mod crl;
pub mod csr;
mod extensions;
pub mod issuer;
pub mod key;
pub mod name;
pub mod oid;
pub mod outdated;
pub mod pattern;
pub mod pem;
pub mod pod;
pub mod presented;
pub mod profile;
mod raw;
pub mod refusal;
pub mod request;
mod reread;
pub mod san;
pub mod scheme;
pub mod serial;
pub mod signature;
pub mod spiffe;
mod tbs;
pub mod usage;

pub mod lint;
mod lint_error;
pub mod prepare;
pub mod probe;

#[cfg(test)]
pub(crate) mod testing;

pub use authority::{Authority, AuthorityError, PreparedAuthority};
pub use chain::{Bundle, CaField, ChainError, IssuerCertificate, IssuerChain, NoCrlSign};
pub use contents::Contents;
pub use csr::VerifiedCsr;
pub use issuer::Issuer;
pub use key::{IssuerPublicKey, KeyAlgorithm, PublicKey};
pub use prepare::{IssueError, IssuedCertificate, PrepareError, PreparedCertificate};
pub use presented::{PossessionError, PresentedCertificate, PresentedError};
pub use probe::{Probe, ProbeError};
pub use profile::{CertificateParams, Limits, Profile, ProfileError, RuleDecision, Rules, Wanted};
pub use refusal::{Refusal, RefusalReason};
pub use request::{CaRequestError, PreparedRequest};
pub use reread::RereadError;
pub use scheme::MlDsa;
pub use serial::Serial;
pub use signature::{IssuerError, SignError, Signature, SignatureAlgorithm, Signer, SigningInput};

/// Who must act before the request can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Only a new request helps.
    Request,
    /// Somebody must correct the issuer object, its certificate, its PIN or its token.
    Issuer,
    /// The fault is temporary; a later retry can succeed.
    Passing,
    /// This program broke one of its invariants; a person must investigate.
    Bug,
}
