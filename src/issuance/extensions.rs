//! The extensions of a leaf, in a stable order, each with the clause that demands it.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{
        ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE,
        ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
    },
};
use der::{Encode, asn1::OctetString};
use x509_cert::ext::{
    Extension,
    pkix::{
        AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
    },
};

use super::{chain::IssuerCertificate, profile::LeafParams};

const CRITICAL: bool = true;
const NOT_CRITICAL: bool = false;

/// Writes the extensions of the leaf.
pub(super) fn of_leaf(
    params: &LeafParams<'_>,
    issuing: &IssuerCertificate,
) -> der::Result<Vec<Extension>> {
    let csr = params.csr();
    let mut extensions = Vec::with_capacity(6);
    // RFC 5280, 4.2.1.1: MUST be present, non-critical, with the bytes of the issuer's own identifier.
    extensions.push(extension(
        ID_CE_AUTHORITY_KEY_IDENTIFIER,
        NOT_CRITICAL,
        &AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(issuing.authority_key_id())?),
            authority_cert_issuer: None,
            authority_cert_serial_number: None,
        },
    )?);
    // 4.2.1.2: SHOULD be present in end-entity certificates; RFC 7093, section 2, method 1.
    extensions.push(extension(
        ID_CE_SUBJECT_KEY_IDENTIFIER,
        NOT_CRITICAL,
        &SubjectKeyIdentifier(OctetString::new(csr.public_key().key_identifier())?),
    )?);
    // 4.2.1.3: SHOULD be critical; at least one bit must be set when present.
    if !params.key_usage().is_empty() {
        extensions.push(extension(
            ID_CE_KEY_USAGE,
            CRITICAL,
            &KeyUsage(params.key_usage()),
        )?);
    }
    // 4.2.1.9: a leaf carries cA=FALSE, which DER leaves out, hence the empty SEQUENCE. Critical, as
    // cert-manager's CA issuer has it.
    extensions.push(extension(
        ID_CE_BASIC_CONSTRAINTS,
        CRITICAL,
        &BasicConstraints {
            ca: false,
            path_len_constraint: None,
        },
    )?);
    // 4.2.1.12: at least one purpose when present; critical at our choice, which is no.
    if !params.extended_key_usage().is_empty() {
        extensions.push(extension(
            ID_CE_EXT_KEY_USAGE,
            NOT_CRITICAL,
            &ExtendedKeyUsage(params.extended_key_usage().to_vec()),
        )?);
    }
    // 4.2.1.6: MUST be critical if the subject is empty, SHOULD NOT otherwise. The bytes of the CSR.
    if let Some(names) = csr.subject_alt_names() {
        extensions.push(Extension {
            extn_id: ID_CE_SUBJECT_ALT_NAME,
            critical: csr.subject().is_empty(),
            extn_value: OctetString::new(names.der())?,
        });
    }
    // 4.2.1.5 policyMappings, 4.2.1.10 nameConstraints, 4.2.1.11 policyConstraints and 4.2.1.14
    // inhibitAnyPolicy: CA certificates only. None here.
    Ok(extensions)
}

fn extension(oid: ObjectIdentifier, critical: bool, value: &impl Encode) -> der::Result<Extension> {
    Ok(Extension {
        extn_id: oid,
        critical,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}
