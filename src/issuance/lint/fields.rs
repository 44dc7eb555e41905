//! Lints on the fields of a TBSCertificate.

use der::asn1::UtcTime;
use x509_cert::time::Time;

use super::{Lint, ensure};

pub(super) const LINTS: &[Lint] = &[
    Lint {
        name: "rfc5280_version_3",
        citation: "RFC 5280, section 4.1.2.1",
        check: |linted| ensure(linted.tbs.version == 2, "the version is not 3"),
    },
    Lint {
        name: "rfc5280_serial_positive_at_most_20_octets",
        citation: "RFC 5280, section 4.1.2.2",
        check: |linted| match linted.tbs.serial {
            [first, ..] if *first >= 0x80 => Err("the serial is negative".to_owned()),
            octets if octets.iter().all(|&octet| octet == 0) => {
                Err("the serial is zero".to_owned())
            }
            octets => ensure(octets.len() <= 20, "the serial has more than 20 octets"),
        },
    },
    Lint {
        name: "cabf_serial_at_least_64_bits",
        citation: "CA/Browser Forum TLS BR, section 7.1",
        check: |linted| {
            ensure(
                linted.tbs.serial.len() > 8,
                "the serial has no room for 64 random bits",
            )
        },
    },
    Lint {
        name: "rfc5280_algorithm_fits_issuer_key",
        citation: "RFC 5280, section 4.1.2.3",
        check: |linted| {
            ensure(
                linted.tbs.algorithm == linted.algorithm
                    && linted
                        .issuer
                        .algorithm()
                        .fits(linted.issuing().public_key().algorithm()),
                "the inner signature algorithm is not the issuer's",
            )
        },
    },
    Lint {
        name: "rfc5280_issuer_is_ca_subject",
        citation: "RFC 5280, section 4.1.2.4",
        check: |linted| {
            ensure(
                linted.tbs.issuer == linted.issuing().subject_der(),
                "the issuer is not the CA's subject, byte for byte",
            )
        },
    },
    Lint {
        name: "rfc5280_time_encoding",
        citation: "RFC 5280, section 4.1.2.5",
        check: |linted| {
            [linted.tbs.not_before, linted.tbs.not_after]
                .into_iter()
                .try_for_each(|time| match time {
                    Time::UtcTime(_) => Ok(()),
                    Time::GeneralTime(time) => ensure(
                        time.to_date_time().year() > UtcTime::MAX_YEAR,
                        "a time before 2050 is a GeneralizedTime",
                    ),
                })
        },
    },
    Lint {
        name: "rfc5280_validity_in_order",
        citation: "RFC 5280, section 4.1.2.5",
        check: |linted| {
            ensure(
                linted.tbs.not_before.to_unix_duration() < linted.tbs.not_after.to_unix_duration(),
                "notAfter is not after notBefore",
            )
        },
    },
    Lint {
        name: "rfc5280_validity_within_ca",
        citation: "RFC 5280, section 6.1.3",
        check: |linted| {
            let seconds = |time: Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
            let first = seconds(linted.tbs.not_before);
            let last = seconds(linted.tbs.not_after);
            let outside = linted.issuer.chain().certificates().find(|certificate| {
                first < Some(certificate.not_before().as_second())
                    || last.is_none_or(|last| last > certificate.not_after().as_second())
            });
            match outside {
                Some(certificate) => Err(format!(
                    "the validity is not within that of {:?}",
                    certificate.subject_text()
                )),
                None => Ok(()),
            }
        },
    },
    Lint {
        name: "rfc5280_no_unique_identifiers",
        citation: "RFC 5280, section 4.1.2.8",
        check: |linted| ensure(!linted.tbs.has_unique_id, "a unique identifier is present"),
    },
];
