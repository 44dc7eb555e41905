//! Lints on each entry of a CRL.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{ID_CE_CRL_REASONS, ID_CE_INVALIDITY_DATE},
};
use der::asn1::GeneralizedTime;
use x509_cert::ext::pkix::CrlReason;

use super::{
    super::SerialNumber, Check, CrlLint, at_most_once, ensure, fields::has_right_type,
    has_no_default, only, value_of,
};

/// The extensions that we write.
const OURS: [ObjectIdentifier; 2] = [ID_CE_CRL_REASONS, ID_CE_INVALIDITY_DATE];

pub(super) const LINTS: &[CrlLint] = &[
    CrlLint {
        name: "rfc5280_crl_entry_serial_positive_at_most_20_octets",
        citation: "RFC 5280, sections 4.1.2.2 and 5.1.2.6",
        check: Check::Entry(|entry| {
            SerialNumber::from_octets(entry.raw.serial)
                .map(|_| ())
                .map_err(|error| error.to_string())
        }),
    },
    CrlLint {
        name: "x509_crl_entries_in_order_and_distinct",
        citation: "RFC 5280, section 5.1.2.6; the same entries give the same octets",
        check: Check::Entry(|entry| {
            let own = SerialNumber::from_octets(entry.raw.serial).ok();
            ensure(
                own > entry.before,
                "its serial number is not greater than the one before",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_entry_time_encoding",
        citation: "RFC 5280, section 5.1.2.6",
        check: Check::Entry(|entry| {
            ensure(
                has_right_type(entry.raw.at),
                "a time before 2050 is a GeneralizedTime",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_entry_not_after_this_update",
        citation: "RFC 5280, sections 5.1.2.4 and 5.1.2.6",
        check: Check::Entry(|entry| {
            ensure(
                entry.raw.at.to_unix_duration() <= entry.this_update.to_unix_duration(),
                "it was revoked after the CRL was made",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_entry_extensions_at_most_once",
        citation: "RFC 5280, sections 4.2 and 5.3",
        check: Check::Entry(|entry| at_most_once(&entry.extensions)),
    },
    CrlLint {
        name: "rfc5280_crl_entry_extensions_absent_if_none",
        citation: "RFC 5280, section 5.1.2.6",
        check: Check::Entry(|entry| {
            ensure(
                entry.raw.extensions_der.is_none() || !entry.extensions.is_empty(),
                "crlEntryExtensions is there and empty",
            )
        }),
    },
    CrlLint {
        name: "rfc5280_crl_entry_reason_is_stated_and_not_critical",
        citation: "RFC 5280, section 5.3.1",
        check: Check::Entry(|entry| {
            match value_of::<CrlReason>(&entry.extensions, ID_CE_CRL_REASONS)? {
                None => Ok(()),
                Some((critical, reason)) => ensure(
                    !critical
                        && reason != CrlReason::Unspecified
                        && reason != CrlReason::RemoveFromCRL,
                    "critical, unspecified, or of delta CRLs",
                ),
            }
        }),
    },
    CrlLint {
        name: "rfc5280_crl_entry_invalidity_date_is_not_critical",
        citation: "RFC 5280, section 5.3.2",
        check: Check::Entry(|entry| {
            let found = value_of::<GeneralizedTime>(&entry.extensions, ID_CE_INVALIDITY_DATE)?;
            ensure(found.is_none_or(|(critical, _)| !critical), "critical")
        }),
    },
    CrlLint {
        name: "x509_crl_entry_only_extensions_that_were_meant",
        citation: "RFC 5280, section 5.3",
        check: Check::Entry(|entry| only(&OURS, &entry.extensions)),
    },
    CrlLint {
        name: "x690_crl_entry_extension_defaults_left_out",
        citation: "X.690, clause 11.5",
        check: Check::Entry(|entry| {
            if entry.extensions.is_empty() {
                return Ok(());
            }
            has_no_default(&entry.extensions, entry.raw.extensions_der)
        }),
    },
];
