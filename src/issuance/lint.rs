//! Our own lints on what is about to be signed: each a name, a citation and a check.
//!
//! They look at the encoded certificate with a signature of zeros, read back by a decoder that had no part
//! in writing it. An error is a bug of ours, for the request was admitted before; it blocks.

use std::fmt;

use const_oid::db::rfc5280::{
    ANY_EXTENDED_KEY_USAGE, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS,
    ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
};
use der::{Decode, Encode as _, asn1::UtcTime};
use x509_cert::{
    certificate::Certificate,
    ext::pkix::{
        AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
    },
    time::Time,
};

use super::{
    chain::IssuerCertificate,
    issuer::Issuer,
    key::PublicKey,
    name::Name,
    raw::{Tbs, duplicate_extension},
    san::SubjectAltNames,
    tbs,
};

/// A lint. `name` is stable and labels a metric; `citation` is the clause it enforces.
pub struct Lint {
    /// Stable, source first: `rfc5280_…`.
    pub name: &'static str,
    /// Document and section.
    pub citation: &'static str,
    check: fn(&Linted<'_>) -> Result<(), String>,
}

impl fmt::Debug for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lint")
            .field("name", &self.name)
            .field("citation", &self.citation)
            .finish_non_exhaustive()
    }
}

/// A lint that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lint {lint} ({citation}): {finding}")]
pub struct LintError {
    /// The lint's name.
    pub lint: &'static str,
    /// The clause.
    pub citation: &'static str,
    finding: String,
}

/// What a lint sees.
struct Linted<'a> {
    tbs: Tbs<'a>,
    key: PublicKey,
    issuer: &'a Issuer,
    algorithm: Vec<u8>,
}

impl Linted<'_> {
    fn issuing(&self) -> &IssuerCertificate {
        self.issuer.chain().issuing()
    }

    fn extension<T: for<'d> Decode<'d, Error = der::Error>>(
        &self,
        oid: const_oid::ObjectIdentifier,
    ) -> Result<Option<(bool, T)>, String> {
        self.tbs
            .extension(oid)
            .map(|extension| {
                T::from_der(extension.extn_value.as_bytes())
                    .map(|value| (extension.critical, value))
                    .map_err(|error| format!("extension {oid} cannot be read: {error}"))
            })
            .transpose()
    }

    fn is_ca(&self) -> Result<bool, String> {
        let constraints = self.extension::<BasicConstraints>(ID_CE_BASIC_CONSTRAINTS)?;
        Ok(constraints.is_some_and(|(_, constraints)| constraints.ca))
    }

    fn key_usage(&self) -> Result<Option<(bool, KeyUsage)>, String> {
        self.extension(ID_CE_KEY_USAGE)
    }
}

/// Runs every lint over a TBSCertificate that `issuer` is about to sign.
///
/// # Errors
///
/// The first lint that fails.
pub(super) fn run(tbs_der: &[u8], issuer: &Issuer) -> Result<(), LintError> {
    let undecodable = |finding: String| LintError {
        lint: "decodable",
        citation: "RFC 5280, section 4.1",
        finding,
    };
    let algorithm = issuer
        .algorithm()
        .scheme()
        .to_der()
        .map_err(|error| undecodable(error.to_string()))?;
    second_decoder(tbs_der, &algorithm).map_err(undecodable)?;
    let tbs = Tbs::parse(tbs_der).map_err(|error| undecodable(error.to_string()))?;
    let key = PublicKey::parse(tbs.spki).map_err(|error| undecodable(error.to_string()))?;
    let linted = Linted {
        tbs,
        key,
        issuer,
        algorithm,
    };
    LINTS.iter().try_for_each(|lint| {
        (lint.check)(&linted).map_err(|finding| LintError {
            lint: lint.name,
            citation: lint.citation,
            finding,
        })
    })
}

