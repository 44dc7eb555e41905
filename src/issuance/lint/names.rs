//! Lints on the names of a certificate.

use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
use x509_cert::ext::pkix::KeyUsages;

use super::{Lint, Linted, ensure};
use crate::issuance::{
    claim::Role,
    refusal::RefusalReason,
    san::{GeneralName, SubjectAltNames},
    spiffe,
};

/// Fails if the subject breaks a rule of this kind.
fn subject_breaks(linted: &Linted<'_>, kind: RefusalReason) -> Result<(), String> {
    match linted.subject()?.check() {
        Err(error) if error.reason() == kind => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) const LINTS: &[Lint] = &[
    Lint {
        name: "rfc5280_identity_present",
        citation: "RFC 5280, section 4.1.2.6",
        check: |linted| {
            let named = linted.tbs.extension(ID_CE_SUBJECT_ALT_NAME).is_some();
            ensure(
                named || !linted.subject()?.is_empty(),
                "there is neither a subject nor a SAN",
            )
        },
    },
    Lint {
        name: "rfc5280_san_critical_without_subject_only",
        citation: "RFC 5280, section 4.2.1.6",
        check: |linted| match linted.tbs.extension(ID_CE_SUBJECT_ALT_NAME) {
            Some(names) => ensure(
                names.critical == linted.subject()?.is_empty(),
                "the SAN must be critical exactly when the subject is empty",
            ),
            None => Ok(()),
        },
    },
    Lint {
        name: "rfc5280_ca_has_subject",
        citation: "RFC 5280, section 4.1.2.6",
        check: |linted| {
            ensure(
                !linted.is_ca()? || !linted.subject()?.is_empty(),
                "a CA certificate without a subject",
            )
        },
    },
    Lint {
        name: "rfc5280_subject_is_not_issuer",
        citation: "RFC 5280, sections 4.1.2.6 and 6.1",
        check: |linted| {
            linted
                .issuer
                .chain()
                .check_subject(&linted.subject()?, linted.is_ca()?)
                .map_err(|refusal| refusal.to_string())
        },
    },
    Lint {
        name: "rfc5280_subject_strings",
        citation: "RFC 5280, section 4.1.2.4",
        check: |linted| subject_breaks(linted, RefusalReason::BadString),
    },
    Lint {
        name: "rfc5280_subject_within_upper_bounds",
        citation: "RFC 5280, appendix A.1",
        check: |linted| subject_breaks(linted, RefusalReason::BadSubject),
    },
    Lint {
        name: "rfc5280_san_well_formed",
        citation: "RFC 5280, section 4.2.1.6",
        check: |linted| match linted.tbs.extension(ID_CE_SUBJECT_ALT_NAME) {
            Some(extension) => SubjectAltNames::parse(extension.extn_value.as_bytes())
                .and_then(|names| names.check(linted.issuer.profile().dns_syntax()))
                .map_err(|error| error.to_string()),
            None => Ok(()),
        },
    },
    Lint {
        name: "rfc5280_names_within_constraints",
        citation: "RFC 5280, section 6.1.3 (b) and (c)",
        check: |linted| {
            let role = Role::of(linted.is_ca()?);
            linted
                .issuer
                .chain()
                .check_names(&linted.subject()?, &linted.names()?, role)
                .map_err(|refusal| refusal.to_string())
        },
    },
    Lint {
        name: "spiffe_svid_names_one_workload",
        citation: "SPIFFE X509-SVID, section 2",
        check: |linted| {
            if !linted.issuer.profile().is_spiffe() {
                return Ok(());
            }
            let names = linted.names()?;
            let uris: Vec<_> = names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::Uri(uri) => Some(uri),
                    GeneralName::Dns(_)
                    | GeneralName::Ip(_)
                    | GeneralName::Email(_)
                    | GeneralName::OtherName(_)
                    | GeneralName::Directory(_)
                    | GeneralName::RegisteredId(_)
                    | GeneralName::Other(_) => None,
                })
                .collect();
            ensure(
                matches!(uris.as_slice(), [uri] if spiffe::is_workload(uri)),
                "not exactly one SPIFFE ID",
            )
        },
    },
    Lint {
        name: "spiffe_svid_signs_and_certifies_nothing",
        citation: "SPIFFE X509-SVID, section 4.3",
        check: |linted| {
            let bits = linted.key_usage()?;
            ensure(
                !linted.issuer.profile().is_spiffe()
                    || (bits.contains(KeyUsages::DigitalSignature) && !linted.is_ca()?),
                "no digitalSignature, or a CA certificate",
            )
        },
    },
];
