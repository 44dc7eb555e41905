//! The help of every command: its examples are run as they are, in the order of a ceremony's day.

use std::{fs, process::Command};

use crate::fixture::Ceremony;

/// The commands of the day, each with its exit code.
const DAY: [(&str, i32); 9] = [
    ("plan", 0),
    ("approve", 0),
    ("execute", 3),
    ("approve", 0),
    ("execute", 0),
    ("verify", 0),
    ("minutes", 0),
    ("completions", 0),
    ("man", 0),
];

/// Returns the examples of a help as a script.
fn examples(command: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_pkcs11-ceremony");
    let output = Command::new(program)
        .args(command)
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, examples) = help.split_once("\nExamples:\n").unwrap();
    let lines = examples.lines().take_while(|line| line.starts_with("  "));
    lines
        .map(|line| format!("{}\n", line.trim_start()))
        .collect()
}

/// Returns a ceremony with one approver, and its files where the examples have theirs.
fn desk() -> Ceremony {
    let ceremony = Ceremony::of(
        "\
tool: 0.1.0
ceremony: help
token: {label: ceremony, serial: SERIAL}
steps:
  - audit-key: {name: audit, algorithm: Ed25519, label: audit}
",
    );
    let list = fs::read_to_string(ceremony.path("approvers.yaml")).unwrap();
    let list = list.replace("threshold: 2", "threshold: 1");
    fs::write(ceremony.path("approvers.yaml"), list).unwrap();
    fs::create_dir(ceremony.path(".ssh")).unwrap();
    fs::rename(ceremony.path("ada"), ceremony.path(".ssh/id_ed25519")).unwrap();
    fs::rename(
        ceremony.path("ada.pub"),
        ceremony.path(".ssh/id_ed25519.pub"),
    )
    .unwrap();
    fs::copy(ceremony.token.pin_file(), ceremony.path("pin")).unwrap();
    ceremony
}

#[test]
fn the_examples_of_every_command_are_the_day_of_a_ceremony() {
    let ceremony = desk();
    let mut seen = String::new();
    for (command, expected) in DAY {
        let script = examples(&[command]);
        assert!(
            script.contains(&format!("pkcs11-ceremony {command} ")),
            "{script}"
        );
        let output = ceremony.bash(&script);
        assert_eq!(output.status.code(), Some(expected), "{script}: {output:?}");
        seen += &script;
    }
    // The first page shows nothing else.
    let first = examples(&[]);
    for line in first.lines() {
        assert!(seen.contains(line), "{line}");
    }
    let commands = Command::new(env!("CARGO_BIN_EXE_pkcs11-ceremony"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(commands.stdout).unwrap();
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let listed = list.lines().take_while(|line| !line.is_empty());
    for line in listed {
        let name = line.split_whitespace().next().unwrap();
        assert!(
            name == "help" || DAY.iter().any(|(command, _)| *command == name),
            "{name}"
        );
    }
    for page in ["man1/pkcs11-ceremony.1", "man1/pkcs11-ceremony-execute.1"] {
        let page = fs::read_to_string(ceremony.path(page)).unwrap();
        assert!(page.contains("Examples:"), "{page}");
    }
}

#[test]
fn bash_completes_commands_and_flags() {
    let ceremony = desk();
    let script = r#"
        pkcs11-ceremony completions bash >completions
        source completions
        COMP_WORDS=(pkcs11-ceremony exe) COMP_CWORD=1
        _pkcs11__ceremony pkcs11-ceremony exe pkcs11-ceremony
        [ "${COMPREPLY[*]}" = execute ]
        COMP_WORDS=(pkcs11-ceremony execute --mod) COMP_CWORD=2
        _pkcs11__ceremony pkcs11-ceremony --mod execute
        [ "${COMPREPLY[*]}" = --module ]
    "#;
    // The script of clap reads a variable that is not set in every shell.
    let output = ceremony.bash(&format!("set +u\n{script}"));
    assert!(output.status.success(), "{output:?}");
}
