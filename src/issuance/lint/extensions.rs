//! Lints on the extensions of a certificate.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{
        ANY_EXTENDED_KEY_USAGE, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS,
        ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_EXT_KEY_USAGE,
        ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS, ID_CE_SUBJECT_ALT_NAME,
        ID_CE_SUBJECT_KEY_IDENTIFIER, ID_PE_AUTHORITY_INFO_ACCESS,
    },
};
use der::Encode as _;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, KeyUsage, KeyUsages, SubjectKeyIdentifier};

use super::{Lint, Linted, ensure};
use crate::issuance::{
    constraints::NameConstraints, extensions::ID_CE_NO_REV_AVAIL, oid::Oid,
    raw::duplicate_extension,
};

/// The extensions that an issuer writes itself.
const OURS: [ObjectIdentifier; 11] = [
    ID_CE_AUTHORITY_KEY_IDENTIFIER,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
    ID_CE_KEY_USAGE,
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_SUBJECT_ALT_NAME,
    ID_CE_CERTIFICATE_POLICIES,
    ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_PE_AUTHORITY_INFO_ACCESS,
    ID_CE_NAME_CONSTRAINTS,
    ID_CE_NO_REV_AVAIL,
];

/// Checks that the value is encoded as our encoder encodes it: without explicit defaults or superfluous bits.
fn is_minimal<T>(linted: &Linted<'_>, oid: ObjectIdentifier) -> Result<(), String>
where
    T: for<'d> der::Decode<'d, Error = der::Error> + der::Encode,
{
    let (Some((_, value)), Some(extension)) =
        (linted.extension::<T>(oid)?, linted.tbs.extension(oid))
    else {
        return Ok(());
    };
    let again = value.to_der().map_err(|error| error.to_string())?;
    ensure(
        again == extension.extn_value.as_bytes(),
        "the value is not in its shortest encoding",
    )
}

pub(super) const LINTS: &[Lint] = &[
    Lint {
        name: "rfc5280_extensions_at_most_once",
        citation: "RFC 5280, section 4.2",
        check: |linted| match duplicate_extension(&linted.tbs.extensions) {
            Some(oid) => Err(format!("extension {oid} occurs twice")),
            None => Ok(()),
        },
    },
    Lint {
        name: "rfc5280_authority_key_id_matches_ca",
        citation: "RFC 5280, section 4.2.1.1",
        check: |linted| {
            let found =
                linted.extension::<AuthorityKeyIdentifier>(ID_CE_AUTHORITY_KEY_IDENTIFIER)?;
            let Some((false, identifier)) = found else {
                return Err("missing or critical".to_owned());
            };
            ensure(
                identifier
                    .key_identifier
                    .is_some_and(|octets| octets.as_bytes() == linted.issuing().authority_key_id()),
                "the key identifier is not that of the CA",
            )
        },
    },
    Lint {
        name: "rfc5280_subject_key_id_is_of_the_key",
        citation: "RFC 5280, section 4.2.1.2",
        check: |linted| match linted
            .extension::<SubjectKeyIdentifier>(ID_CE_SUBJECT_KEY_IDENTIFIER)?
        {
            Some((critical, id)) => {
                let computed = || linted.key.key_identifier();
                let expected = linted.kept_key_id.map_or_else(computed, <[u8]>::to_vec);
                ensure(
                    !critical && id.0.as_bytes() == expected,
                    "critical, or not that of the key",
                )
            }
            None => ensure(!linted.is_ca()?, "missing in a CA certificate"),
        },
    },
    Lint {
        name: "rfc5280_key_usage_critical_and_not_empty",
        citation: "RFC 5280, section 4.2.1.3",
        check: |linted| match linted.extension::<KeyUsage>(ID_CE_KEY_USAGE)? {
            Some((critical, bits)) => ensure(
                critical && !bits.0.is_empty(),
                "not critical, or no bit set",
            ),
            None => Ok(()),
        },
    },
    Lint {
        name: "rfc8813_key_usage_fits_key",
        citation: "RFC 8813, section 3; RFC 9295, section 3; RFC 3279, section 2.3.1",
        check: |linted| {
            ensure(
                linted
                    .key
                    .algorithm()
                    .usages()
                    .contains(linted.key_usage()?),
                "a usage that the kind of key cannot have",
            )
        },
    },
    Lint {
        name: "rfc5280_basic_constraints_agree_with_key_usage",
        citation: "RFC 5280, section 4.2.1.9",
        check: |linted| {
            let Some((true, constraints)) = linted.basic_constraints()? else {
                return Err("missing or not critical".to_owned());
            };
            let certifies = linted.key_usage()?.contains(KeyUsages::KeyCertSign);
            ensure(
                constraints.ca == certifies,
                "cA and keyCertSign do not agree",
            )?;
            ensure(
                constraints.ca || constraints.path_len_constraint.is_none(),
                "a path length without cA",
            )
        },
    },
    Lint {
        name: "rfc5280_extended_key_usage_names_purposes",
        citation: "RFC 5280, section 4.2.1.12",
        check: |linted| match linted.extension::<Vec<Oid>>(ID_CE_EXT_KEY_USAGE)? {
            Some((_, purposes)) => ensure(
                !purposes.is_empty()
                    && (purposes.len() == 1
                        || !purposes.contains(&Oid::of(ANY_EXTENDED_KEY_USAGE))),
                "no purpose, or anyExtendedKeyUsage together with others",
            ),
            None => Ok(()),
        },
    },
    Lint {
        name: "x690_extension_defaults_left_out",
        citation: "X.690, clause 11.5",
        check: |linted| {
            let again = linted
                .tbs
                .extensions
                .to_der()
                .map_err(|error| error.to_string())?;
            ensure(
                again == linted.tbs.extensions_der,
                "the default critical=FALSE is encoded",
            )
        },
    },
    Lint {
        name: "x690_key_usage_minimal",
        citation: "X.690, clause 11.2.2",
        check: |linted| is_minimal::<KeyUsage>(linted, ID_CE_KEY_USAGE),
    },
    Lint {
        name: "x690_basic_constraints_minimal",
        citation: "X.690, clause 11.5",
        check: |linted| {
            is_minimal::<x509_cert::ext::pkix::BasicConstraints>(linted, ID_CE_BASIC_CONSTRAINTS)
        },
    },
    Lint {
        name: "x509_only_extensions_that_were_meant",
        citation: "the profile's extensions.fromCSR",
        check: |linted| {
            let copied = linted.issuer.profile().copied_extensions();
            match linted.tbs.extensions.iter().find(|e| {
                !OURS.iter().any(|ours| e.extn_id == *ours) && !copied.contains(&e.extn_id)
            }) {
                Some(stray) => Err(format!(
                    "extension {} is neither the issuer's nor copied from the CSR",
                    stray.extn_id
                )),
                None => Ok(()),
            }
        },
    },
    Lint {
        name: "rfc5280_authority_key_id_names_the_key_only",
        citation: "RFC 5280, section 4.2.1.1",
        check: |linted| {
            let found =
                linted.extension::<AuthorityKeyIdentifier>(ID_CE_AUTHORITY_KEY_IDENTIFIER)?;
            ensure(
                found.is_none_or(|(_, id)| {
                    id.authority_cert_issuer.is_none() && id.authority_cert_serial_number.is_none()
                }),
                "an issuer and serial number would break when the CA is cross-certified",
            )
        },
    },
    Lint {
        name: "rfc5280_encipher_only_needs_key_agreement",
        citation: "RFC 5280, section 4.2.1.3",
        check: |linted| {
            let bits = linted.key_usage()?;
            ensure(
                bits.contains(KeyUsages::KeyAgreement)
                    || bits.is_disjoint(KeyUsages::EncipherOnly | KeyUsages::DecipherOnly),
                "encipherOnly or decipherOnly without keyAgreement",
            )
        },
    },
    Lint {
        name: "rfc5280_path_length_within_ca",
        citation: "RFC 5280, section 6.1.4 (m)",
        check: |linted| match linted.basic_constraints()? {
            Some((_, constraints)) if constraints.ca => linted
                .issuer
                .chain()
                .check_authority(constraints.path_len_constraint)
                .map_err(|refusal| refusal.to_string()),
            Some(_) | None => Ok(()),
        },
    },
    Lint {
        name: "rfc5280_extended_key_usage_distinct",
        citation: "RFC 5280, section 4.2.1.12",
        check: |linted| {
            let purposes = linted.purposes()?;
            let repeated = |(index, purpose)| purposes.iter().skip(index + 1).any(|p| p == purpose);
            ensure(
                !purposes.iter().enumerate().any(repeated),
                "a purpose occurs twice",
            )
        },
    },
    Lint {
        name: "cabf_extended_key_usage_within_ca",
        citation: "CA/Browser Forum TLS BR, section 7.1.2.10.6",
        check: |linted| {
            linted
                .issuer
                .chain()
                .check_purposes(&linted.purposes()?)
                .map_err(|refusal| refusal.to_string())
        },
    },
    Lint {
        name: "rfc5280_name_constraints_critical_and_in_ca_only",
        citation: "RFC 5280, section 4.2.1.10",
        check: |linted| match linted.tbs.extension(ID_CE_NAME_CONSTRAINTS) {
            Some(extension) => ensure(
                extension.critical && linted.is_ca()?,
                "not critical, or in a leaf",
            ),
            None => Ok(()),
        },
    },
    Lint {
        name: "rfc5280_name_constraints_enforceable",
        citation: "RFC 5280, section 4.2.1.10",
        check: |linted| match linted.tbs.extension(ID_CE_NAME_CONSTRAINTS) {
            Some(extension) => NameConstraints::parse(extension.extn_value.as_bytes())
                .map(|_| ())
                .map_err(|error| error.to_string()),
            None => Ok(()),
        },
    },
];
