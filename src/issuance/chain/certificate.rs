//! One certificate of an issuer.

use aws_lc_rs::digest;
use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{
        ANY_EXTENDED_KEY_USAGE, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS,
        ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_EXT_KEY_USAGE,
        ID_CE_INHIBIT_ANY_POLICY, ID_CE_ISSUER_ALT_NAME, ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS,
        ID_CE_POLICY_CONSTRAINTS, ID_CE_POLICY_MAPPINGS, ID_CE_SUBJECT_ALT_NAME,
        ID_CE_SUBJECT_KEY_IDENTIFIER,
    },
};
use der::Decode as _;
use jiff::Timestamp;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, KeyUsage, SubjectKeyIdentifier};

use super::{CertificateError, NoCrlSign};
use crate::issuance::{
    constraints::NameConstraints,
    key::{IssuerPublicKey, PublicKey},
    name::Name,
    oid::Oid,
    pem,
    raw::{BasicConstraints, SignedFrame, Tbs, duplicate_extension, timestamp},
    scheme::{SchemeError, SignatureScheme},
};

/// Extensions that RFC 5280 defines and allows to be critical, or that verifiers process if they are.
const KNOWN_CRITICAL: [ObjectIdentifier; 13] = [
    ID_CE_AUTHORITY_KEY_IDENTIFIER,
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_CERTIFICATE_POLICIES,
    ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_INHIBIT_ANY_POLICY,
    ID_CE_ISSUER_ALT_NAME,
    ID_CE_KEY_USAGE,
    ID_CE_NAME_CONSTRAINTS,
    ID_CE_POLICY_CONSTRAINTS,
    ID_CE_POLICY_MAPPINGS,
    ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
];

/// A certificate that may sign certificates. It has CA:TRUE unless its version is below 3, keyCertSign if it has keyUsage,
/// and a supported key.
#[derive(Clone, Debug)]
pub struct IssuerCertificate {
    der: Vec<u8>,
    tbs: Vec<u8>,
    scheme: Result<SignatureScheme, SchemeError>,
    signature: Vec<u8>,
    serial: Vec<u8>,
    subject: Name,
    issuer: Name,
    not_before: Timestamp,
    not_after: Timestamp,
    public_key: IssuerPublicKey,
    path_length: Option<usize>,
    version_3: bool,
    crl_sign: bool,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    name_constraints: Option<NameConstraints>,
    purposes: Option<Vec<Oid>>,
    unknown_critical: Option<Oid>,
    self_signed: bool,
}

