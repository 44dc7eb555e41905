//! A renewed certificate against its predecessor: serial number, dates and signature may differ, and nothing else.

use x509_parser::{
    oid_registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
    prelude::{FromDer as _, X509Certificate, X509Extension},
};

/// Fails with the first difference that users of the CA would notice. Both are DER; a second parser reads them.
pub(super) fn compare(predecessor: &[u8], renewed: &[u8]) -> Result<(), String> {
    let read = |der| X509Certificate::from_der(der).map(|(_, certificate)| certificate);
    let old = read(predecessor).map_err(|error| format!("its predecessor: {error}"))?;
    let new = read(renewed).map_err(|error| error.to_string())?;
    let same = [
        ("issuer", old.issuer().as_raw() == new.issuer().as_raw()),
        ("subject", old.subject().as_raw() == new.subject().as_raw()),
        ("public key", old.public_key().raw == new.public_key().raw),
    ];
    if let Some((what, _)) = same.iter().find(|(_, same)| !same) {
        return Err(format!(
            "its {what} is not that of its predecessor; name the CA that signed the predecessor as issuer"
        ));
    }
    if old.tbs_certificate.raw_serial() == new.tbs_certificate.raw_serial() {
        return Err("it has the serial number of its predecessor".to_owned());
    }
    // The identifier of the key above may be written in more than one way, and names the same key.
    let others =
        |extension: &&X509Extension<'_>| extension.oid != OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER;
    let is_in = |extension: &X509Extension<'_>, all: &[X509Extension<'_>]| {
        all.iter().any(|other| {
            other.oid == extension.oid
                && other.critical == extension.critical
                && other.value == extension.value
        })
    };
    for (one, other, whose) in [
        (&old, &new, "of its predecessor is missing or differs"),
        (&new, &old, "is not that of its predecessor"),
    ] {
        let mut extensions = one.extensions().iter().filter(others);
        if let Some(lost) = extensions.find(|extension| !is_in(extension, other.extensions())) {
            return Err(format!(
                "extension {} {whose}; this program cannot renew such a certificate",
                lost.oid
            ));
        }
    }
    Ok(())
}
