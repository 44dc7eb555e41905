//! `execute` killed at every call to the token, and at every step of the creation of a file, goes on and ends in the same result.

use std::{collections::BTreeSet, ffi::OsString, fs, os::unix::process::ExitStatusExt as _};

use softhsm_test_helpers::{CaProfile, KeyKind};

use crate::fixture::Ceremony;

/// Every kind of step, and no more, so that the walk through all calls stays short.
const PLAN: &str = "\
tool: 0.1.0
ceremony: crash
token: {label: ceremony, serial: SERIAL}
steps:
  - keygen: {name: root-key, algorithm: P-384, label: root}
  - audit-key: {name: audit, algorithm: Ed25519, label: audit}
  - ca: {name: old, certificate: old-root.pem, sha256: OLD, keyId: '07'}
  - root:
      name: root
      key: root-key
      subject: [CN=Crash Root]
      serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e01
      notBefore: 2026-11-01T00:00:00Z
      notAfter: 2046-11-01T00:00:00Z
  - csr: {name: request, key: root-key, subject: [CN=Crash Root]}
  - renew:
      name: renewed
      ca: old
      serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e02
      notBefore: 2026-11-01T00:00:00Z
      notAfter: 2046-11-01T00:00:00Z
  - cross-sign:
      name: guest
      issuer: root
      request: guest.csr
      sha256: GUEST
      serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e03
      notBefore: 2026-11-01T00:00:00Z
      notAfter: 2036-11-01T00:00:00Z
      pathLength: 0
  - crl:
      name: revoked
      issuer: old
      number: 1
      thisUpdate: 2026-11-02T00:00:00Z
      nextUpdate: 2027-11-02T00:00:00Z
      revoked:
        - {serial: 2a, at: 2026-11-01T00:00:00Z, reason: superseded}
  - import-certificate: {name: stored, certificate: root, label: root}
";

const PEOPLE: [&str; 2] = ["ada", "bob"];

/// The system calls that create a file: its contents reach the disk, it gets its name, and loses the name under which it was
/// written. A kill at one comes before the call.
const STEPS_OF_A_FILE: [&str; 3] = ["fsync", "linkat", "/^unlink"];

/// Runs `execute` and kills it after so many calls, which `what` chooses. Returns whether it came so far; if not, it must have
/// ended with the expected code.
type Kill = fn(&mut Ceremony, what: &str, calls: usize, expected: i32) -> bool;

fn at_a_call(ceremony: &mut Ceremony, _: &str, calls: usize, expected: i32) -> bool {
    let faulty = ceremony.token.with_faults().unwrap();
    let skip = match calls {
        0 => String::new(),
        calls => format!(" skip={calls}"),
    };
    faulty.rules(&format!("* exit=77{skip} count=1")).unwrap();
    let direct = ceremony.through(faulty.module(), faulty.env());
    let code = ceremony.execute().status.code();
    ceremony.restore(direct);
    assert!(code == Some(77) || code == Some(expected), "{code:?}");
    code == Some(77)
}

fn at_a_system_call(ceremony: &mut Ceremony, what: &str, calls: usize, expected: i32) -> bool {
    let trace = format!("trace={what}");
    let inject = format!("inject={what}:signal=KILL:when={}", calls + 1);
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &trace,
        "-e",
        &inject,
    ];
    let status = ceremony.execute_under(&strace).status;
    let killed = status.signal() == Some(9);
    assert!(killed || status.code() == Some(expected), "{status:?}");
    killed
}

/// Returns the names of the files, which must be those of a ceremony that nobody disturbed.
fn files(ceremony: &Ceremony) -> BTreeSet<OsString> {
    fs::read_dir(ceremony.out(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect()
}

/// Returns a ceremony beside an older root, with its files.
fn begun() -> Ceremony {
    let ceremony = Ceremony::of(PLAN);
    let key = ceremony
        .token
        .generate_key("old", &[7], KeyKind::P256)
        .unwrap();
    let root = key.self_signed(&CaProfile::named("Old Root")).unwrap();
    fs::write(ceremony.path("old-root.pem"), root.pem()).unwrap();
    ceremony.request("guest");
    ceremony.fill_in(&[("OLD", "old-root.pem"), ("GUEST", "guest.csr")]);
    ceremony
}

fn undisturbed() -> BTreeSet<OsString> {
    let ceremony = begun();
    ceremony.hold_with(&PEOPLE);
    files(&ceremony)
}

/// Walks through the first run. Returns how many kills it survived.
fn while_it_makes_keys(kill: Kill, what: &str) -> usize {
    let expected = undisturbed();
    let mut ceremony = begun();
    ceremony.approve(&PEOPLE);
    let start = ceremony.snapshot();
    for calls in 0.. {
        ceremony.return_to(&start);
        if !kill(&mut ceremony, what, calls, 3) {
            return calls;
        }
        assert_eq!(ceremony.execute().status.code(), Some(3));
        ceremony.approve(&PEOPLE);
        assert_eq!(ceremony.execute().status.code(), Some(0));
        ceremony.ok("verify", &[]);
        assert_eq!(files(&ceremony), expected, "killed after {calls} calls");
    }
    unreachable!("the walk ends")
}

/// Walks through the second run. Returns how many kills it survived.
fn while_it_signs(kill: Kill, what: &str) -> usize {
    let expected = undisturbed();
    let mut ceremony = begun();
    ceremony.approve(&PEOPLE);
    assert_eq!(ceremony.execute().status.code(), Some(3));
    ceremony.approve(&PEOPLE);
    let plan_b = fs::read(ceremony.out("plan-b.txt")).unwrap();
    let start = ceremony.snapshot();
    for calls in 0.. {
        ceremony.return_to(&start);
        if !kill(&mut ceremony, what, calls, 0) {
            return calls;
        }
        assert_eq!(ceremony.execute().status.code(), Some(0));
        ceremony.ok("verify", &[]);
        assert_eq!(files(&ceremony), expected, "killed after {calls} calls");
        assert_eq!(fs::read(ceremony.out("plan-b.txt")).unwrap(), plan_b);
    }
    unreachable!("the walk ends")
}

#[test]
fn execute_killed_at_every_call_while_it_makes_keys_ends_in_the_same_result() {
    let calls = while_it_makes_keys(at_a_call, "");
    assert!(calls > 20, "only {calls} calls were seen");
}

#[test]
fn execute_killed_at_every_call_while_it_signs_ends_in_the_same_result() {
    let calls = while_it_signs(at_a_call, "");
    assert!(calls > 30, "only {calls} calls were seen");
}

#[test]
fn execute_killed_at_every_step_of_a_files_creation_ends_in_the_same_result() {
    for what in STEPS_OF_A_FILE {
        // Two public keys, the verifier key and plan B; then two certificates, a request, a cross-certificate and a CRL.
        let calls = while_it_makes_keys(at_a_system_call, what);
        assert!(calls >= 4, "{what}: only {calls} calls were seen");
        let calls = while_it_signs(at_a_system_call, what);
        assert!(calls >= 5, "{what}: only {calls} calls were seen");
    }
}
