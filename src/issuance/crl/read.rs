//! CRLs that others made: of the CAs above, of sub-CAs, and our own ones from a backup or a URL.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{ID_CE_CERTIFICATE_ISSUER, ID_CE_CRL_REASONS, ID_CE_INVALIDITY_DATE},
};
use der::asn1::GeneralizedTime;
use jiff::Timestamp;
use x509_cert::{ext::pkix::CrlReason, time::Time};

use super::{
    CrlNumber, LABEL, MAX_DER, MAX_ENTRIES, RevocationReason, Revoked, SerialNumber,
    list::{CertList, ExtensionsError, RawEntry, find},
};
use crate::issuance::{
    chain::IssuerCertificate,
    name::Name,
    pem,
    raw::{SignedFrame, duplicate_extension, timestamp},
    scheme::SignatureScheme,
};

mod error;
mod extensions;

pub use error::{ReadCrlError, VerifyCrlError};
use extensions::{Extensions, unknown_critical, value};

/// Largest text that is read, in octets: a CRL of [`MAX_DER`] octets in PEM, and some room.
const MAX_TEXT: usize = MAX_DER / 3 * 4 + MAX_DER / 24;

/// Most CRLs in one text: those of a long chain with many sub-CAs.
const MAX_CRLS: usize = 64;

/// Largest issuer name, and largest value of an extension of the CRL, in octets.
const MAX_PART: usize = 64 * 1024;

/// The kinds of certificates that a CRL is about (RFC 5280, section 5.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrlScope {
    /// All certificates of the CA, or of the distribution point.
    All,
    /// Only certificates of end entities.
    EndEntities,
    /// Only CA certificates.
    Authorities,
}

/// A complete CRL that was read: well formed, within its bounds, and without anything that changes its meaning and that we do
/// not understand. Its signature is not verified yet.
#[derive(Clone, Debug)]
pub struct ReadCrl {
    der: Vec<u8>,
    issuer: Vec<u8>,
    this_update: Timestamp,
    next_update: Timestamp,
    number: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    scope: CrlScope,
    points: Option<Vec<String>>,
    entries: Vec<Revoked>,
}

impl ReadCrl {
    /// Reads the DER of one CRL. Takes processor time in proportion to its size, so that of others belongs on another thread.
    ///
    /// # Errors
    ///
    /// It is malformed, too large, or says something that a complete CRL of one CA does not say.
    pub fn parse(der: &[u8]) -> Result<Self, ReadCrlError> {
        if der.len() > MAX_DER {
            return Err(ReadCrlError::TooLarge(der.len()));
        }
        let signed = SignedFrame::parse(der)?;
        let list = CertList::parse(signed.to_be_signed)?;
        // 5.1.2.1: version 2, because 5.2 requires extensions.
        if list.version != Some(1) {
            return Err(ReadCrlError::Version);
        }
        // 5.1.1.2.
        if list.algorithm != signed.algorithm {
            return Err(ReadCrlError::AlgorithmsDiffer);
        }
        if list.issuer.len() <= 2 || list.issuer.len() > MAX_PART {
            return Err(ReadCrlError::Issuer);
        }
        let this_update = timestamp(list.this_update);
        // 5.1.2.5: MUST be present.
        let next_update = list.next_update.map(timestamp);
        let next_update = next_update
            .filter(|next| *next > this_update)
            .ok_or(ReadCrlError::NextUpdate)?;
        let extensions = list.extensions().map_err(ReadCrlError::from)?;
        let Extensions {
            number,
            authority_key_id,
            scope,
            points,
        } = Extensions::read(&extensions)?;
        let mut entries = Vec::new();
        for raw in list.entries() {
            if entries.len() == MAX_ENTRIES {
                return Err(ReadCrlError::TooManyEntries);
            }
            let place = |problem| ReadCrlError::Entry {
                position: entries.len() + 1,
                problem,
            };
            entries.push(
                raw.map_err(|_| "it is malformed")
                    .and_then(entry)
                    .map_err(place)?,
            );
        }
        Ok(Self {
            der: der.to_vec(),
            issuer: list.issuer.to_vec(),
            this_update,
            next_update,
            number,
            authority_key_id,
            scope,
            points,
            entries,
        })
    }

