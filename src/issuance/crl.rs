//! Certificate revocation lists (RFC 5280, section 5): made, and read.
//!
//! ```text
//! CrlParams ─► PreparedCrl ─(Signer)─► IssuedCrl            octets of others ─► ReadCrl
//! ```
//!
//! A CRL belongs to a CA ([`CaId`]), that is a name and a key, and lists the revoked certificates of one of its [`Shards`].
//! The same arguments give the same octets to sign.

use aws_lc_rs::digest;
use jiff::Timestamp;

use super::{
    Fault, IssueError,
    chain::{IssuerCertificate, NoCrlSign},
    key::IssuerPublicKey,
    lint_error::LintError,
    pem,
    profile::HttpUrl,
    raw::SignedFrame,
    reread::RereadError,
    signature::{IssuerError, SignatureAlgorithm, Signer, SigningInput},
    tbs,
};

mod ca;
pub mod lint;
mod list;
mod read;
mod reread;
mod revoked;
mod rules;
mod serial;
mod write;

pub use ca::{CaId, CaIdError, CrlNumber, Shards, ShardsError};
pub use read::{CrlScope, ReadCrl, ReadCrlError, VerifyCrlError};
pub use revoked::{RevocationReason, Revoked, RevokedError, UnknownRevocationReason};
pub use rules::{CrlRules, CrlRulesError};
pub use serial::{SerialNumber, SerialNumberError};

/// Most entries of a CRL that is made or read.
pub const MAX_ENTRIES: usize = 200_000;

/// Largest CRL that is read, in octets of DER. Every CRL with [`MAX_ENTRIES`] entries of ours is smaller.
pub const MAX_DER: usize = 16 * 1024 * 1024;

/// The label of a CRL in PEM (RFC 7468, section 6).
const LABEL: &str = "X509 CRL";

/// What a CRL says.
#[derive(Clone, Copy, Debug)]
pub struct CrlParams<'a> {
    /// Its number, greater than that of every earlier CRL of the CA and shard.
    pub number: CrlNumber,
    /// When it is made. Fractions of a second are dropped.
    pub this_update: Timestamp,
    /// When the next one is there at the latest.
    pub next_update: Timestamp,
    /// The URLs of the shard, exactly as the certificates carry them, if there is more than one shard.
    pub partition: Option<&'a [HttpUrl]>,
    /// The revoked certificates of the shard, each once, in any order.
    pub revoked: &'a [Revoked],
}

/// Why no CRL was prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareCrlError {
    /// The CA certificate does not allow CRLs.
    #[error(transparent)]
    NoCrlSign(#[from] NoCrlSign),
    /// The algorithm does not fit the key.
    #[error(transparent)]
    Algorithm(#[from] IssuerError),
    /// Too many entries.
    #[error(
        "the CRL would have {0} entries, but at most {MAX_ENTRIES} are supported; a CA with more revoked certificates needs more shards"
    )]
    TooMany(usize),
    /// A serial number occurs twice: a bug.
    #[error("the certificate with serial number {0} is listed twice")]
    Duplicate(SerialNumber),
    /// Our own lint failed: a bug.
    #[error("the prepared CRL fails our own lint")]
    Lint(#[source] LintError),
    /// The CRL could not be encoded: a bug.
    #[error("failed to encode the CRL")]
    Encode(#[source] der::Error),
}

impl PrepareCrlError {
    /// Who has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoCrlSign(_) | Self::Algorithm(_) | Self::TooMany(_) => Fault::Issuer,
            Self::Duplicate(_) | Self::Lint(_) | Self::Encode(_) => Fault::Bug,
        }
    }
}

/// A CRL that lacks only its signature: the bytes exist and every lint passed.
///
/// # Guarantees
///
/// Issuing consumes the prepared CRL. It asks for one signature and gives at most one CRL.
///
/// ```compile_fail,E0382
/// # use pkcs11_issuer::issuance::{Signer, crl::PreparedCrl};
/// async fn twice(prepared: PreparedCrl, signer: &dyn Signer) {
///     prepared.issue(signer).await.ok();
///     prepared.issue(signer).await.ok(); // already spent
/// }
/// ```
#[derive(Debug)]
pub struct PreparedCrl {
    tbs: Vec<u8>,
    algorithm: SignatureAlgorithm,
    algorithm_der: Vec<u8>,
    key: IssuerPublicKey,
    number: CrlNumber,
}

