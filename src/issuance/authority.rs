//! CA certificates that a key ceremony makes: roots, and intermediates whose contents the plan of the ceremony gives in full.
//!
//! They pass the same lints and the same seal as every certificate of an issuer.

use std::sync::Arc;

use const_oid::db::rfc5280::{
    ID_CE_BASIC_CONSTRAINTS, ID_CE_KEY_USAGE, ID_CE_SUBJECT_KEY_IDENTIFIER,
};
use der::asn1::OctetString;
use jiff::Timestamp;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};

use super::{
    Fault, IssueError, IssuerChain,
    chain::ChainError,
    extensions::{CRITICAL, NOT_CRITICAL, authority_key_id, extension},
    issuer::Issuer,
    key::PublicKey,
    lint::{self, LintError},
    name::Name,
    pem,
    prepare::sealed,
    profile::Profile,
    raw::Extension,
    refusal::Refusal,
    reread,
    serial::Serial,
    signature::{IssuerError, Signer, SigningInput},
    tbs::{self, Parts},
};

/// Contents of a CA certificate.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The subject.
    pub subject: Name,
    /// The CA's key.
    pub key: PublicKey,
    /// The serial number.
    pub serial: Serial,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// How many CA certificates may follow below it; `None`: any number.
    pub path_length: Option<u8>,
    /// The subject key identifier, so that all certificates of a CA have the same; `None`: computed from the key.
    pub subject_key_id: Option<Vec<u8>>,
}

impl Authority {
    fn key_id(&self) -> Vec<u8> {
        let computed = || self.key.key_identifier();
        self.subject_key_id.clone().unwrap_or_else(computed)
    }
}

/// Returns a CA that exists as an issuer, from its certificate (DER). The certificate above it is not needed.
///
/// # Errors
///
/// The certificate could not issue certificates.
pub fn existing(der: &[u8]) -> Result<Issuer, AuthorityError> {
    issuer_of(der, false)
}

/// Why no CA certificate was prepared.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The CA above does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The certificate could not issue certificates.
    #[error("the certificate would be no usable CA certificate")]
    Chain(#[source] ChainError),
    /// No algorithm fits the key that signs.
    #[error(transparent)]
    Algorithm(#[from] IssuerError),
    /// A lint failed.
    #[error("the prepared certificate fails a lint")]
    Lint(#[from] LintError),
    /// The contents could not be encoded.
    #[error("failed to encode the certificate")]
    Encode(#[from] der::Error),
}

impl AuthorityError {
    /// Who has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused(_) | Self::Chain(_) | Self::Algorithm(_) | Self::Lint(_) => {
                Fault::Request
            }
            Self::Encode(_) => Fault::Bug,
        }
    }
}

/// A CA certificate that lacks only its signature: the bytes exist and every lint passed. Issuing consumes it.
#[derive(Debug)]
pub struct PreparedAuthority {
    tbs: Vec<u8>,
    algorithm: Vec<u8>,
    issuer: Arc<Issuer>,
    is_root: bool,
}

impl PreparedAuthority {
    /// Prepares a self-signed certificate. The same contents give the same bytes.
    ///
    /// # Errors
    ///
    /// The contents break a lint, or could not be a CA's.
    pub fn root(authority: &Authority) -> Result<Self, AuthorityError> {
        let key_id = authority.key_id();
        let algorithm =
            super::SignatureAlgorithm::auto(&super::IssuerPublicKey::new(authority.key.clone()));
        let scheme = algorithm.scheme().to_der()?;
        let tbs = encode(authority, &authority.subject, &key_id, &scheme)?;
        let issuer = Arc::new(issuer_of(&unsigned(&tbs, &scheme)?, true)?);
        Self::linted(authority, tbs, scheme, issuer, true)
    }

    /// Prepares a certificate that `above` signs.
    ///
    /// # Errors
    ///
    /// The CA above does not allow it, or the contents break a lint.
    pub fn under(authority: &Authority, above: &Arc<Issuer>) -> Result<Self, AuthorityError> {
        let issuing = above.chain().issuing();
        above.chain().check_authority(authority.path_length)?;
        above.chain().check_subject(&authority.subject, true)?;
        let scheme = above.algorithm().scheme().to_der()?;
        let name = Name::parse(issuing.subject_der())?;
        let tbs = encode(authority, &name, &issuing.authority_key_id(), &scheme)?;
        Self::linted(authority, tbs, scheme, Arc::clone(above), false)
    }

    fn linted(
        authority: &Authority,
        tbs: Vec<u8>,
        algorithm: Vec<u8>,
        issuer: Arc<Issuer>,
        is_root: bool,
    ) -> Result<Self, AuthorityError> {
        let key_id = authority.subject_key_id.as_deref();
        lint::run_authority(&tbs, &issuer, key_id, is_root)?;
        Ok(Self {
            tbs,
            algorithm,
            issuer,
            is_root,
        })
    }

