//! Whole ceremonies, and what must stop them.

use std::{fs, process::Command};

use crate::fixture::{Ceremony, PLAN, error_of, openssl};

#[test]
fn a_ceremony_makes_a_chain_and_a_request_that_openssl_verifies() {
    let ceremony = Ceremony::new();
    ceremony.hold();
    let path = |name: &str| ceremony.out(name).to_str().unwrap().to_owned();
    openssl(&[
        "verify",
        "-x509_strict",
        "-CAfile",
        &path("root.pem"),
        &path("issuing.pem"),
    ]);
    openssl(&["req", "-verify", "-noout", "-in", &path("partner.csr.pem")]);
    let text = openssl(&["x509", "-noout", "-text", "-in", &path("issuing.pem")]);
    for expected in [
        "Subject: C = NL, O = Example, CN = Example Issuing",
        "Signature Algorithm: ecdsa-with-SHA384",
        "Public-Key: (4096 bit)",
        "CA:TRUE, pathlen:0",
        "6b:02:c5:b1:e6:b8:4f:7f:9c:0d:33:c1:a7:b9:2e:02",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let said = ceremony.ok("verify", &[]);
    assert!(said.starts_with("verified: "), "{said}");
}

#[test]
fn the_plan_is_shown_with_words_before_and_with_exact_bytes_after_the_keys_exist() {
    let ceremony = Ceremony::new();
    let plan_a = ceremony.ok("plan", &[]);
    let sum = Command::new("sha256sum")
        .arg(ceremony.path("plan.yaml"))
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let (hash, _) = sum.split_once(' ').unwrap();
    assert!(
        plan_a.contains(hash) && plan_a.contains("approved by nobody; 2 must approve"),
        "{plan_a}"
    );
    ceremony.approve(&["ada", "cyd"]);
    assert_eq!(ceremony.execute().status.code(), Some(3));
    let plan_b = ceremony.ok("plan", &[]);
    for expected in [
        "CN=Example Root",
        "step issuing, to be signed by root-key",
        "path length 0",
        hash,
    ] {
        assert!(plan_b.contains(expected), "{expected}: {plan_b}");
    }
    ceremony.approve(&["ada", "cyd"]);
    assert_eq!(ceremony.execute().status.code(), Some(0));
    // The bytes that were shown are the bytes that were signed.
    let der = ceremony.path("root.der");
    let root = ceremony.out("root.pem");
    openssl(&[
        "x509",
        "-outform",
        "DER",
        "-in",
        root.to_str().unwrap(),
        "-out",
        der.to_str().unwrap(),
    ]);
    let der = hex::encode(fs::read(der).unwrap());
    let bytes: String = plan_b
        .split("step root,")
        .nth(1)
        .and_then(|rest| rest.split("bytes\n").nth(1))
        .unwrap()
        .lines()
        .take_while(|line| !line.is_empty())
        .map(str::trim)
        .collect();
    assert!(der.contains(&bytes), "{bytes} is not in {der}");
}

#[test]
fn nothing_is_made_before_enough_people_have_approved() {
    let ceremony = Ceremony::new();
    ceremony.approve(&["ada"]);
    let copy = ceremony.out("approval-a-copy.sig");
    fs::copy(ceremony.out("approval-a-ada.sig"), copy).unwrap();
    let said = error_of(&ceremony.execute());
    assert!(said.contains("approved by 1 of the 2 people"), "{said}");
    assert!(!ceremony.out("transcript.jsonl").exists());
}

#[test]
fn a_plan_that_was_changed_after_its_approval_is_refused() {
    let ceremony = Ceremony::new();
    ceremony.approve(&["ada", "bob"]);
    let changed = fs::read_to_string(ceremony.path("plan.yaml")).unwrap();
    let changed = changed.replace("pathLength: 1", "pathLength: 2");
    fs::write(ceremony.path("plan.yaml"), changed).unwrap();
    let said = error_of(&ceremony.execute());
    assert!(said.contains("for another plan"), "{said}");
}

#[test]
fn approvals_are_void_under_another_list_of_approvers() {
    let ceremony = Ceremony::new();
    ceremony.approve(&["ada", "bob"]);
    let list = fs::read_to_string(ceremony.path("approvers.yaml")).unwrap();
    let list = list.replace("threshold: 2", "threshold: 1");
    fs::write(ceremony.path("approvers.yaml"), list).unwrap();
    let said = error_of(&ceremony.execute());
    assert!(said.contains("another list of approvers"), "{said}");
}

#[test]
fn somebody_who_is_not_on_the_list_approves_nothing() {
    let ceremony = Ceremony::new();
    let key = ceremony.path("eve");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let said = error_of(&ceremony.run("approve", &["--key", key.to_str().unwrap()]));
    assert!(said.contains("is not in the approvers file"), "{said}");
}

#[test]
fn another_token_and_another_version_of_the_program_are_refused() {
    let ceremony = Ceremony::of(&PLAN.replace("serial: SERIAL", "serial: other"));
    ceremony.approve(&["ada", "bob"]);
    let said = error_of(&ceremony.execute());
    assert!(
        said.contains("no token has label") && said.contains(ceremony.token.serial()),
        "{said}"
    );
    let ceremony = Ceremony::of(&PLAN.replace("tool: 0.1.0", "tool: 0.0.9"));
    let said = error_of(&ceremony.execute());
    assert!(said.contains("0.0.9"), "{said}");
}

#[test]
fn an_output_that_was_there_before_is_never_overwritten() {
    let ceremony = Ceremony::new();
    ceremony.approve(&["ada", "bob"]);
    assert_eq!(ceremony.execute().status.code(), Some(3));
    ceremony.approve(&["ada", "bob"]);
    fs::write(ceremony.out("root.pem"), "mine").unwrap();
    let said = error_of(&ceremony.execute());
    assert!(said.contains("root.pem"), "{said}");
    assert_eq!(
        fs::read_to_string(ceremony.out("root.pem")).unwrap(),
        "mine"
    );
}

#[test]
fn a_changed_line_or_a_changed_output_fails_the_verification() {
    let ceremony = Ceremony::new();
    ceremony.hold();
    let change = |name: &str, from: &str, to: &str, expected: &str| {
        let path = ceremony.out(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name}: {from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let said = error_of(&ceremony.run("verify", &[]));
        assert!(said.contains(expected), "{name}: {said}");
        fs::write(&path, text).unwrap();
    };
    // A line of the first run, and one of the last.
    change(
        "transcript.jsonl",
        "key-generating",
        "key-generatinG",
        "were changed",
    );
    change(
        "transcript.jsonl",
        "\"signing\"",
        "\"signinG\"",
        "transcript.jsonl",
    );
    change("plan-b.txt", "token:", "token :", "does not follow");
    fs::rename(ceremony.out("issuing.pem"), ceremony.path("aside")).unwrap();
    let said = error_of(&ceremony.run("verify", &[]));
    assert!(said.contains("issuing.pem is missing"), "{said}");
    fs::copy(ceremony.out("root.pem"), ceremony.out("issuing.pem")).unwrap();
    let said = error_of(&ceremony.run("verify", &[]));
    assert!(said.contains("issuing.pem"), "{said}");
    fs::rename(ceremony.path("aside"), ceremony.out("issuing.pem")).unwrap();
    ceremony.ok("verify", &[]);
}

#[test]
fn the_minutes_have_the_hashes_and_the_people_in_both_formats() {
    let ceremony = Ceremony::new();
    ceremony.hold();
    for format in ["markdown", "html"] {
        let minutes = ceremony.ok("minutes", &["--format", format]);
        for expected in [
            "example-2026",
            "ada, bob",
            "bob, cyd",
            "issuing.pem",
            "plan-b-approved",
        ] {
            assert!(minutes.contains(expected), "{expected}: {minutes}");
        }
    }
}
