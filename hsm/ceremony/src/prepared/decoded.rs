//! What plan B shows of bytes that will be signed, as a parser reads them that shares no code with the one that wrote them.

use std::fmt::Write as _;

use pkcs11_issuer::issuance::{PreparedAuthority, crl::PreparedCrl};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

pub(super) fn certificate(text: &mut String, prepared: &PreparedAuthority) {
    let Ok(unsigned) = prepared.unsigned() else {
        return;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(&unsigned) else {
        return;
    };
    let constraints = certificate.basic_constraints().ok().flatten();
    let limit = constraints.and_then(|found| found.value.path_len_constraint);
    let usage = certificate.key_usage().ok().flatten();
    // Writing to a string cannot fail.
    writeln!(
        text,
        "  serial      {}\n  issuer      {}\n  subject     {}\n  not before  {}\n  not after   {}\n  algorithm   {}\n  CA          {}, path length {}\n  key usage   {}",
        certificate.tbs_certificate.raw_serial_as_string(),
        certificate.issuer(),
        certificate.subject(),
        certificate.validity().not_before,
        certificate.validity().not_after,
        prepared.issuer().algorithm(),
        certificate.is_ca(),
        limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string()),
        usage.map_or_else(|| "none".to_owned(), |usage| usage.value.to_string()),
    )
    .ok();
}

pub(super) fn crl(text: &mut String, prepared: &PreparedCrl) {
    let Ok(unsigned) = prepared.unsigned() else {
        return;
    };
    let Ok((_, crl)) = CertificateRevocationList::from_der(&unsigned) else {
        return;
    };
    let next_update = crl.next_update().map(|time| time.to_string());
    writeln!(
        text,
        "  a CRL\n  issuer       {}\n  number       {}\n  this update  {}\n  next update  {}\n  algorithm    {}\n  revoked      {}",
        crl.issuer(),
        crl.crl_number().map(ToString::to_string).unwrap_or_default(),
        crl.last_update(),
        next_update.unwrap_or_default(),
        prepared.algorithm(),
        crl.iter_revoked_certificates().count(),
    )
    .ok();
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
        )
        .ok();
    }
}
