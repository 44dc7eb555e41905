//! `execute` killed at every call to the token goes on, and ends in the same result.

use std::{collections::BTreeSet, fs};

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

/// Runs `execute` until it ends by itself, killing it once at each call: at the first, then at the second, and so on. Returns
/// the number of kills.
fn walk(ceremony: &mut Ceremony, expected: i32) -> usize {
    let mut kills = 0;
    loop {
        let faulty = ceremony.token.with_faults().unwrap();
        faulty
            .rules(&format!("* exit=77 skip={kills} count=1"))
            .unwrap();
        ceremony.through(faulty.module(), faulty.env());
        let output = ceremony.execute();
        match output.status.code() {
            Some(77) => kills += 1,
            code => {
                assert_eq!(code, Some(expected), "after {kills} kills: {output:?}");
                return kills;
            }
        }
        assert!(kills < 2000, "the walk does not end");
    }
}

#[test]
fn execute_killed_at_every_call_to_the_token_ends_in_the_same_result() {
    let mut ceremony = Ceremony::of(PLAN);
    ceremony.approve(&["ada", "bob"]);
    let kills = walk(&mut ceremony, 3);
    assert!(kills > 20, "only {kills} calls before plan B");
    let key = fs::read(ceremony.out("root-key.pub.pem")).unwrap();
    ceremony.approve(&["ada", "bob"]);
    let kills = walk(&mut ceremony, 0);
    assert!(kills > 20, "only {kills} calls after plan B");
    ceremony.ok("verify", &[]);
    // The key of the first run, and exactly the files of a ceremony that nobody disturbed.
    assert_eq!(fs::read(ceremony.out("root-key.pub.pem")).unwrap(), key);
    let undisturbed = Ceremony::of(PLAN);
    undisturbed.hold_with(&["ada", "bob"]);
    let files = |ceremony: &Ceremony| -> BTreeSet<_> {
        fs::read_dir(ceremony.out(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect()
    };
    assert_eq!(files(&ceremony), files(&undisturbed));
}