impl IssuerCertificate {
    /// Reads a certificate of a chain.
    ///
    /// # Errors
    ///
    /// The certificate is not allowed to issue certificates, or its signature cannot be verified. One that names itself as
    /// its issuer may be the root, so its signature, its version and its critical extensions do not matter.
    pub(super) fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Self::anchor(der)?;
        if let Some(oid) = &certificate.unknown_critical
            && !certificate.could_anchor(&certificate)
        {
            return Err(CertificateError::UnknownCritical(oid.clone()));
        }
        match certificate.scheme {
            _ if certificate.could_anchor(&certificate) => Ok(certificate),
            Ok(_) if certificate.has_version_3() => Ok(certificate),
            Ok(_) => Err(CertificateError::Version),
            Err(error) => Err(CertificateError::Scheme(error)),
        }
    }

    /// Reads the certificate of a trust anchor. Its signature need not be of a supported algorithm: verifiers do not
    /// use it (RFC 5280, section 6.1.1 (d)), and old roots are signed with SHA-1. Roots of version 1 or 2 have no
    /// extensions, so they need no basicConstraints.
    ///
    /// # Errors
    ///
    /// The certificate may not issue certificates.
    pub(super) fn anchor(der: &[u8]) -> Result<Self, CertificateError> {
        let signed = SignedFrame::parse(der)?;
        let tbs = Tbs::parse(signed.to_be_signed)?;
        let version_3 = tbs.version == 2;
        if let Some(oid) = duplicate_extension(&tbs.extensions) {
            return Err(CertificateError::DuplicateExtension(oid.clone()));
        }
        let path_length = match tbs.extension(ID_CE_BASIC_CONSTRAINTS) {
            Some(extension) => {
                let constraints = BasicConstraints::parse(extension.extn_value.as_bytes())?;
                if !constraints.ca {
                    return Err(CertificateError::NotCa);
                }
                constraints.path_length
            }
            None if version_3 => return Err(CertificateError::NotCa),
            None => None,
        };
        // RFC 5280, section 4.2.1.3: conforming CAs MUST include keyUsage. Old roots have none, and a certificate
        // without keyUsage excludes no usage (X.509, clause 9.2.2.3).
        let key_usage = tbs
            .extension(ID_CE_KEY_USAGE)
            .map(|extension| KeyUsage::from_der(extension.extn_value.as_bytes()))
            .transpose()?;
        if key_usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(CertificateError::NoKeyCertSign);
        }
        let subject_key_id = tbs
            .extension(ID_CE_SUBJECT_KEY_IDENTIFIER)
            .map(|extension| SubjectKeyIdentifier::from_der(extension.extn_value.as_bytes()))
            .transpose()?
            .map(|identifier| identifier.0.as_bytes().to_vec());
        // An identifier that cannot be read is ignored; the signature shows who signed.
        let authority_key_id = tbs
            .extension(ID_CE_AUTHORITY_KEY_IDENTIFIER)
            .and_then(|extension| {
                AuthorityKeyIdentifier::from_der(extension.extn_value.as_bytes()).ok()
            })
            .and_then(|identifier| identifier.key_identifier)
            .map(|identifier| identifier.as_bytes().to_vec());
        let name_constraints = tbs
            .extension(ID_CE_NAME_CONSTRAINTS)
            .map(|extension| NameConstraints::parse(extension.extn_value.as_bytes()))
            .transpose()
            .map_err(CertificateError::NameConstraints)?;
        let purposes = tbs
            .extension(ID_CE_EXT_KEY_USAGE)
            .map(|extension| Vec::<Oid>::from_der(extension.extn_value.as_bytes()))
            .transpose()?;
        let mut extensions = tbs.extensions.iter();
        let unknown_critical = extensions.find(|extension| {
            let known = KNOWN_CRITICAL.map(Oid::from);
            extension.critical && !known.contains(&extension.extn_id)
        });
        let unknown_critical = unknown_critical.map(|extension| extension.extn_id.clone());
        let subject = Name::parse(tbs.subject)?;
        if subject.is_empty() {
            return Err(CertificateError::NoSubject);
        }
        Ok(Self {
            der: der.to_vec(),
            tbs: signed.to_be_signed.to_vec(),
            scheme: SignatureScheme::parse(signed.algorithm),
            signature: signed.signature.to_vec(),
            serial: tbs.serial.to_vec(),
            subject,
            issuer: Name::parse(tbs.issuer)?,
            not_before: timestamp(tbs.not_before),
            not_after: timestamp(tbs.not_after),
            public_key: IssuerPublicKey::new(
                PublicKey::parse(tbs.spki).map_err(CertificateError::Key)?,
            ),
            path_length,
            version_3,
            crl_sign: key_usage.is_none_or(|usage| usage.crl_sign()),
            subject_key_id,
            authority_key_id,
            name_constraints,
            purposes,
            unknown_critical,
            self_signed: false,
        })
    }

    /// The certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> &IssuerPublicKey {
        &self.public_key
    }

    /// The SubjectPublicKeyInfo, DER as in the certificate.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        self.public_key.key().spki_der()
    }

    /// The subject, DER as in the certificate.
    #[must_use]
    pub fn subject_der(&self) -> &[u8] {
        self.subject.der()
    }

    /// The subject as text (RFC 4514).
    #[must_use]
    pub fn subject_text(&self) -> String {
        self.subject.to_string()
    }

    pub(super) fn issuer_text(&self) -> String {
        self.issuer.to_string()
    }

    /// The serial number, lower-case hexadecimal of its octets.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        hex::encode(&self.serial)
    }

    /// The SHA-256 of its DER.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.der).as_ref());
        hash
    }

    /// The SHA-256 of its DER, lower-case hexadecimal.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        hex::encode(self.sha256())
    }

    /// First second of validity.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last second of validity.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The octets of the subjectKeyIdentifier extension, if there is one.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// Returns the authorityKeyIdentifier of certificates below it: the bytes of this certificate's subjectKeyIdentifier.
    ///
    /// RFC 5280, section 4.2.1.1 requires a key identifier in every certificate. If this certificate has none, one is
    /// derived from its key (RFC 7093, method 1), and verifiers have nothing to compare it with.
    #[must_use]
    pub fn authority_key_id(&self) -> Vec<u8> {
        self.subject_key_id
            .clone()
            .unwrap_or_else(|| self.public_key.key().key_identifier())
    }

    /// Checks that its key may sign CRLs (RFC 5280, section 6.3.3 (f)). A certificate without keyUsage excludes no usage.
    ///
    /// # Errors
    ///
    /// keyUsage does not include cRLSign.
    pub fn check_crl_sign(&self) -> Result<(), NoCrlSign> {
        if self.crl_sign {
            return Ok(());
        }
        Err(NoCrlSign(self.subject_text()))
    }

    pub(super) const fn path_length(&self) -> Option<usize> {
        self.path_length
    }

    pub(super) const fn name_constraints(&self) -> Option<&NameConstraints> {
        self.name_constraints.as_ref()
    }

    /// Whether certificates below it may have this extended key usage. Several verifiers require each certificate of a
    /// path to have the usage, or no extended key usage at all (CA/Browser Forum TLS BR, section 7.1.2.10.6).
    pub(super) fn allows_purpose(&self, purpose: &Oid) -> bool {
        self.purposes.as_ref().is_none_or(|purposes| {
            purposes.contains(purpose) || purposes.contains(&Oid::of(ANY_EXTENDED_KEY_USAGE))
        })
    }

    /// Whether issuer and subject are the same bytes.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer.der() == self.subject.der()
    }

    /// Whether it is a root, signed by its own key. For a trust anchor with an unsupported signature algorithm, this is
    /// assumed and not verified.
    #[must_use]
    pub const fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    pub(super) const fn set_self_signed(&mut self, is_self_signed: bool) {
        self.self_signed = is_self_signed;
    }

    /// Whether its version is 3, so that it can have extensions.
    pub(super) const fn has_version_3(&self) -> bool {
        self.version_3
    }

    /// Whether it looks like a root whose signature cannot be verified, because its algorithm is not supported.
    pub(super) fn may_be_old_root(&self) -> bool {
        self.scheme.is_err() && self.could_anchor(self) && self.may_be_authority_key_of(self)
    }

    pub(super) const fn subject(&self) -> &Name {
        &self.subject
    }

    pub(super) const fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// Whether both certify the same key under the same name: one authority, certified twice.
    pub(super) fn is_twin_of(&self, other: &Self) -> bool {
        self.spki_der() == other.spki_der() && self.subject.is_same_as(&other.subject) == Some(true)
    }

    /// Whether its subject is the other's issuer, octet by octet.
    pub(super) fn is_named_as_issuer_of(&self, other: &Self) -> bool {
        self.subject.der() == other.issuer.der()
    }

    /// Whether its subject is the other's issuer, compared as RFC 5280, section 7.1 says.
    pub(super) fn could_anchor(&self, other: &Self) -> bool {
        self.subject.is_same_as(&other.issuer) == Some(true)
    }

    /// Whether the key identifiers match; a missing one matches any (RFC 5280, section 4.2.1.1).
    pub(super) fn may_be_authority_key_of(&self, other: &Self) -> bool {
        match (&self.subject_key_id, &other.authority_key_id) {
            (Some(own), Some(wanted)) => own == wanted,
            (None, _) | (_, None) => true,
        }
    }

    /// Whether its key made the other's signature. Names are not compared.
    #[must_use]
    pub fn verifies(&self, other: &Self) -> bool {
        other.scheme.as_ref().is_ok_and(|scheme| {
            let key = self.public_key.key();
            key.verify(*scheme, &other.tbs, &other.signature).is_ok()
        })
    }
}
