//! SPIFFE IDs of workloads (SPIFFE-ID, sections 2.1 and 2.2).

/// Octets of the longest SPIFFE ID (section 2.3).
const MAX_LENGTH: usize = 2048;

/// Octets of the longest trust domain (section 2.1, a host of RFC 3986).
const MAX_TRUST_DOMAIN: usize = 255;

/// Returns whether a URI is the SPIFFE ID of a workload: a trust domain of lower-case letters, digits, dots, hyphens
/// and underscores, and a path of one or more segments, none of which is empty, `.` or `..`.
#[must_use]
pub fn is_workload(uri: &str) -> bool {
    let Some((trust_domain, path)) = uri
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    uri.len() <= MAX_LENGTH
        && (1..=MAX_TRUST_DOMAIN).contains(&trust_domain.len())
        && trust_domain.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_')
        })
        && path.split('/').all(is_segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_ids_with_a_path_are_workload_ids() {
        for id in ["spiffe://td.example/ns/a/sa/b", "spiffe://t_d-1/A.b_c-d"] {
            assert!(is_workload(id), "{id}");
        }
        let long = format!("spiffe://td/{}", "a".repeat(MAX_LENGTH));
        let domain = format!("spiffe://{}/a", "a".repeat(256));
        for id in [
            "spiffe://td",
            "spiffe://td/",
            "spiffe://td/a/",
            "spiffe://td//a",
            "spiffe://td/./a",
            "spiffe://td/../a",
            "spiffe://td/a?b",
            "spiffe://td/a#b",
            "spiffe://td/%61",
            "spiffe://td:8443/a",
            "spiffe://user@td/a",
            "spiffe://TD/a",
            "spiffe:///a",
            "SPIFFE://td/a",
            "https://td/a",
            &long,
            &domain,
        ] {
            assert!(!is_workload(id), "{id}");
        }
    }
}
