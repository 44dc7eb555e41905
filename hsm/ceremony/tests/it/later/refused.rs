//! Plans of later ceremonies that are refused, and what of them could mislead those who approve.

use std::fs;

use softhsm_test_helpers::CaProfile;

use super::{ISSUING, LATER, PEOPLE, authority, key_id, later, later_with, renewal};
use crate::fixture::{Ceremony, error_of, openssl, sha256};

#[test]
fn a_file_that_is_not_the_one_of_the_plan_is_refused() {
    let (_first, later) = later();
    later.approve(&PEOPLE);
    let mut text = fs::read_to_string(later.path("partner.pem")).unwrap();
    text.push('\n');
    fs::write(later.path("partner.pem"), text).unwrap();
    let said = error_of(&later.execute());
    assert!(said.contains("partner.pem: its SHA-256 is"), "{said}");
}

#[test]
fn another_key_than_that_of_the_certificate_is_found_before_anything_is_signed() {
    let ceremony = renewal(&CaProfile::named("Elsewhere"), "08");
    ceremony.approve(&PEOPLE);
    let said = error_of(&ceremony.execute());
    assert!(
        said.contains("is not the key of the issuing certificate"),
        "{said}"
    );
    let ceremony = renewal(&CaProfile::named("Elsewhere"), "09");
    ceremony.approve(&PEOPLE);
    let said = error_of(&ceremony.execute());
    assert!(said.contains("0 private keys of CKA_ID 09"), "{said}");
    // Not even the audit key.
    assert!(!ceremony.out("audit.pub.pem").exists());
}

#[test]
fn a_certificate_with_an_extension_that_would_be_lost_is_not_renewed() {
    let end = LATER.find("  - cross-sign").unwrap();
    let ceremony = Ceremony::of(&LATER[..end].replace("KEY", "07"));
    let constraints = "nameConstraints=critical,permitted;DNS:example.org";
    authority(&ceremony, "old-root", "/CN=Constrained", &[constraints]);
    ceremony.fill_in(&[("OLD", "old-root.pem")]);
    let said = error_of(&ceremony.run("plan", &[]));
    assert!(said.contains("of its predecessor is missing"), "{said}");
}

#[test]
fn a_certificate_is_not_renewed_by_a_ca_that_has_not_signed_it() {
    let ceremony = Ceremony::of(&ISSUING.replace("KEY", "07").replace("ID", "08"));
    authority(&ceremony, "root", "/CN=Root", &[]);
    authority(&ceremony, "namesake", "/CN=Root", &[]);
    ceremony.request("issuing");
    let path = |name: &str| ceremony.path(name).to_str().unwrap().to_owned();
    fs::write(
        ceremony.path("extensions"),
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n",
    )
    .unwrap();
    openssl(&[
        "x509",
        "-req",
        "-days",
        "365",
        "-in",
        &path("issuing.csr"),
        "-CA",
        &path("root.pem"),
        "-CAkey",
        &path("root.key"),
        "-extfile",
        &path("extensions"),
        "-out",
        &path("issuing.pem"),
    ]);
    let plan = fs::read_to_string(ceremony.path("plan.yaml")).unwrap();
    for (from, to, root, expected) in [
        ("", "", "root.pem", None),
        (
            "root.pem",
            "namesake.pem",
            "namesake.pem",
            Some("has not signed its predecessor"),
        ),
        (
            "      issuer: root\n",
            "",
            "root.pem",
            Some("name the CA that signed the predecessor as issuer"),
        ),
    ] {
        fs::write(ceremony.path("plan.yaml"), plan.replacen(from, to, 1)).unwrap();
        ceremony.fill_in(&[("ROOT", root), ("OLD", "issuing.pem")]);
        match expected {
            None => drop(ceremony.ok("plan", &[])),
            Some(expected) => {
                let said = error_of(&ceremony.run("plan", &[]));
                assert!(said.contains(expected), "{said}");
            }
        }
    }
}

