//! A later ceremony, on a token that has a CA already: its certificate is renewed, another CA is cross-signed, and it revokes.

use std::{fs, path::PathBuf};

use softhsm_test_helpers::{CaProfile, KeyKind};

use crate::fixture::{Ceremony, error_of, openssl, sha256};

mod refused;

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

/// The words of the later plan for the hashes of files.
const FILES: [(&str, &str); 3] = [
    ("OLD", "old-root.pem"),
    ("PARTNER", "partner.pem"),
    ("GUEST", "guest.csr"),
];

/// The ceremony that renews the issuing CA of the first one.
const ISSUING: &str = "\
tool: 0.1.0
ceremony: renewal
token: {label: ceremony, serial: SERIAL}
steps:
  - audit-key: {name: audit, algorithm: Ed25519, label: audit-renewal}
  - ca: {name: root, certificate: root.pem, sha256: ROOT, keyId: 'KEY'}
  - ca: {name: issuing, certificate: issuing.pem, sha256: OLD, keyId: 'ID'}
  - renew:
      name: renewed
      ca: issuing
      issuer: root
      serial: 6b02c5b1e6b84f7f9c0d33c1a7b92e01
      notBefore: 2030-11-01T00:00:00Z
      notAfter: 2035-11-01T00:00:00Z
";

/// Makes a self-signed CA beside the plan, `NAME.key` and `NAME.pem`, with these extensions more than openssl's own.
fn authority(ceremony: &Ceremony, name: &str, subject: &str, extensions: &[&str]) {
    let path = |ending: &str| {
        let path = ceremony.path(&format!("{name}.{ending}"));
        path.to_str().unwrap().to_owned()
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let mut arguments = [&["req", "-x509", "-nodes", "-utf8"], &curve[..]].concat();
    arguments.extend(["-days", "3650", "-subj", subject]);
    for extension in [&["keyUsage=critical,keyCertSign,cRLSign"], extensions].concat() {
        arguments.extend(["-addext", extension]);
    }
    openssl(
        &[
            &arguments[..],
            &["-keyout", &path("key"), "-out", &path("pem")],
        ]
        .concat(),
    );
}

/// Makes a CA of somebody else, and a request for another one.
fn others(ceremony: &Ceremony, partner: &str) {
    authority(ceremony, "partner", partner, &[]);
    ceremony.request("guest");
}

/// Returns the CKA_ID of a key as plan B of its ceremony shows it.
fn key_id(ceremony: &Ceremony, key: &str) -> String {
    let plan_b = fs::read_to_string(ceremony.out("plan-b.txt")).unwrap();
    let (_, of_key) = plan_b.split_once(&format!("\nkey {key}: ")).unwrap();
    let (_, id) = of_key.split_once("CKA_ID ").unwrap();
    id.lines().next().unwrap().to_owned()
}

/// Returns the later ceremony after the first one, both on one token.
fn later() -> (Ceremony, Ceremony) {
    later_with("/O=Partner/CN=Partner Root")
}

/// Returns the same, with this name of the CA elsewhere.
fn later_with(partner: &str) -> (Ceremony, Ceremony) {
    let first = Ceremony::of(FIRST);
    first.hold_with(&PEOPLE);
    let later = first.later(&LATER.replace("KEY", &key_id(&first, "root-key")));
    fs::copy(first.out("root.pem"), later.path("old-root.pem")).unwrap();
    others(&later, partner);
    later.fill_in(&FILES);
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
fn an_issuing_ca_is_renewed_by_the_root_that_signed_it_and_openssl_agrees() {
    let first = Ceremony::of(FIRST);
    first.hold_with(&PEOPLE);
    let plan = ISSUING
        .replace("KEY", &key_id(&first, "root-key"))
        .replace("ID", &key_id(&first, "issuing-key"));
    let later = first.later(&plan);
    for file in ["root.pem", "issuing.pem"] {
        fs::copy(first.out(file), later.path(file)).unwrap();
    }
    later.fill_in(&[("ROOT", "root.pem"), ("OLD", "issuing.pem")]);
    later.hold_with(&PEOPLE);
    later.ok("verify", &[]);
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (root, old) = (
        path(later.path("root.pem")),
        path(later.path("issuing.pem")),
    );
    let renewed = path(later.out("renewed.pem"));
    // 1 February 2033, when the old certificate has expired.
    let verify = ["verify", "-x509_strict", "-attime", "1990828800", "-CAfile"];
    openssl(&[&verify[..], &[&root, &renewed]].concat());
    // All that stays, and nothing else, is the same for openssl: name, key, identifiers and every extension.
    let text = |certificate: &str| {
        let what = "no_serial,no_validity,no_sigdump,no_header";
        openssl(&[
            "x509",
            "-noout",
            "-text",
            "-certopt",
            what,
            "-in",
            certificate,
        ])
    };
    assert_eq!(text(&renewed), text(&old));
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