impl PreparedCrl {
    /// Makes the bytes to be signed by the key of `issuing`, sorted by serial number, and runs every lint over them. Takes
    /// processor time in proportion to the number of entries, so a long list belongs on another thread.
    ///
    /// # Errors
    ///
    /// The CA certificate or the algorithm does not allow the CRL, it would be too large, or this program has a bug.
    pub fn prepare(
        params: &CrlParams<'_>,
        issuing: &IssuerCertificate,
        algorithm: SignatureAlgorithm,
    ) -> Result<Self, PrepareCrlError> {
        issuing.check_crl_sign()?;
        IssuerError::check(algorithm, issuing.public_key().algorithm())?;
        if params.revoked.len() > MAX_ENTRIES {
            return Err(PrepareCrlError::TooMany(params.revoked.len()));
        }
        let mut entries: Vec<_> = params.revoked.iter().collect();
        entries.sort_unstable_by_key(|entry| *entry.serial());
        let pairs = entries.iter().zip(entries.iter().skip(1));
        for (one, next) in pairs {
            if one.serial() == next.serial() {
                return Err(PrepareCrlError::Duplicate(*one.serial()));
            }
        }
        let algorithm_der = algorithm
            .scheme()
            .to_der()
            .map_err(PrepareCrlError::Encode)?;
        let tbs = write::to_der(params, &entries, issuing, &algorithm_der)
            .map_err(PrepareCrlError::Encode)?;
        lint::run(&tbs, params, issuing, algorithm, &algorithm_der)
            .map_err(PrepareCrlError::Lint)?;
        Ok(Self {
            tbs,
            algorithm,
            algorithm_der,
            key: issuing.public_key().clone(),
            number: params.number,
        })
    }

    /// The DER of the TBSCertList.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// The algorithm of the signature.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Returns the CRL (DER) with a signature of zeros, for a reader of its contents.
    ///
    /// # Errors
    ///
    /// It cannot be encoded.
    pub fn unsigned(&self) -> der::Result<Vec<u8>> {
        tbs::signed(&self.tbs, &self.algorithm_der, &[0; 64])
    }

    /// Checks a CRL that was issued from the same bytes before: the bytes, the signature and the second parser.
    ///
    /// # Errors
    ///
    /// It differs from what was prepared, or its signature is wrong.
    pub fn check(&self, crl: &[u8]) -> Result<(), IssueError> {
        let signed = SignedFrame::parse(crl).map_err(IssueError::Encode)?;
        if self.sealed(signed.signature)? == crl {
            return Ok(());
        }
        Err(IssueError::Ambiguous(RereadError(
            "it is not the CRL that was prepared".to_owned(),
        )))
    }

    /// The SHA-256 hash of the TBSCertList, lower-case hexadecimal, for the issuance log.
    #[must_use]
    pub fn tbs_sha256(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, &self.tbs))
    }

    /// The number of the CRL.
    #[must_use]
    pub const fn number(&self) -> CrlNumber {
        self.number
    }

    /// Asks the signer exactly once, and assembles the CRL.
    ///
    /// # Errors
    ///
    /// The signer returns no signature, or one that does not verify under the issuing certificate's public key, or this
    /// program has a bug.
    pub async fn issue(self, signer: &dyn Signer) -> Result<IssuedCrl, IssueError> {
        let input = SigningInput::new(self.algorithm, &self.tbs);
        let signature = signer.sign(input).await.map_err(IssueError::Sign)?;
        Ok(IssuedCrl {
            der: self.sealed(signature.as_octets())?,
            number: self.number,
        })
    }

    /// Verifies the signature and assembles the CRL (DER).
    fn sealed(&self, signature: &[u8]) -> Result<Vec<u8>, IssueError> {
        self.key
            .key()
            .verify(self.algorithm.scheme(), &self.tbs, signature)
            .map_err(IssueError::Unverified)?;
        let der =
            tbs::signed(&self.tbs, &self.algorithm_der, signature).map_err(IssueError::Encode)?;
        reread::compare_frame(&der, &self.tbs, &self.algorithm_der, signature)
            .map_err(IssueError::Ambiguous)?;
        Ok(der)
    }
}

/// A signed CRL whose signature was verified under the issuing certificate's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCrl {
    der: Vec<u8>,
    number: CrlNumber,
}

impl IssuedCrl {
    /// The CRL, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The CRL, DER.
    #[must_use]
    pub fn into_der(self) -> Vec<u8> {
        self.der
    }

    /// The CRL, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem::encode(LABEL, &self.der)
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> CrlNumber {
        self.number
    }
}

#[cfg(test)]
mod tests;