    /// The DER of the TBSCertificate.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// Returns the certificate (DER) with a signature of zeros, for a reader of its contents.
    ///
    /// # Errors
    ///
    /// It cannot be encoded.
    pub fn unsigned(&self) -> der::Result<Vec<u8>> {
        unsigned(&self.tbs, &self.algorithm)
    }

    /// Returns this CA as an issuer, before it is signed, so that certificates below it can be prepared.
    ///
    /// # Errors
    ///
    /// The certificate could not issue certificates.
    pub fn as_issuer(&self) -> Result<Issuer, AuthorityError> {
        issuer_of(&self.unsigned()?, self.is_root)
    }

    /// The CA that signs: for a root, itself.
    #[must_use]
    pub const fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Checks a certificate that was issued from the same bytes before: the bytes, the signature and the second parser.
    ///
    /// # Errors
    ///
    /// It differs from what was prepared, or its signature is wrong.
    pub fn check(&self, certificate: &[u8]) -> Result<(), IssueError> {
        let signed = super::raw::SignedFrame::parse(certificate).map_err(IssueError::Encode)?;
        let same = tbs::signed(&self.tbs, &self.algorithm, signed.signature)
            .map_err(IssueError::Encode)?;
        if same != certificate {
            return Err(IssueError::Ambiguous(reread::RereadError(
                "it is not the certificate that was prepared".to_owned(),
            )));
        }
        self.seal(signed.signature).map(|_| ())
    }

    /// Asks the signer exactly once, and returns the DER of the certificate.
    ///
    /// # Errors
    ///
    /// The signer returns no signature, or one that does not verify under the issuing certificate's key, or two parsers
    /// read the certificate differently.
    pub async fn issue(self, signer: &dyn Signer) -> Result<Vec<u8>, IssueError> {
        let input = SigningInput::new(self.issuer.algorithm(), &self.tbs);
        let signature = signer.sign(input).await.map_err(IssueError::Sign)?;
        self.seal(signature.as_octets())
    }

    fn seal(&self, signature: &[u8]) -> Result<Vec<u8>, IssueError> {
        sealed(&self.tbs, &self.algorithm, signature, &self.issuer)
    }
}

/// Returns the issuer with this certificate (DER), which need not be signed yet: a trust anchor is a name and a key, and the
/// signature of a certificate without the one above it cannot be verified.
fn issuer_of(der: &[u8], is_root: bool) -> Result<Issuer, AuthorityError> {
    let text = pem::encode("CERTIFICATE", der);
    let roots = is_root.then_some(text.as_bytes());
    let chain = IssuerChain::parse(text.as_bytes(), roots).map_err(AuthorityError::Chain)?;
    Ok(Issuer::new(chain, Profile::default(), None)?)
}

/// Returns a certificate with a signature of zeros.
fn unsigned(tbs: &[u8], algorithm: &[u8]) -> der::Result<Vec<u8>> {
    tbs::signed(tbs, algorithm, &[0; 64])
}

fn encode(
    authority: &Authority,
    issuer: &Name,
    issuer_key_id: &[u8],
    algorithm: &[u8],
) -> der::Result<Vec<u8>> {
    Parts {
        serial: authority.serial.octets(),
        algorithm,
        issuer: issuer.der(),
        not_before: authority.not_before,
        not_after: authority.not_after,
        subject: authority.subject.der(),
        spki: authority.key.spki_der(),
        extensions: extensions(authority, issuer_key_id)?,
    }
    .to_der()
}

fn extensions(authority: &Authority, issuer_key_id: &[u8]) -> der::Result<Vec<Extension>> {
    Ok(vec![
        // RFC 5280, 4.2.1.1: in a root it MAY be left out; with it, all CA certificates have the same extensions.
        authority_key_id(issuer_key_id)?,
        // 4.2.1.2: MUST be in CA certificates.
        extension(
            ID_CE_SUBJECT_KEY_IDENTIFIER,
            NOT_CRITICAL,
            &SubjectKeyIdentifier(OctetString::new(authority.key_id())?),
        )?,
        // 4.2.1.3: certificates and CRLs, nothing else.
        extension(
            ID_CE_KEY_USAGE,
            CRITICAL,
            &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign),
        )?,
        // 4.2.1.9: MUST be critical.
        extension(
            ID_CE_BASIC_CONSTRAINTS,
            CRITICAL,
            &BasicConstraints {
                ca: true,
                path_len_constraint: authority.path_length,
            },
        )?,
    ])
}

#[cfg(test)]
mod tests;