/// `x509-cert` must read the certificate, with zeros for a signature, and find the same key in it.
fn second_decoder(tbs_der: &[u8], algorithm: &[u8]) -> Result<(), String> {
    let read = || -> der::Result<bool> {
        let der = tbs::certificate(tbs_der, algorithm, &[0; 64])?;
        let certificate = Certificate::from_der(&der)?;
        let spki = certificate
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()?;
        Ok(Tbs::parse(tbs_der)?.spki == spki)
    };
    match read() {
        Ok(true) => Ok(()),
        Ok(false) => Err("a second decoder reads another public key".to_owned()),
        Err(error) => Err(format!("a second decoder cannot read it: {error}")),
    }
}

fn ensure(holds: bool, finding: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(finding.to_owned())
    }
}

/// Every lint, in the order of the fields of a certificate.
pub const LINTS: &[Lint] = &[
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
                "the algorithm inside is not the issuer's",
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
            let issuing = linted.issuing();
            ensure(
                seconds(linted.tbs.not_before) >= Some(issuing.not_before().as_second())
                    && seconds(linted.tbs.not_after)
                        .is_some_and(|last| last <= issuing.not_after().as_second()),
                "the validity is not within the CA's",
            )
        },
    },
    Lint {
        name: "rfc5280_identity_present",
        citation: "RFC 5280, section 4.1.2.6",
        check: |linted| {
            let subject = Name::parse(linted.tbs.subject).map_err(|error| error.to_string())?;
            match linted.tbs.extension(ID_CE_SUBJECT_ALT_NAME) {
                Some(names) => ensure(
                    names.critical == subject.is_empty(),
                    "the SAN must be critical exactly when the subject is empty",
                ),
                None => ensure(!subject.is_empty(), "neither subject nor SAN"),
            }
        },
    },
    Lint {
        name: "rfc5280_subject_is_not_issuer",
        citation: "RFC 5280, section 4.1.2.6",
        check: |linted| {
            ensure(
                linted.tbs.subject != linted.tbs.issuer,
                "a leaf bears its issuer's name",
            )
        },
    },
    Lint {
        name: "rfc5280_no_unique_identifiers",
        citation: "RFC 5280, section 4.1.2.8",
        check: |linted| ensure(!linted.tbs.has_unique_id, "a unique identifier is present"),
    },
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
            Some((critical, id)) => ensure(
                !critical && id.0.as_bytes() == linted.key.key_identifier(),
                "critical, or not that of the key",
            ),
            None => ensure(!linted.is_ca()?, "missing in a CA certificate"),
        },
    },
    Lint {
        name: "rfc5280_key_usage_critical_and_not_empty",
        citation: "RFC 5280, section 4.2.1.3",
        check: |linted| match linted.key_usage()? {
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
        check: |linted| match linted.key_usage()? {
            Some((_, bits)) => ensure(
                linted.key.algorithm().usages().contains(bits.0),
                "a usage that the kind of key cannot have",
            ),
            None => Ok(()),
        },
    },
    Lint {
        name: "rfc5280_basic_constraints_agree_with_key_usage",
        citation: "RFC 5280, section 4.2.1.9",
        check: |linted| {
            let found = linted.extension::<BasicConstraints>(ID_CE_BASIC_CONSTRAINTS)?;
            let Some((true, constraints)) = found else {
                return Err("missing or not critical".to_owned());
            };
            let certifies = linted
                .key_usage()?
                .is_some_and(|(_, bits)| bits.key_cert_sign());
            ensure(
                constraints.ca == certifies,
                "cA and keyCertSign do not go together",
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
        check: |linted| match linted.extension::<ExtendedKeyUsage>(ID_CE_EXT_KEY_USAGE)? {
            Some((_, purposes)) => ensure(
                !purposes.0.is_empty()
                    && (purposes.0.len() == 1 || !purposes.0.contains(&ANY_EXTENDED_KEY_USAGE)),
                "no purpose, or any among others",
            ),
            None => Ok(()),
        },
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
];

#[cfg(test)]
mod tests;
