//! The pure core: what a certificate is, from a hostile CSR to a sealed chain.
//!
//! ```text
//! PEM ─► VerifiedCsr ─► CertificateParams ─► PreparedCertificate ─(Signer)─► IssuedCertificate
//! ```
//!
//! Each arrow is a type with private fields and one constructor; holding the value is the proof that
//! the step was done.
//!
//! # Guarantees
//!
//! * Nothing here reads a clock or a random source: time, serial and probe randomness are arguments,
//!   so that the same arguments give the same bytes.
//! * A signature is asked for only through [`PreparedCertificate`] or [`Probe`], each spent by move:
//!   the bytes that were linted are the bytes that are signed and the bytes that are sealed.
//! * No certificate leaves [`PreparedCertificate::issue`] unless its signature verifies under the
//!   issuing certificate's public key, and unless a second parser reads the same certificate as ours.
//! * Identity is copied, never re-encoded: subject, subject public key and subject alternative names
//!   are the very bytes of the CSR.

pub mod chain;
pub mod claim;
pub mod constraints;
pub mod csr;
mod extensions;
pub mod issuer;
pub mod key;
pub mod name;
pub mod pattern;
pub mod pem;
pub mod pod;
pub mod profile;
mod raw;
pub mod refusal;
mod reread;
pub mod san;
pub mod scheme;
pub mod serial;
pub mod signature;
pub mod spiffe;
mod tbs;
pub mod usage;

pub mod lint;
pub mod prepare;
pub mod probe;

#[cfg(test)]
pub(crate) mod testing;

pub use chain::{CaField, ChainError, IssuerCertificate, IssuerChain};
pub use csr::VerifiedCsr;
pub use issuer::{Issuer, IssuerError};
pub use key::{IssuerPublicKey, KeyAlgorithm, PublicKey};
pub use prepare::{IssueError, IssuedCertificate, PrepareError, PreparedCertificate};
pub use probe::{Probe, ProbeError};
pub use profile::{CertificateParams, Decision, Limits, Profile, ProfileError, Rules, Wanted};
pub use refusal::{Refusal, RefusalReason};
pub use reread::RereadError;
pub use scheme::MlDsa;
pub use serial::Serial;
pub use signature::{SignError, Signature, SignatureAlgorithm, Signer, SigningInput};

/// Who has to act before the request can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Only a new request helps.
    Request,
    /// The issuer object, its certificate, its PIN or its token must be mended.
    Issuer,
    /// It will pass by itself; try again later.
    Passing,
    /// An invariant of this program broke; a person must look.
    Bug,
}
