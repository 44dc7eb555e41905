//! What commands about certificates print for people. Texts of certificates are escaped.

use super::record::CertificateRecord;
use crate::cli::output::fields;

/// Returns everything about each certificate, with an empty line between two of them.
pub(super) fn show(all: &[CertificateRecord]) -> String {
    let each: Vec<_> = all.iter().map(one).collect();
    each.join("\n")
}

fn one(record: &CertificateRecord) -> String {
    let mut lines = Vec::new();
    let mut add = |name: &'static str, text: String| {
        if !text.is_empty() {
            lines.push((name, text));
        }
    };
    add("subject", record.subject.clone());
    add(
        "issuer",
        match record.self_issued {
            true => format!("{} (the same name)", record.issuer),
            false => record.issuer.clone(),
        },
    );
    add("serial number", record.serial.clone());
    add("not before", record.not_before.clone());
    add("not after", record.not_after.clone());
    add(
        "key",
        match &record.key.problem {
            None => record.key.kind.clone(),
            Some(problem) => format!("{}; not accepted here: {problem}", record.key.kind),
        },
    );
    add("signature", record.signature_algorithm.clone());
    add("names", record.subject_alternative_names.join(", "));
    add("key usage", record.key_usage.join(", "));
    add("extended key usage", record.extended_key_usage.join(", "));
    if let Some(constraints) = &record.basic_constraints {
        add(
            "CA",
            match (constraints.ca, constraints.path_length) {
                (false, _) => "no".to_owned(),
                (true, None) => "yes, with any number of CAs below it".to_owned(),
                (true, Some(length)) => format!("yes, with at most {length} CAs below it"),
            },
        );
    }
    if let Some(constraints) = &record.name_constraints {
        add("permitted names", constraints.permitted.join(", "));
        add("excluded names", constraints.excluded.join(", "));
    }
    add("CRL", record.crl_distribution_points.join(", "));
    add("authority", record.authority_information.join(", "));
    add("policies", record.policies.join(", "));
    let identifier = |text: &Option<String>| text.clone().unwrap_or_default();
    add("key identifier", identifier(&record.subject_key_identifier));
    add("issuer's key", identifier(&record.authority_key_identifier));
    for other in &record.other_extensions {
        add("extension", format!("{} {}", other.name, other.value));
    }
    add("critical", record.critical.join(", "));
    add("SHA-256", record.sha256.clone());
    add("SHA-256 of the key", record.key.sha256.clone());
    add("SHA-1", record.sha1.clone());
    if record.version != 3 {
        add("version", record.version.to_string());
    }
    fields(lines)
}