    /// Reads one or more CRLs in PEM. Text between and after them is skipped.
    ///
    /// # Errors
    ///
    /// The text is not PEM, has another kind of block, or a CRL cannot be read.
    pub fn parse_pem(text: &[u8]) -> Result<Vec<Self>, ReadCrlError> {
        if text.len() > MAX_TEXT {
            return Err(ReadCrlError::TooLarge(text.len()));
        }
        let blocks = pem::scan(text).map_err(ReadCrlError::Pem)?.blocks;
        if blocks.len() > MAX_CRLS {
            return Err(ReadCrlError::TooMany(blocks.len()));
        }
        let read = |block: &pem::Block<'_>| {
            if block.label == LABEL.as_bytes() {
                Self::parse(&block.der)
            } else {
                let label = String::from_utf8_lossy(block.label);
                Err(ReadCrlError::NotCrl(label.into_owned()))
            }
        };
        blocks.iter().map(read).collect()
    }

    /// Reads what a file, a Secret or a URL holds: the DER of one CRL, or the PEM of one or more.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse) and [`parse_pem`](Self::parse_pem).
    pub fn parse_either(octets: &[u8]) -> Result<Vec<Self>, ReadCrlError> {
        match octets.first() {
            // The tag of a SEQUENCE is the digit 0 in ASCII, and no PEM that we read begins with it.
            Some(0x30) => Ok(vec![Self::parse(octets)?]),
            Some(_) | None => Self::parse_pem(octets),
        }
    }

    /// Verifies that the CA of this certificate made the CRL. Dates are not looked at.
    ///
    /// # Errors
    ///
    /// The name differs in an octet, the certificate does not allow CRLs, or the signature is not by its key.
    pub fn verify(&self, issuer: &IssuerCertificate) -> Result<(), VerifyCrlError> {
        if self.issuer != issuer.subject_der() {
            return Err(VerifyCrlError::OtherIssuer {
                found: self.issuer_text(),
                wanted: issuer.subject_text(),
            });
        }
        issuer.check_crl_sign()?;
        if let (Some(found), Some(wanted)) = (&self.authority_key_id, issuer.subject_key_id())
            && found != wanted
        {
            return Err(VerifyCrlError::OtherKey);
        }
        let signed = SignedFrame::parse(&self.der).map_err(VerifyCrlError::Encoding)?;
        let scheme = SignatureScheme::parse(signed.algorithm).map_err(VerifyCrlError::Scheme)?;
        issuer
            .public_key()
            .key()
            .verify(scheme, signed.to_be_signed, signed.signature)
            .map_err(VerifyCrlError::Signature)
    }

    /// The CRL, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The CRL, PEM, as we write it.
    #[must_use]
    pub fn pem(&self) -> String {
        pem::encode(LABEL, &self.der)
    }

    /// The issuer's name, DER as in the CRL.
    #[must_use]
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// The issuer's name as text (RFC 4514), or its hexadecimal if it cannot be read.
    #[must_use]
    pub fn issuer_text(&self) -> String {
        Name::parse(&self.issuer)
            .map_or_else(|_| hex::encode(&self.issuer), |name| name.to_string())
    }

    /// When it was made.
    #[must_use]
    pub const fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// When the next one is there at the latest; after this time, verifiers refuse the CRL.
    #[must_use]
    pub const fn next_update(&self) -> Timestamp {
        self.next_update
    }

    /// Its number; `None` if it has none, or one above 64 bits, which no CRL of ours has.
    #[must_use]
    pub fn number(&self) -> Option<CrlNumber> {
        let octets = self.number.as_ref()?;
        let mut number = [0; 8];
        let start = number.len().checked_sub(octets.len())?;
        number.get_mut(start..)?.copy_from_slice(octets);
        Some(CrlNumber::new(u64::from_be_bytes(number)))
    }

    /// The kinds of certificates that it is about.
    #[must_use]
    pub const fn scope(&self) -> CrlScope {
        self.scope
    }

    /// Whether it names a distribution point, so that it may list only the certificates that name the same one.
    #[must_use]
    pub const fn is_partition(&self) -> bool {
        self.points.is_some()
    }

    /// The URLs of the distribution point that it names; none without one.
    #[must_use]
    pub fn distribution_points(&self) -> &[String] {
        self.points.as_deref().unwrap_or_default()
    }

    /// The entries in the order of the CRL.
    #[must_use]
    pub fn entries(&self) -> &[Revoked] {
        &self.entries
    }
}

/// The extensions of an entry that are understood.
const KNOWN: [ObjectIdentifier; 2] = [ID_CE_CRL_REASONS, ID_CE_INVALIDITY_DATE];

fn entry(raw: RawEntry<'_>) -> Result<Revoked, &'static str> {
    let serial = SerialNumber::from_octets(raw.serial)
        .map_err(|_| "its serial number is not positive or has more than 20 octets")?;
    let extensions = raw
        .extensions()
        .map_err(|_| "its extensions are malformed")?;
    if duplicate_extension(&extensions).is_some() {
        return Err("it has an extension twice");
    }
    // 5.3.3: entries of an indirect CRL.
    if find(&extensions, ID_CE_CERTIFICATE_ISSUER).is_some() {
        return Err("it is about a certificate of another CA");
    }
    if unknown_critical(&extensions, &KNOWN).is_some() {
        return Err("it has an unknown critical extension");
    }
    let reason = match value::<CrlReason>(&extensions, ID_CE_CRL_REASONS) {
        Ok(None) => Some(RevocationReason::Unspecified),
        Ok(Some(reason)) => RevocationReason::of(reason),
        Err(_) => None,
    };
    let reason = reason.ok_or("its reason is unknown, or belongs into a delta CRL")?;
    let invalidity = value::<GeneralizedTime>(&extensions, ID_CE_INVALIDITY_DATE)
        .map_err(|_| "its invalidity date is malformed")?
        .map(|date| timestamp(Time::GeneralTime(date)));
    Revoked::new(serial, timestamp(raw.at), reason, invalidity)
        .map_err(|_| "its time is before 1970")
}

impl From<ExtensionsError> for ReadCrlError {
    fn from(error: ExtensionsError) -> Self {
        match error {
            ExtensionsError::Encoding(error) => Self::Encoding(error),
            ExtensionsError::TooMany => Self::TooManyExtensions,
        }
    }
}

#[cfg(test)]
mod tests;
