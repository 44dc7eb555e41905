//! What happens to every kind of extension that a CSR can ask for.

use const_oid::db::rfc5280::*;

use super::*;
use crate::issuance::oid::Oid;

/// Outcome for an extension with the default profile.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The certificate says the same; the issuer sets the criticality.
    Used,
    /// The extension is left out, and that is reported.
    Dropped,
    Refused(&'static str),
}

fn usages() -> Vec<String> {
    words(&["digital signature", "key encipherment", "server auth"])
}

fn prepared(
    request: &Request,
    key: &TestKey,
    rules: Rules,
) -> Result<PreparedCertificate, Refusal> {
    let usages = usages();
    let profile = Profile::new(rules, Limits::default()).unwrap();
    let issuer = Arc::new(Issuer::new(fixture().chain(), profile, None).unwrap());
    let csr = VerifiedCsr::parse(request.pem(key).as_bytes())?;
    let wanted = wanting(&usages);
    let admitted = issuer.profile().admit(&csr, &wanted);
    assert_explained(issuer.profile(), &csr, &wanted, &admitted);
    let params = admitted?;
    match PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(SERIAL)) {
        Ok(prepared) => Ok(prepared),
        Err(PrepareError::Refused(refusal)) => Err(refusal),
        Err(bug) => panic!("{bug:?}"),
    }
}

fn fate(kind: impl Into<Oid>, critical: bool, value: &[u8]) -> Fate {
    let kind = kind.into();
    let key = TestKey::each_kind()[1];
    let request = Request::new("leaf", key);
    let request = match critical {
        true => request.critical_extension(kind.clone(), value),
        false => request.extension(kind.clone(), value),
    };
    match prepared(&request, key, Rules::default()) {
        Ok(prepared) if prepared.dropped_extensions() == [kind] => Fate::Dropped,
        Ok(prepared) => {
            assert!(prepared.dropped_extensions().is_empty());
            Fate::Used
        }
        Err(refusal) => Fate::Refused(refusal.reason().as_str()),
    }
}

#[test]
fn every_kind_of_extension_is_used_or_refused_or_dropped_and_reported() {
    let read: [(const_oid::ObjectIdentifier, Vec<u8>); 4] = [
        (ID_CE_SUBJECT_ALT_NAME, san(&[(DNS, b"a.example")])),
        (ID_CE_KEY_USAGE, key_usage(&[0, 2])),
        (ID_CE_EXT_KEY_USAGE, purposes(&[ID_KP_SERVER_AUTH])),
        (ID_CE_BASIC_CONSTRAINTS, sequence(&[])),
    ];
    for (kind, value) in read {
        for critical in [false, true] {
            assert_eq!(fate(kind, critical, &value), Fate::Used, "{kind}");
        }
    }
    let constraints = name_constraints(&[(DNS, b"a.example")], &[]);
    for critical in [false, true] {
        assert_eq!(
            fate(ID_CE_NAME_CONSTRAINTS, critical, &constraints),
            Fate::Refused("extension-not-allowed")
        );
    }
    let written_by_the_issuer = [
        ID_CE_SUBJECT_KEY_IDENTIFIER,
        ID_CE_AUTHORITY_KEY_IDENTIFIER,
        ID_CE_CERTIFICATE_POLICIES,
        ID_CE_CRL_DISTRIBUTION_POINTS,
        ID_PE_AUTHORITY_INFO_ACCESS,
        oid("2.5.29.56"),
    ];
    let written_by_nobody = [
        ID_CE_ISSUER_ALT_NAME,
        ID_CE_SUBJECT_DIRECTORY_ATTRIBUTES,
        ID_CE_PRIVATE_KEY_USAGE_PERIOD,
        ID_CE_POLICY_MAPPINGS,
        ID_CE_POLICY_CONSTRAINTS,
        ID_CE_INHIBIT_ANY_POLICY,
        ID_CE_FRESHEST_CRL,
        ID_PE_SUBJECT_INFO_ACCESS,
        // TLS features (RFC 7633), OCSP without checks (RFC 6960), the poison extension (RFC 6962).
        oid("1.3.6.1.5.5.7.1.24"),
        oid("1.3.6.1.5.5.7.48.1.5"),
        oid("1.3.6.1.4.1.11129.2.4.3"),
        // An unknown extension.
        oid("1.3.6.1.4.1.32473.9"),
    ];
    let large = ["2.25.329800735698586629295641978511506172918", "2.999.1"].map(large_oid);
    let small = written_by_the_issuer.into_iter().chain(written_by_nobody);
    for kind in small.map(Oid::of).chain(large) {
        assert_eq!(fate(kind.clone(), false, &[5, 0]), Fate::Dropped, "{kind}");
        assert_eq!(
            fate(kind.clone(), true, &[5, 0]),
            Fate::Refused("extension-not-allowed"),
            "{kind}"
        );
    }
}

#[test]
fn an_extension_with_a_large_identifier_is_copied_like_any_other() {
    let key = TestKey::each_kind()[1];
    let listed = large_oid("2.25.329800735698586629295641978511506172918");
    let mut rules = Rules::default();
    rules.extensions.from_csr = vec![listed.clone()];
    let request = Request::new("leaf", key).extension(listed.clone(), &[0x30, 0]);
    let copied = prepared(&request, key, rules).unwrap();
    assert!(copied.dropped_extensions().is_empty());
    let octets = extension(listed, false, &[0x30, 0]);
    assert!(
        copied
            .tbs
            .windows(octets.len())
            .any(|window| window == octets)
    );
}

#[test]
fn an_extension_that_the_profile_lists_is_copied_and_the_others_are_reported() {
    let key = TestKey::each_kind()[1];
    let listed = oid("1.3.6.1.5.5.7.1.24");
    let mut rules = Rules::default();
    rules.extensions.from_csr = vec![listed.into()];
    let request = || Request::new("leaf", key).critical_extension(listed, &[0x30, 0]);
    let copied = prepared(&request(), key, rules.clone()).unwrap();
    assert!(copied.dropped_extensions().is_empty());
    let octets = extension(listed, true, &[0x30, 0]);
    assert!(
        copied
            .tbs
            .windows(octets.len())
            .any(|window| window == octets)
    );

    let beside = request()
        .extension(oid("1.2.3"), b"x")
        .extension(oid("1.2.4"), b"y");
    let copied = prepared(&beside, key, rules.clone()).unwrap();
    assert_eq!(copied.dropped_extensions(), [oid("1.2.3"), oid("1.2.4")]);
    let refused = prepared(
        &request().critical_extension(oid("1.2.3"), b"x"),
        key,
        rules,
    );
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason(), RefusalReason::ExtensionNotAllowed);
    assert!(refused.to_string().contains("1.2.3"), "{refused}");
}
