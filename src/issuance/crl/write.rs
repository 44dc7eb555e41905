//! Encoding of the CRL that is to be signed (RFC 5280, section 5.1).

use const_oid::db::rfc5280::{
    ID_CE_CRL_NUMBER, ID_CE_CRL_REASONS, ID_CE_INVALIDITY_DATE, ID_CE_ISSUING_DISTRIBUTION_POINT,
};
use der::{
    Decode as _, Encode as _, Sequence, Tag,
    asn1::{AnyRef, ContextSpecific, GeneralizedTime, IntRef},
};
use x509_cert::{
    ext::pkix::{CrlReason, crl::IssuingDistributionPoint, name::DistributionPointName},
    time::Time,
};

use super::{CrlParams, RevocationReason, Revoked};
use crate::issuance::{
    chain::IssuerCertificate,
    extensions::{CRITICAL, NOT_CRITICAL, authority_key_id, extension, uri},
    profile::HttpUrl,
    raw::Extension,
    tbs::{explicit, time},
};

#[derive(Sequence)]
struct TbsCertList<'a> {
    version: u8,
    algorithm: AnyRef<'a>,
    issuer: AnyRef<'a>,
    this_update: Time,
    next_update: Time,
    #[asn1(optional = "true")]
    revoked: Option<AnyRef<'a>>,
    extensions: ContextSpecific<Vec<Extension>>,
}

#[derive(Sequence)]
struct Entry<'a> {
    serial: IntRef<'a>,
    at: Time,
    #[asn1(optional = "true")]
    extensions: Option<Vec<Extension>>,
}

/// Encodes the TBSCertList as DER, with the entries in the given order.
pub(super) fn to_der(
    params: &CrlParams<'_>,
    entries: &[&Revoked],
    issuing: &IssuerCertificate,
    algorithm: &[u8],
) -> der::Result<Vec<u8>> {
    let mut revoked = Vec::new();
    for entry in entries {
        encode(entry, params, &mut revoked)?;
    }
    TbsCertList {
        // 5.1.2.1: version 2 (1), because there are extensions.
        version: 1,
        // 5.1.2.2: the same as the outer algorithm.
        algorithm: AnyRef::from_der(algorithm)?,
        // 5.1.2.3: the name of the CA, octet for octet as in the issuing certificate.
        issuer: AnyRef::from_der(issuing.subject_der())?,
        // 5.1.2.4 and 5.1.2.5: both times MUST be present.
        this_update: time(params.this_update)?,
        next_update: time(params.next_update)?,
        // 5.1.2.6: the list MUST be absent if there is no entry.
        revoked: match revoked.as_slice() {
            [] => None,
            entries => Some(AnyRef::new(Tag::Sequence, entries)?),
        },
        extensions: explicit(0, extensions(params, issuing)?),
    }
    .to_der()
}

fn encode(revoked: &Revoked, params: &CrlParams<'_>, into: &mut Vec<u8>) -> der::Result<()> {
    let mut extensions = Vec::new();
    // 5.3.1: non-critical. The reason SHOULD be absent instead of unspecified.
    if revoked.reason() != RevocationReason::Unspecified {
        let reason = CrlReason::from(revoked.reason());
        extensions.push(extension(ID_CE_CRL_REASONS, NOT_CRITICAL, &reason)?);
    }
    // 5.3.2: non-critical, and always a GeneralizedTime.
    if let Some(invalidity) = revoked.invalidity() {
        let date = GeneralizedTime::from_unix_duration(time(invalidity)?.to_unix_duration())?;
        extensions.push(extension(ID_CE_INVALIDITY_DATE, NOT_CRITICAL, &date)?);
    }
    Entry {
        serial: IntRef::new(revoked.serial().octets())?,
        // 5.1.2.4 and 5.1.2.6: not after thisUpdate. The clock of who revoked may be ahead of the clock of who signs.
        at: time(revoked.at().min(params.this_update))?,
        extensions: Some(extensions).filter(|extensions| !extensions.is_empty()),
    }
    .encode_to_vec(into)?;
    Ok(())
}

fn extensions(params: &CrlParams<'_>, issuing: &IssuerCertificate) -> der::Result<Vec<Extension>> {
    let mut extensions = vec![
        // 5.2.1: of the key that signs, and not of the key that signed its certificate.
        authority_key_id(&issuing.authority_key_id())?,
        // 5.2.3: MUST be present and non-critical.
        extension(ID_CE_CRL_NUMBER, NOT_CRITICAL, &params.number.get())?,
    ];
    // 5.2.5: MUST be critical. A verifier must know that the CRL lists only the certificates with this distribution point.
    if let Some(urls) = params.partition {
        extensions.push(extension(
            ID_CE_ISSUING_DISTRIBUTION_POINT,
            CRITICAL,
            &issuing_distribution_point(urls)?,
        )?);
    }
    // 5.2.2 issuerAltName, 5.2.6 freshestCRL, 5.2.7 authorityInfoAccess: none. 5.2.4 deltaCRLIndicator: we make no delta CRLs.
    Ok(extensions)
}

/// Returns the distribution point with these URLs, without a limit to kinds of certificates or reasons.
pub(super) fn issuing_distribution_point(
    urls: &[HttpUrl],
) -> der::Result<IssuingDistributionPoint> {
    let names = urls.iter().map(uri).collect::<der::Result<_>>()?;
    Ok(IssuingDistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(names)),
        only_contains_user_certs: false,
        only_contains_ca_certs: false,
        only_some_reasons: None,
        indirect_crl: false,
        only_contains_attribute_certs: false,
    })
}
