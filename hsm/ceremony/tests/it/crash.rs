//! `execute` killed at every call to the token goes on, and ends in the same result.

use std::{collections::BTreeSet, ffi::OsString, fs};

use crate::fixture::Ceremony;

/// A small plan, so that the walk through all its calls stays short.
const PLAN: &str = "\
tool: 0.1.0
ceremony: crash
token: {label: ceremony, serial: SERIAL}
steps:
  - keygen: {name: root-key, algorithm: P-384, label: root}
  - audit-key: {name: audit, algorithm: Ed25519, label: audit}
  - root:
      name: root
      key: root-key
      subject: [CN=Crash Root]
      serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e01
      notBefore: 2026-11-01T00:00:00Z
      notAfter: 2046-11-01T00:00:00Z
  - import-certificate: {name: stored, certificate: root, label: root}
";

const PEOPLE: [&str; 2] = ["ada", "bob"];

/// Runs `execute`, and kills it at the call after the first `calls`. Returns whether it came so far.
fn killed(ceremony: &mut Ceremony, calls: usize, expected: i32) -> bool {
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

/// Returns the names of the files, which must be those of a ceremony that nobody disturbed.
fn files(ceremony: &Ceremony) -> BTreeSet<OsString> {
    fs::read_dir(ceremony.out(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect()
}

fn undisturbed() -> BTreeSet<OsString> {
    let ceremony = Ceremony::of(PLAN);
    ceremony.hold_with(&PEOPLE);
    files(&ceremony)
}

#[test]
fn execute_killed_at_every_call_while_it_makes_keys_ends_in_the_same_result() {
    let expected = undisturbed();
    for calls in 0.. {
        let mut ceremony = Ceremony::of(PLAN);
        ceremony.approve(&PEOPLE);
        if !killed(&mut ceremony, calls, 3) {
            assert!(calls > 20, "only {calls} calls were seen");
            return;
        }
        assert_eq!(ceremony.execute().status.code(), Some(3));
        ceremony.approve(&PEOPLE);
        assert_eq!(ceremony.execute().status.code(), Some(0));
        ceremony.ok("verify", &[]);
        assert_eq!(files(&ceremony), expected, "killed after {calls} calls");
    }
}

#[test]
fn execute_killed_at_every_call_while_it_signs_ends_in_the_same_result() {
    let expected = undisturbed();
    for calls in 0.. {
        let mut ceremony = Ceremony::of(PLAN);
        ceremony.approve(&PEOPLE);
        assert_eq!(ceremony.execute().status.code(), Some(3));
        ceremony.approve(&PEOPLE);
        let plan_b = fs::read(ceremony.out("plan-b.txt")).unwrap();
        if !killed(&mut ceremony, calls, 0) {
            assert!(calls > 20, "only {calls} calls were seen");
            return;
        }
        assert_eq!(ceremony.execute().status.code(), Some(0));
        ceremony.ok("verify", &[]);
        assert_eq!(files(&ceremony), expected, "killed after {calls} calls");
        assert_eq!(fs::read(ceremony.out("plan-b.txt")).unwrap(), plan_b);
    }
}
