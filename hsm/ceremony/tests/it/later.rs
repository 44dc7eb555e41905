//! A later ceremony, on a token that has a CA already: its certificate is renewed, another CA is cross-signed, and it revokes.

use std::fs;

use softhsm_test_helpers::{CaProfile, KeyKind};

use crate::fixture::{Ceremony, error_of, openssl, sha256};

const PEOPLE: [&str; 2] = ["ada", "bob"];

/// The first ceremony.
const FIRST: &str = "\
tool: 0.1.0
ceremony: first
token: {label: ceremony, serial: SERIAL}
steps:
  - keygen: {name: root-key, algorithm: P-384, label: root}
  - keygen: {name: issuing-key, algorithm: P-256, label: issuing}
  - audit-key: {name: audit, algorithm: Ed25519, label: audit}
  - root:
      name: root
      key: root-key
      subject: [O=Example, CN=Example Root]
      serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e01
      notBefore: 2026-11-01T00:00:00Z
      notAfter: 2036-11-01T00:00:00Z
      pathLength: 1
  - intermediate:
      name: issuing
      issuer: root
      key: issuing-key
      subject: [O=Example, CN=Example Issuing]
      serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e02
      notBefore: 2026-11-01T00:00:00Z
      notAfter: 2031-11-01T00:00:00Z
      pathLength: 0
";

const LATER: &str = "\
tool: 0.1.0
ceremony: later
token: {label: ceremony, serial: SERIAL}
steps:
  - audit-key: {name: audit, algorithm: Ed25519, label: audit-later}
  - ca: {name: old, certificate: old-root.pem, sha256: OLD, keyId: 'KEY'}
  - renew:
      name: renewed
      ca: old
      serial: 6b02c5b1e6b84f7f9c0d33c1a7b92e01
      notBefore: 2030-11-01T00:00:00Z
      notAfter: 2046-11-01T00:00:00Z
  - cross-sign:
      name: partner
      issuer: old
      certificate: partner.pem
      sha256: PARTNER
      serial: 6b02c5b1e6b84f7f9c0d33c1a7b92e02
      notBefore: 2026-11-01T00:00:00Z
      notAfter: 2031-11-01T00:00:00Z
      pathLength: 0
  - cross-sign:
      name: guest
      issuer: renewed
      request: guest.csr
      sha256: GUEST
      serial: 6b02c5b1e6b84f7f9c0d33c1a7b92e03
      notBefore: 2030-11-01T00:00:00Z
      notAfter: 2031-11-01T00:00:00Z
      pathLength: 0
  - crl:
      name: revoked
      issuer: old
      number: 7
      thisUpdate: 2026-11-02T00:00:00Z
      nextUpdate: 2036-11-02T00:00:00Z
      revoked:
        - {serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e02, at: 2026-11-01T12:00:00Z, reason: keyCompromise, invalidity: 2026-10-31T00:00:00Z}
";

/// Makes a CA of somebody else, and a request for another one.
fn others(ceremony: &Ceremony) {
    let path = |name: &str| ceremony.path(name).to_str().unwrap().to_owned();
    let curve = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let partner = [
        "-x509",
        "-subj",
        "/O=Partner/CN=Partner Root",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    ];
    let files = [path("partner.key"), path("partner.pem")];
    let out = ["-keyout", &files[0], "-out", &files[1]];
    openssl(&[&["req"], &curve[..], &partner[..], &out[..]].concat());
    ceremony.request("guest");
}

/// Returns the later ceremony after the first one, both on one token.
fn later() -> (Ceremony, Ceremony) {
    let first = Ceremony::of(FIRST);
    first.hold_with(&PEOPLE);
    let plan_b = fs::read_to_string(first.out("plan-b.txt")).unwrap();
    let (_, of_root) = plan_b.split_once("\nkey root-key: ").unwrap();
    let (_, id) = of_root.split_once("CKA_ID ").unwrap();
    let id = id.lines().next().unwrap();
    let later = first.later(&LATER.replace("KEY", id));
    fs::copy(first.out("root.pem"), later.path("old-root.pem")).unwrap();
    others(&later);
    later.fill_in(&[
        ("OLD", "old-root.pem"),
        ("PARTNER", "partner.pem"),
        ("GUEST", "guest.csr"),
    ]);
    (first, later)
}