#[test]
fn a_later_plan_with_a_fault_is_refused_before_anybody_approves_it() {
    let (first, ceremony) = later();
    let id = format!("keyId: '{}'", key_id(&first, "root-key"));
    let plan = fs::read_to_string(ceremony.path("plan.yaml")).unwrap();
    let twice = "      revoked:\n        - {serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e02, at: 2026-11-01T00:00:00Z, reason: superseded}\n";
    let another =
        "  - ca: {name: again, certificate: old-root.pem, sha256: OLD, KEY}\n  - renew:\n";
    let another = another.replace("OLD", &sha256(&ceremony.path("old-root.pem")));
    let another = another.replace("KEY", &id);
    let stored =
        "  - import-certificate: {name: stored, certificate: renewed, label: renewed}\n  - crl:\n";
    for (from, to, expected) in [
        ("ca: old\n", "ca: audit\n", "names no earlier step"),
        (
            "issuer: renewed",
            "issuer: partner",
            "names no earlier step",
        ),
        ("  - crl:\n", stored, "names no earlier step"),
        ("  - renew:\n", &another, "another step has the same keyId"),
        (&*id, "keyId: x7", "keyId is not hexadecimal"),
        (
            "request: guest.csr",
            "request: guest.csr\n      certificate: partner.pem",
            "name either",
        ),
        ("      request: guest.csr\n", "", "name either"),
        (
            "certificate: partner.pem",
            "certificate: ../partner.pem",
            "name a file beside the plan",
        ),
        (
            "certificate: partner.pem",
            "certificate: none.pem",
            "none.pem: No such file",
        ),
        (
            "notAfter: 2046",
            "notAfter: 2026",
            "notAfter must be after notBefore",
        ),
        ("notAfter: 2031", "notAfter: 2047", "is not within that of"),
        (
            "6b02c5b1e6b84f7f9c0d33c1a7b92e02",
            "6b02c5b1e6b84f7f9c0d33c1a7b92e01",
            "no other step's",
        ),
        (
            "nextUpdate: 2036",
            "nextUpdate: 2016",
            "nextUpdate must be after thisUpdate",
        ),
        (
            "at: 2026-11-01T12",
            "at: 2027-11-01T12",
            "revoked after thisUpdate",
        ),
        ("reason: keyCompromise", "reason: stolen", "not a reason"),
        ("{serial: 5b02", "{serial: zz02", "zz02"),
        ("      revoked:\n", twice, "listed twice"),
    ] {
        assert!(plan.contains(from), "{from}");
        fs::write(ceremony.path("plan.yaml"), plan.replacen(from, to, 1)).unwrap();
        let said = error_of(&ceremony.run("plan", &[]));
        assert!(said.contains(expected), "{to}: {said}");
    }
    fs::write(ceremony.path("plan.yaml"), plan).unwrap();
    ceremony.ok("plan", &[]);
}

#[test]
fn a_name_of_somebody_else_cannot_pass_for_a_line_of_plan_b() {
    // Text that runs from right to left is shown as it is stored.
    let (_first, later) = later_with("/CN=Partner\u{202e}rentraP");
    later.approve(&PEOPLE);
    assert_eq!(later.execute().status.code(), Some(3));
    let plan_b = later.ok("plan", &[]);
    assert!(plan_b.contains(r"CN=Partner\u{202e}rentraP"), "{plan_b}");
    // The end of a line is not even signed.
    authority(&later, "partner", "/CN=Partner\n  CA false", &[]);
    let plan = fs::read_to_string(later.path("plan.yaml")).unwrap();
    let (start, rest) = plan
        .split_once("certificate: partner.pem\n      sha256: ")
        .unwrap();
    let hash = sha256(&later.path("partner.pem"));
    let plan = format!(
        "{start}certificate: partner.pem\n      sha256: {hash}{}",
        &rest[64..]
    );
    fs::write(later.path("plan.yaml"), plan).unwrap();
    let said = error_of(&later.run("plan", &[]));
    assert!(said.contains("without control characters"), "{said}");
}
