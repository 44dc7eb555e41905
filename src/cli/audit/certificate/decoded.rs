//! A certificate, decoded for people.

use std::fmt;

use x509_parser::{
    certificate::X509Certificate,
    extensions::{CRLDistributionPoint, DistributionPointName, ParsedExtension, X509Extension},
    prelude::FromDer as _,
};

use crate::{
    cli::words::{alternative, oid_name, purposes, sha256},
    message::shown,
};

/// The fields that an auditor looks at.
pub(super) struct Decoded<'a>(X509Certificate<'a>);

impl<'a> Decoded<'a> {
    /// Returns `None` if it is no certificate.
    pub(super) fn of(der: &'a [u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        rest.is_empty().then_some(Self(certificate))
    }
}

impl fmt::Display for Decoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tbs = &self.0.tbs_certificate;
        let mut field =
            |name: &str, value: &dyn fmt::Display| writeln!(f, "{:<24} {}", name, shown(value));
        field("serial", &hex::encode(tbs.raw_serial()))?;
        field("subject", &tbs.subject)?;
        field("issued by", &tbs.issuer)?;
        let times = [
            ("not before", tbs.validity.not_before),
            ("not after", tbs.validity.not_after),
        ];
        for (name, time) in times {
            match jiff::Timestamp::from_second(time.timestamp()) {
                Ok(time) => field(name, &time)?,
                Err(_) => field(name, &time)?,
            }
        }
        field(
            "public key",
            &format_args!(
                "{}, SHA-256 {}",
                oid_name(&tbs.subject_pki.algorithm.algorithm.to_id_string()),
                sha256(tbs.subject_pki.raw),
            ),
        )?;
        field(
            "signature",
            &oid_name(&self.0.signature_algorithm.algorithm.to_id_string()),
        )?;
        for extension in tbs.extensions() {
            let critical = match extension.critical {
                true => " (critical)",
                false => "",
            };
            field(
                &oid_name(&extension.oid.to_id_string()),
                &format_args!("{}{critical}", value(extension)),
            )?;
        }
        field("SHA-256", &sha256(self.0.as_raw()))
    }
}

/// Returns the value of an extension: in words if auditors ask for it, else as its octets.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other extension is shown as its octets"
)]
fn value(extension: &X509Extension<'_>) -> String {
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => {
            let names: Vec<_> = names.general_names.iter().map(alternative).collect();
            names.join(", ")
        }
        ParsedExtension::KeyUsage(usages) => usages.to_string(),
        ParsedExtension::BasicConstraints(constraints) => {
            match (constraints.ca, constraints.path_len_constraint) {
                (false, _) => "no CA".to_owned(),
                (true, None) => "CA".to_owned(),
                (true, Some(length)) => format!("CA, path length {length}"),
            }
        }
        ParsedExtension::ExtendedKeyUsage(usages) => purposes(usages).join(", "),
        ParsedExtension::SubjectKeyIdentifier(identifier) => hex::encode(identifier.0),
        ParsedExtension::AuthorityKeyIdentifier(identifier) => {
            let identifier = identifier.key_identifier.as_ref();
            identifier
                .map(|octets| hex::encode(octets.0))
                .unwrap_or_default()
        }
        ParsedExtension::CRLDistributionPoints(points) => {
            urls(&points.points).unwrap_or_else(|| hex::encode(extension.value))
        }
        _ => hex::encode(extension.value),
    }
}

/// Returns the names of distribution points, unless they say more than names.
fn urls(points: &[CRLDistributionPoint<'_>]) -> Option<String> {
    let mut all = Vec::new();
    for point in points {
        let CRLDistributionPoint {
            distribution_point: Some(DistributionPointName::FullName(names)),
            reasons: None,
            crl_issuer: None,
        } = point
        else {
            return None;
        };
        all.extend(names.iter().map(alternative));
    }
    Some(all.join(", "))
}
