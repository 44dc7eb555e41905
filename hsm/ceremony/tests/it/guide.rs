//! The commands with which docs/ceremony.md renews a CA are run as they are, and each must print what the page shows.

use std::fs;

use crate::fixture::Ceremony;

const PAGE: &str = include_str!("../../../../docs/ceremony.md");

/// Stands on the page for lines that it does not show.
const LEFT_OUT: &str = "[…]";

/// A command of the page, and what the page shows of its output.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// Returns the commands of a section.
fn commands(heading: &str) -> Vec<Shown> {
    let (_, section) = PAGE.split_once(heading).unwrap();
    let section = section.split("\n#").next().unwrap();
    let mut all: Vec<Shown> = Vec::new();
    for block in section.split("```console\n").skip(1) {
        for line in block.lines().take_while(|line| *line != "```") {
            if let Some(command) = line.strip_prefix("$ ") {
                let (command, output) = (command.to_owned(), Vec::new());
                all.push(Shown { command, output });
                continue;
            }
            let last = all.last_mut().unwrap();
            match line.strip_prefix("> ") {
                Some(more) => last.command += &format!("\n{more}"),
                None => last.output.push(comparable(line)),
            }
        }
    }
    all
}

/// Returns a line without what differs from run to run: spaces, and hashes and identifiers in hexadecimal.
fn comparable(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let is_hash = word.len() >= 16 && word.bytes().all(|octet| octet.is_ascii_hexdigit());
        if is_hash { "HASH" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_commands_of_the_guide_renew_a_ca_and_print_what_it_shows() {
    let ceremony = Ceremony::new();
    ceremony.hold_with(&["ada", "bob"]);
    fs::rename(ceremony.out(""), ceremony.path("ceremony")).unwrap();
    fs::copy(ceremony.token.pin_file(), ceremony.path("pin")).unwrap();
    let shown = commands("### To renew an issuing CA");
    let script: String = shown
        .iter()
        .map(|shown| format!("{}\nprintf '=> %s\\n' $?\n", shown.command))
        .collect();
    // A command that waits for approvals ends with another code than 0.
    let output = ceremony.bash(&format!("set +e\nexec 2>&1\n{script}"));
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut rest = printed.as_str();
    for Shown { command, output } in shown {
        let (of_command, after) = rest.split_once("=> ").unwrap();
        let (code, after) = after.split_once('\n').unwrap();
        rest = after;
        let lines: Vec<_> = of_command.lines().map(comparable).collect();
        let is_waiting = lines
            .iter()
            .any(|line| line.contains("waits for approvals"));
        assert_eq!(code == "3", is_waiting, "{command}: {printed}");
        assert!(code == "0" || is_waiting, "{command}: {printed}");
        if !output.iter().any(|line| line == LEFT_OUT) {
            assert_eq!(lines, output, "{command}");
            continue;
        }
        let mut printed = lines.iter();
        for line in output.iter().filter(|line| *line != LEFT_OUT) {
            assert!(
                printed.any(|found| found == line),
                "{command}: {line}: {of_command}"
            );
        }
    }
    assert_eq!(rest, "");
}
