//! What commands about certificates print as JSON and YAML. The names of fields stay.

use jiff::Timestamp;
use serde::Serialize;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{
        DistributionPointName, GeneralName, GeneralSubtree, ParsedExtension, X509Extension,
    },
    prelude::FromDer as _,
    time::ASN1Time,
};

use crate::{
    cli::words::{alternative, oid_name, purposes, sha256},
    issuance::PublicKey,
};

/// A decoded certificate. Fields of extensions are `null` or empty where the certificate lacks the extension.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CertificateRecord {
    pub(super) subject: String,
    pub(super) issuer: String,
    /// Hexadecimal.
    pub(super) serial: String,
    pub(super) version: u32,
    /// RFC 3339.
    pub(super) not_before: String,
    pub(super) not_after: String,
    pub(super) key: KeyDescription,
    pub(super) signature_algorithm: String,
    /// Issuer and subject are the same name.
    pub(super) self_issued: bool,
    pub(super) subject_alternative_names: Vec<String>,
    pub(super) key_usage: Vec<String>,
    pub(super) extended_key_usage: Vec<String>,
    pub(super) basic_constraints: Option<BasicConstraintsRecord>,
    pub(super) name_constraints: Option<NameConstraintsRecord>,
    pub(super) crl_distribution_points: Vec<String>,
    /// Method and location of each.
    pub(super) authority_information: Vec<String>,
    /// OIDs.
    pub(super) policies: Vec<String>,
    pub(super) subject_key_identifier: Option<String>,
    pub(super) authority_key_identifier: Option<String>,
    /// Extensions without a field of their own, or that cannot be read.
    pub(super) other_extensions: Vec<OtherExtension>,
    /// Names of the critical extensions.
    pub(super) critical: Vec<String>,
    pub(super) sha256: String,
    /// An old name for the certificate, and no proof of anything.
    pub(super) sha1: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyDescription {
    /// Type and size or curve.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Why this program would not certify such a key, or issue with it; `null` if it would.
    pub(super) problem: Option<String>,
    /// Of the SubjectPublicKeyInfo.
    pub(super) sha256: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BasicConstraintsRecord {
    pub(super) ca: bool,
    pub(super) path_length: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NameConstraintsRecord {
    pub(super) permitted: Vec<String>,
    pub(super) excluded: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OtherExtension {
    pub(super) oid: String,
    pub(super) name: String,
    /// Hexadecimal.
    pub(super) value: String,
}

impl CertificateRecord {
    /// Decodes a certificate; `None` if it is none.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let tbs = &certificate.tbs_certificate;
        let spki = tbs.subject_pki.raw;
        let (kind, problem) = match PublicKey::parse(spki) {
            Ok(key) => (key.algorithm().to_string(), None),
            Err(error) => (
                oid_name(&tbs.subject_pki.algorithm.algorithm.to_id_string()),
                Some(error.to_string()),
            ),
        };
        let mut record = Self {
            subject: tbs.subject.to_string(),
            issuer: tbs.issuer.to_string(),
            serial: hex::encode(tbs.raw_serial()),
            version: tbs.version.0.saturating_add(1),
            not_before: time(tbs.validity.not_before),
            not_after: time(tbs.validity.not_after),
            key: KeyDescription {
                kind,
                problem,
                sha256: sha256(spki),
            },
            signature_algorithm: oid_name(
                &certificate.signature_algorithm.algorithm.to_id_string(),
            ),
            self_issued: tbs.subject.as_raw() == tbs.issuer.as_raw(),
            sha256: sha256(der),
            sha1: hex::encode(aws_lc_rs::digest::digest(
                &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
                der,
            )),
            ..Self::default()
        };
        for extension in tbs.extensions() {
            record.take(extension);
        }
        Some(record)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other extension is shown as its octets"
    )]
    fn take(&mut self, extension: &X509Extension<'_>) {
        let oid = extension.oid.to_id_string();
        if extension.critical {
            self.critical.push(oid_name(&oid));
        }
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                self.subject_alternative_names =
                    names.general_names.iter().map(alternative).collect();
            }
            ParsedExtension::KeyUsage(usage) => {
                let words = usage.to_string();
                let words = words.split(", ").filter(|word| !word.is_empty());
                self.key_usage = words.map(str::to_lowercase).collect();
            }
            ParsedExtension::ExtendedKeyUsage(usages) => self.extended_key_usage = purposes(usages),
            ParsedExtension::BasicConstraints(constraints) => {
                self.basic_constraints = Some(BasicConstraintsRecord {
                    ca: constraints.ca,
                    path_length: constraints.path_len_constraint,
                });
            }
            ParsedExtension::NameConstraints(constraints) => {
                self.name_constraints = Some(NameConstraintsRecord {
                    permitted: subtrees(constraints.permitted_subtrees.as_deref()),
                    excluded: subtrees(constraints.excluded_subtrees.as_deref()),
                });
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                for point in points.iter() {
                    if let Some(DistributionPointName::FullName(names)) = &point.distribution_point
                    {
                        let names = names.iter().map(alternative);
                        self.crl_distribution_points.extend(names);
                    }
                }
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                let all = access.iter().map(|one| {
                    let method = oid_name(&one.access_method.to_id_string());
                    format!("{method} {}", alternative(&one.access_location))
                });
                self.authority_information = all.collect();
            }
            ParsedExtension::CertificatePolicies(policies) => {
                let oids = policies
                    .iter()
                    .map(|policy| policy.policy_id.to_id_string());
                self.policies = oids.collect();
            }
            ParsedExtension::SubjectKeyIdentifier(identifier) => {
                self.subject_key_identifier = Some(hex::encode(identifier.0));
            }
            ParsedExtension::AuthorityKeyIdentifier(identifier) => {
                let octets = identifier.key_identifier.as_ref();
                self.authority_key_identifier = octets.map(|octets| hex::encode(octets.0));
            }
            _ => self.other_extensions.push(OtherExtension {
                name: oid_name(&oid),
                oid,
                value: hex::encode(extension.value),
            }),
        }
    }
}

fn subtrees(all: Option<&[GeneralSubtree<'_>]>) -> Vec<String> {
    let all = all.unwrap_or_default().iter();
    all.map(|subtree| constraint(&subtree.base)).collect()
}

/// An address of a constraint has its mask behind it (RFC 5280, section 4.2.1.10).
fn constraint(name: &GeneralName<'_>) -> String {
    let GeneralName::IPAddress(octets) = name else {
        return alternative(name);
    };
    let (address, mask) = octets.split_at(octets.len() / 2);
    let bits: u32 = mask.iter().map(|octet| octet.count_ones()).sum();
    let address = alternative(&GeneralName::IPAddress(address));
    format!("{address}/{bits}")
}

/// Returns a time in RFC 3339.
fn time(time: ASN1Time) -> String {
    Timestamp::from_second(time.timestamp())
        .map_or_else(|_| time.to_string(), |time| time.to_string())
}
