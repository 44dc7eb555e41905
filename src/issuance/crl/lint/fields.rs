//! Lints on the fields and extensions of a CRL.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{
        ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CRL_NUMBER, ID_CE_ISSUING_DISTRIBUTION_POINT,
    },
};
use der::asn1::UtcTime;
use x509_cert::{
    ext::pkix::{AuthorityKeyIdentifier, crl::IssuingDistributionPoint},
    time::Time,
};

use super::{
    super::write::issuing_distribution_point, Check, CrlLint, at_most_once, ensure, has_no_default,
    only, value_of,
};

/// The extensions that we write.
const OURS: [ObjectIdentifier; 3] = [
    ID_CE_AUTHORITY_KEY_IDENTIFIER,
    ID_CE_CRL_NUMBER,
    ID_CE_ISSUING_DISTRIBUTION_POINT,
];

/// Whether a time before 2050 is a UTCTime and every other time a GeneralizedTime.
pub(super) fn has_right_type(time: Time) -> bool {
    match time {
        Time::UtcTime(_) => true,
        Time::GeneralTime(time) => time.to_date_time().year() > UtcTime::MAX_YEAR,
    }
}

pub(super) const LINTS: &[CrlLint] = &[
    CrlLint {
        name: "rfc5280_crl_issuer_may_sign_crls",
        citation: "RFC 5280, sections 4.2.1.3 and 6.3.3 (f)",
        check: Check::List(|crl| {
            crl.issuing
                .check_crl_sign()
                .map_err(|error| error.to_string())
        }),
    },
    CrlLint {
        name: "rfc5280_crl_version_2",
        citation: "RFC 5280, section 5.1.2.1",
        check: Check::List(|crl| ensure(crl.list.version == Some(1), "the version is not 2")),
    },
    CrlLint {
        name: "rfc5280_crl_algorithm_fits_issuer_key",
        citation: "RFC 5280, section 5.1.2.2",
        check: Check::List(|crl| {
            ensure(
                crl.list.algorithm == crl.algorithm_der
                    && crl.algorithm.fits(crl.issuing.public_key().algorithm()),
                "the inner signature algorithm is not the issuer's",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_issuer_is_ca_subject",
        citation: "RFC 5280, section 5.1.2.3",
        check: Check::List(|crl| {
            ensure(
                crl.list.issuer == crl.issuing.subject_der(),
                "the issuer is not the CA's subject, byte for byte",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_time_encoding",
        citation: "RFC 5280, sections 5.1.2.4 and 5.1.2.5",
        check: Check::List(|crl| {
            let times = [Some(crl.list.this_update), crl.list.next_update];
            ensure(
                times.into_iter().flatten().all(has_right_type),
                "a time before 2050 is a GeneralizedTime",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_next_update_after_this_update",
        citation: "RFC 5280, section 5.1.2.5",
        check: Check::List(|crl| {
            let this = crl.list.this_update.to_unix_duration();
            ensure(
                crl.list
                    .next_update
                    .is_some_and(|next| next.to_unix_duration() > this),
                "nextUpdate is missing or not after thisUpdate",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_list_absent_if_empty",
        citation: "RFC 5280, section 5.1.2.6",
        check: Check::List(|crl| {
            ensure(
                crl.list.has_entries() != crl.list.entries_der().is_empty(),
                "revokedCertificates is there and empty",
            )
        }),
    },
    CrlLint {
        name: "x509_crl_lists_every_revoked_certificate",
        citation: "the revoked certificates that were given",
        check: Check::List(|crl| {
            ensure(
                crl.list.entries().count() == crl.params.revoked.len(),
                "the number of entries is another one",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_extensions_at_most_once",
        citation: "RFC 5280, sections 4.2 and 5.2",
        check: Check::List(|crl| at_most_once(&crl.extensions)),
    },
    CrlLint {
        name: "rfc5280_crl_authority_key_id_is_of_the_signing_key",
        citation: "RFC 5280, section 5.2.1",
        check: Check::List(|crl| {
            let found = value_of::<AuthorityKeyIdentifier>(
                &crl.extensions,
                ID_CE_AUTHORITY_KEY_IDENTIFIER,
            )?;
            let Some((false, identifier)) = found else {
                return Err("missing or critical".to_owned());
            };
            let wanted = crl.issuing.authority_key_id();
            ensure(
                identifier
                    .key_identifier
                    .is_some_and(|octets| octets.as_bytes() == wanted)
                    && identifier.authority_cert_issuer.is_none()
                    && identifier.authority_cert_serial_number.is_none(),
                "not the key identifier of the issuing certificate alone",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_number_is_the_given_one",
        citation: "RFC 5280, section 5.2.3",
        check: Check::List(|crl| {
            let found = value_of::<u64>(&crl.extensions, ID_CE_CRL_NUMBER)?;
            ensure(
                found == Some((false, crl.params.number.get())),
                "missing, critical, or another number",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_issuing_distribution_point_where_partitioned",
        citation: "RFC 5280, section 5.2.5",
        check: Check::List(|crl| {
            let found = value_of::<IssuingDistributionPoint>(
                &crl.extensions,
                ID_CE_ISSUING_DISTRIBUTION_POINT,
            )?;
            let wanted = crl
                .params
                .partition
                .map(issuing_distribution_point)
                .transpose()
                .map_err(|error| error.to_string())?;
            ensure(
                found == wanted.map(|point| (true, point)) && crl.params.partition != Some(&[]),
                "not critical, without a URL, or not exactly where the CRL is a partition",
            )
        }),
    },
    CrlLint {
        name: "x509_crl_only_extensions_that_were_meant",
        citation: "RFC 5280, section 5.2",
        check: Check::List(|crl| only(&OURS, &crl.extensions)),
    },
    CrlLint {
        name: "x690_crl_extension_defaults_left_out",
        citation: "X.690, clause 11.5",
        check: Check::List(|crl| has_no_default(&crl.extensions, crl.list.extensions_der)),
    },
];