#[test]
fn a_root_is_renewed_cross_signs_and_revokes_and_openssl_agrees() {
    let (first, later) = later();
    later.hold_with(&PEOPLE);
    later.ok("verify", &[]);
    let path = |name: &str| later.out(name).to_str().unwrap().to_owned();
    let old = later.path("old-root.pem").to_str().unwrap().to_owned();
    let issuing = first.out("issuing.pem").to_str().unwrap().to_owned();
    let verify = |ca: &str, certificate: &str, at: &str| {
        let start = ["verify", "-x509_strict", "-attime", at, "-CAfile"];
        openssl(&[&start[..], &[ca, certificate]].concat());
    };
    // 1 March 2027, and 1 February 2031, when both roots are valid.
    verify(&old, &path("partner.pem"), "1803859200");
    verify(&path("renewed.pem"), &path("guest.pem"), "1927670400");
    // What the root signed before is valid under its successor.
    verify(&path("renewed.pem"), &issuing, "1927670400");
    let said = openssl(&[
        "crl",
        "-noout",
        "-text",
        "-CAfile",
        &old,
        "-in",
        &path("revoked.crl.pem"),
    ]);
    for expected in [
        "X509v3 CRL Number",
        "5B02C5B1E6B84F7F9C0D33C1A7B92E02",
        "Key Compromise",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let text = |certificate: &str| {
        let identifier = ["-noout", "-subject", "-ext", "subjectKeyIdentifier"];
        openssl(&[&["x509", "-in", certificate], &identifier[..]].concat())
    };
    assert_eq!(text(&path("renewed.pem")), text(&old));
    assert_eq!(
        text(&path("partner.pem")),
        text(later.path("partner.pem").to_str().unwrap())
    );
    let minutes = later.ok("minutes", &[]);
    for expected in [
        "renewed.pem",
        "partner.pem",
        "guest.pem",
        "revoked.crl.pem",
        "ca-found old",
    ] {
        assert!(minutes.contains(expected), "{expected}: {minutes}");
    }
}

#[test]
fn plan_b_shows_who_is_revoked_and_what_a_cross_certificate_says() {
    let (_first, later) = later();
    later.approve(&PEOPLE);
    assert_eq!(later.execute().status.code(), Some(3));
    let plan_b = later.ok("plan", &[]);
    for expected in [
        "step renewed, to be signed by old",
        "step guest, to be signed by old",
        "CN=Partner Root",
        "number       7",
        "5b:02:c5:b1:e6:b8:4f:7f:9c:0d:33:c1:a7:b9:2e:02",
        "KeyCompromise, invalid since Oct 31 00:00:00 2026",
    ] {
        assert!(plan_b.contains(expected), "{expected}: {plan_b}");
    }
}

#[test]
fn a_changed_output_of_a_later_ceremony_fails_the_verification() {
    let (_first, later) = later();
    later.hold_with(&PEOPLE);
    for (file, other) in [
        ("revoked.crl.pem", "renewed.pem"),
        ("partner.pem", "guest.pem"),
    ] {
        let kept = fs::read(later.out(file)).unwrap();
        fs::copy(later.out(other), later.out(file)).unwrap();
        let said = error_of(&later.run("verify", &[]));
        assert!(said.contains(file), "{said}");
        fs::write(later.out(file), kept).unwrap();
    }
    later.ok("verify", &[]);
}

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

/// Returns a ceremony that renews a root which was made elsewhere.
fn renewal(profile: &CaProfile, id: &str) -> Ceremony {
    let end = LATER.find("  - cross-sign").unwrap();
    let ceremony = Ceremony::of(&LATER[..end].replace("KEY", id));
    let key = ceremony
        .token
        .generate_key("old", &[7], KeyKind::P256)
        .unwrap();
    ceremony
        .token
        .generate_key("other", &[8], KeyKind::P256)
        .unwrap();
    let root = key.self_signed(profile).unwrap();
    fs::write(ceremony.path("old-root.pem"), root.pem()).unwrap();
    ceremony.fill_in(&[("OLD", "old-root.pem")]);
    ceremony
}

#[test]
fn a_root_that_was_made_elsewhere_is_renewed_with_its_own_key_identifier() {
    let ceremony = renewal(&CaProfile::named("Elsewhere").path_length(3), "07");
    ceremony.hold_with(&PEOPLE);
    ceremony.ok("verify", &[]);
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
}

#[test]
fn a_certificate_with_an_extension_that_would_be_lost_is_not_renewed() {
    let ceremony =
        Ceremony::of(&LATER[..LATER.find("  - cross-sign").unwrap()].replace("KEY", "07"));
    let path = |name: &str| ceremony.path(name).to_str().unwrap().to_owned();
    let (key, file) = (path("key"), path("old-root.pem"));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=Constrained",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-addext",
        "nameConstraints=critical,permitted;DNS:example.org",
        "-keyout",
        &key,
        "-out",
        &file,
    ]);
    ceremony.fill_in(&[("OLD", "old-root.pem")]);
    ceremony.import("old", "07", "key");
    ceremony.approve(&PEOPLE);
    let said = error_of(&ceremony.execute());
    assert!(said.contains("of its predecessor is missing"), "{said}");
}

#[test]
fn the_vendors_attestation_is_waited_for_approved_and_verified() {
    let ceremony = Ceremony::of(&FIRST.replace(
        "algorithm: P-384, label: root}",
        "algorithm: P-384, label: root, attestation: true}",
    ));
    ceremony.approve(&PEOPLE);
    let output = ceremony.execute();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("root-key.attestation"), "{said}");
    assert!(!ceremony.out("plan-b.txt").exists());
    let attestation = ceremony.out("root-key.attestation");
    fs::write(&attestation, "the vendor says that the key was made here").unwrap();
    let output = ceremony.execute();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let plan_b = ceremony.ok("plan", &[]);
    assert!(plan_b.contains(&sha256(&attestation)), "{plan_b}");
    ceremony.approve(&PEOPLE);
    assert_eq!(ceremony.execute().status.code(), Some(0));
    ceremony.ok("verify", &[]);
    let minutes = ceremony.ok("minutes", &[]);
    assert!(minutes.contains("root-key.attestation"), "{minutes}");
    fs::write(&attestation, "changed").unwrap();
    let said = error_of(&ceremony.run("verify", &[]));
    assert!(said.contains("does not follow"), "{said}");
    fs::remove_file(&attestation).unwrap();
    let said = error_of(&ceremony.run("verify", &[]));
    assert!(said.contains("missing"), "{said}");
}
