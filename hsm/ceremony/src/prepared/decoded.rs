//! What plan B shows of bytes that will be signed, as a parser reads them that shares no code with the one that wrote them. Names of
//! others are escaped, so that none can pass for a line of the plan.

use std::{error::Error, fmt::Write as _};

use pkcs11_issuer::{
    issuance::{PreparedAuthority, PreparedRequest, crl::PreparedCrl},
    message::shown,
};
use x509_parser::{
    certification_request::X509CertificationRequestInfo,
    prelude::{CertificateRevocationList, FromDer as _, X509Certificate},
};

use crate::hash::Hash;

pub(super) fn certificate(
    text: &mut String,
    prepared: &PreparedAuthority,
) -> Result<(), Box<dyn Error>> {
    let unsigned = prepared.unsigned()?;
    let (_, certificate) = X509Certificate::from_der(&unsigned)?;
    let constraints = certificate.basic_constraints()?;
    let limit = constraints.and_then(|found| found.value.path_len_constraint);
    let usage = certificate.key_usage()?;
    writeln!(
        text,
        "  serial      {}\n  issuer      {}\n  subject     {}\n  not before  {}\n  not after   {}\n  algorithm   {}\n  CA          {}, path length {}\n  key usage   {}",
        certificate.tbs_certificate.raw_serial_as_string(),
        shown(certificate.issuer()),
        shown(certificate.subject()),
        certificate.validity().not_before,
        certificate.validity().not_after,
        prepared.issuer().algorithm(),
        certificate.is_ca(),
        limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string()),
        usage.map_or_else(|| "none".to_owned(), |usage| usage.value.to_string()),
    )?;
    Ok(())
}

pub(super) fn request(text: &mut String, prepared: &PreparedRequest) -> Result<(), Box<dyn Error>> {
    let (_, request) = X509CertificationRequestInfo::from_der(prepared.info())?;
    writeln!(
        text,
        "  a request for a certificate\n  subject     {}\n  public key  SHA-256 {}\n  attributes  {}",
        shown(&request.subject),
        Hash::of(request.subject_pki.raw).hex(),
        request.attributes().len(),
    )?;
    Ok(())
}

pub(super) fn crl(text: &mut String, prepared: &PreparedCrl) -> Result<(), Box<dyn Error>> {
    let unsigned = prepared.unsigned()?;
    let (_, crl) = CertificateRevocationList::from_der(&unsigned)?;
    writeln!(
        text,
        "  a CRL\n  issuer       {}\n  number       {}\n  this update  {}\n  next update  {}\n  algorithm    {}\n  revoked      {}",
        shown(crl.issuer()),
        crl.crl_number().ok_or("the CRL has no number")?,
        crl.last_update(),
        crl.next_update().ok_or("the CRL has no nextUpdate")?,
        prepared.algorithm(),
        crl.iter_revoked_certificates().count(),
    )?;
    for entry in crl.iter_revoked_certificates() {
        let reason = entry.reason_code();
        let reason = reason.map_or_else(|| "unspecified".to_owned(), |(_, code)| code.to_string());
        let since = entry.invalidity_date().map(|(_, since)| since);
        let since = since.map(|since| format!(", invalid since {since}"));
        writeln!(
            text,
            "    {} on {}, {reason}{}",
            entry.raw_serial_as_string(),
            entry.revocation_date,
            since.unwrap_or_default(),
        )?;
    }
    Ok(())
}
