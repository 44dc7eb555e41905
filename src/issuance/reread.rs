//! Compares how two parsers read a certificate: ours, and one that shares no code with ours.

use x509_parser::{extensions::ParsedExtension, prelude::FromDer as _};

use super::{
    oid::Oid,
    raw::{SignedFrame, Tbs},
};

/// The two parsers read a certificate or CRL differently: a bug in our code or in one of the parsers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a second parser reads it differently: {0}")]
pub struct RereadError(pub(super) String);

/// Compares the readings of both parsers. The values of copied extensions are compared as bytes but not parsed.
///
/// # Errors
///
/// Returns the first difference.
pub(super) fn compare(der: &[u8], copied: &[Oid]) -> Result<(), RereadError> {
    let unreadable = |error: &dyn std::fmt::Display| RereadError(error.to_string());
    let signed = SignedFrame::parse(der).map_err(|error| unreadable(&error))?;
    let ours = Tbs::parse(signed.to_be_signed).map_err(|error| unreadable(&error))?;
    let (rest, certificate) = x509_parser::certificate::X509Certificate::from_der(der)
        .map_err(|error| unreadable(&error))?;
    let theirs = &certificate.tbs_certificate;
    let seconds = |time: x509_cert::time::Time| {
        i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
    };
    let fields = [
        ("octets at the end", rest.is_empty()),
        ("to be signed", theirs.as_ref() == signed.to_be_signed),
        ("version", theirs.version.0 == u32::from(ours.version)),
        ("serial", theirs.raw_serial() == ours.serial),
        ("issuer", theirs.issuer.as_raw() == ours.issuer),
        ("subject", theirs.subject.as_raw() == ours.subject),
        ("public key", theirs.subject_pki.raw == ours.spki),
        (
            "notBefore",
            theirs.validity.not_before.timestamp() == seconds(ours.not_before),
        ),
        (
            "notAfter",
            theirs.validity.not_after.timestamp() == seconds(ours.not_after),
        ),
        (
            "signature",
            certificate.signature_value.data.as_ref() == signed.signature,
        ),
        (
            "number of extensions",
            theirs.extensions().len() == ours.extensions.len(),
        ),
    ];
    if let Some((field, _)) = fields.iter().find(|(_, same)| !same) {
        return Err(RereadError((*field).to_owned()));
    }
    for (theirs, ours) in theirs.extensions().iter().zip(&ours.extensions) {
        let same = theirs.oid.as_bytes() == ours.extn_id.as_bytes()
            && theirs.critical == ours.critical
            && theirs.value == ours.extn_value.as_bytes();
        let unreadable = !copied.contains(&ours.extn_id)
            && matches!(
                theirs.parsed_extension(),
                ParsedExtension::ParseError { .. }
            );
        if !same || unreadable {
            return Err(RereadError(format!("extension {}", ours.extn_id)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;

    use super::*;
    use crate::issuance::{pem, testing::Authority};

    fn der(authority: &Authority) -> Vec<u8> {
        let text = authority.pem();
        let blocks = pem::scan(text.as_bytes()).unwrap().blocks;
        blocks.into_iter().next().unwrap().der
    }

    #[test]
    fn a_certificate_that_both_parsers_read_alike_passes() {
        assert_eq!(compare(&der(&Authority::root("root")), &[]), Ok(()));
    }

    #[test]
    fn an_extension_that_the_other_parser_cannot_read_is_an_error_unless_it_was_copied() {
        let odd = Authority::builder("root")
            .extension(ID_CE_SUBJECT_ALT_NAME, false, &[0x30, 1, 0x82])
            .root();
        let error = compare(&der(&odd), &[]).unwrap_err();
        assert_eq!(error, RereadError("extension 2.5.29.17".to_owned()));
        assert_eq!(
            compare(&der(&odd), &[ID_CE_SUBJECT_ALT_NAME.into()]),
            Ok(())
        );
    }

    #[test]
    fn malformed_certificates_are_errors() {
        let mut longer = der(&Authority::root("root"));
        longer.push(0);
        assert!(compare(&longer, &[]).is_err());
        assert!(compare(&[], &[]).is_err());
    }
}
