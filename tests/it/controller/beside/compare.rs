//! Compares two certificates for one request field by field.

use anyhow::{Context as _, Result};
use x509_parser::{
    extensions::ParsedExtension,
    oid_registry::{
        OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_KEY_USAGE,
        OID_X509_EXT_NAME_CONSTRAINTS, OID_X509_EXT_SUBJECT_ALT_NAME,
        OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid,
    },
    pem::{Pem, parse_x509_pem},
    prelude::X509Certificate,
};

/// Returns the names of the fields that differ, in the order of the certificate's fields. The authority key identifiers must
/// differ, so each is checked against its own issuer. Serial numbers and the start of validity are not compared.
pub(super) fn differences(
    ours: &str,
    our_ca: &str,
    theirs: &str,
    their_ca: &str,
) -> Result<Vec<String>> {
    let (ours, our_ca) = (pem(ours)?, pem(our_ca)?);
    let (theirs, their_ca) = (pem(theirs)?, pem(their_ca)?);
    let (ours, our_ca) = (ours.parse_x509()?, our_ca.parse_x509()?);
    let (theirs, their_ca) = (theirs.parse_x509()?, their_ca.parse_x509()?);
    let mut differences = Vec::new();
    let mut compare = |name: &str, same: bool| {
        if !same {
            differences.push(name.to_owned());
        }
    };
    compare("version", ours.version == theirs.version);
    compare(
        "signatureAlgorithm",
        ours.signature_algorithm == theirs.signature_algorithm,
    );
    compare("lifetime", lifetime(&ours) == lifetime(&theirs));
    compare(
        "subject",
        ours.subject().as_raw() == theirs.subject().as_raw(),
    );
    compare(
        "subjectPublicKeyInfo",
        ours.public_key().raw == theirs.public_key().raw,
    );
    compare(
        "authorityKeyIdentifier",
        names_its_issuer(&ours, &our_ca)? && names_its_issuer(&theirs, &their_ca)?,
    );
    let mut oids: Vec<_> = ours
        .extensions()
        .iter()
        .chain(theirs.extensions())
        .map(|extension| &extension.oid)
        .collect();
    oids.sort_by_key(|oid| oid.to_id_string());
    oids.dedup();
    for oid in oids {
        if *oid == OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER {
            continue;
        }
        compare(
            &name(oid),
            extension(&ours, oid)? == extension(&theirs, oid)?,
        );
    }
    Ok(differences)
}

/// The first certificate of a chain.
fn pem(chain: &str) -> Result<Pem> {
    Ok(parse_x509_pem(chain.as_bytes()).context("no PEM")?.1)
}

fn lifetime(certificate: &X509Certificate<'_>) -> i64 {
    let validity = certificate.validity();
    validity.not_after.timestamp() - validity.not_before.timestamp()
}

/// Returns the criticality and the value of an extension.
fn extension<'a>(
    certificate: &'a X509Certificate<'_>,
    oid: &Oid<'_>,
) -> Result<Option<(bool, &'a [u8])>> {
    let extension = certificate.get_extension_unique(oid)?;
    Ok(extension.map(|extension| (extension.critical, extension.value)))
}

fn names_its_issuer(
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
) -> Result<bool> {
    let authority = certificate
        .get_extension_unique(&OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER)?
        .context("no authority key identifier")?;
    let subject = issuer
        .get_extension_unique(&OID_X509_EXT_SUBJECT_KEY_IDENTIFIER)?
        .context("no subject key identifier")?;
    let (
        ParsedExtension::AuthorityKeyIdentifier(authority),
        ParsedExtension::SubjectKeyIdentifier(subject),
    ) = (authority.parsed_extension(), subject.parsed_extension())
    else {
        anyhow::bail!("a key identifier cannot be read");
    };
    Ok(authority.key_identifier.as_ref() == Some(subject))
}

/// Returns the name of an extension as in RFC 5280, or else its OID.
fn name(oid: &Oid<'_>) -> String {
    let known = [
        (OID_X509_EXT_KEY_USAGE, "keyUsage"),
        (OID_X509_EXT_SUBJECT_ALT_NAME, "subjectAltName"),
        (OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, "subjectKeyIdentifier"),
        (OID_X509_EXT_NAME_CONSTRAINTS, "nameConstraints"),
    ];
    let known = known.iter().find(|(known, _)| known == oid);
    known.map_or_else(|| oid.to_id_string(), |(_, name)| (*name).to_owned())
}
