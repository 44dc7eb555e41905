//! The help of every command: its examples are run by a shell, and what they call our program with is parsed.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use clap::{CommandFactory as _, Parser as _};
use pkcs11_issuer::args::Args;

/// Stands before the examples of a help: our program writes down its arguments, and the others do nothing. A program that is
/// not named here or on the machine is a fault. kubectl runs our plugin under its other name.
const RECORDED: &str = r#"
pkcs11-issuer() { printf '%s\0' "$@" >"$(mktemp calls/XXXXXXXX)"; }
kubectl() { if [ "$1" = pkcs11-issuer ]; then shift; pkcs11-issuer kubectl "$@"; fi; }
curl() { :; }
openssl() { :; }
pass() { :; }
command_not_found_handle() { echo "$1" >>unknown; }
HOME=$PWD
"#;

/// Stands before examples that run: only kubectl does nothing but read.
const RUN: &str = r#"
set -eo pipefail
pkcs11-issuer() { "$PROGRAM" "$@"; }
kubectl() { cat >applied; }
HOME=$PWD
"#;

/// Commands whose examples need nothing but the program. The others are run with tokens, logs and clusters by their own tests.
const NEED_NOTHING: [&str; 4] = ["completions", "crds", "man", "version"];

/// Calls `visit` with each command, groups of commands included, and the words that name it.
fn each(
    command: &clap::Command,
    path: &[String],
    visit: &mut impl FnMut(&[String], &clap::Command) -> Result<()>,
) -> Result<()> {
    visit(path, command)?;
    for below in command.get_subcommands() {
        let path = [path, &[below.get_name().to_owned()]].concat();
        each(below, &path, visit)?;
    }
    Ok(())
}

/// Returns the examples of a help as a script. A line that only says what the next one is for ends with a colon; under such
/// lines the commands are indented twice.
fn examples(command: &clap::Command) -> Result<String> {
    let help = command.get_after_help().context("no examples")?.to_string();
    let shown = help
        .strip_prefix("Examples:\n")
        .context("does not begin with Examples")?;
    let mut lines = Vec::new();
    for line in shown.lines() {
        if !line.is_empty() && !line.starts_with("  ") {
            break;
        }
        lines.push(line);
    }
    let is_title = |line: &&str| {
        line.strip_prefix("  ").is_some_and(|line| {
            !line.starts_with([' ', '#']) && line.ends_with(':') && !line.contains("pkcs11-issuer ")
        })
    };
    let indented = match lines.iter().any(is_title) {
        true => "    ",
        false => "  ",
    };
    let commands = lines.iter().filter(|line| !is_title(line));
    let commands = commands.map(|line| line.strip_prefix(indented).unwrap_or(line));
    Ok(commands.collect::<Vec<_>>().join("\n"))
}

fn shell(folder: &Path, prelude: &str, script: &str) -> Result<String> {
    let output = Command::new("bash")
        .env("PROGRAM", env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .current_dir(folder)
        .args(["--noprofile", "--norc", "-c"])
        .arg(format!("{prelude}\n{script}\nwait\n"))
        .stdin(std::process::Stdio::null())
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{script}\n{errors}");
    Ok(errors)
}

/// Returns the arguments of each call of our program in a script.
fn calls(script: &str) -> Result<Vec<Vec<String>>> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("calls"))?;
    // The last command of a help may be one that does nothing here and so fails.
    shell(folder.path(), RECORDED, &format!("{script}\n:"))?;
    if let Ok(unknown) = fs::read_to_string(folder.path().join("unknown")) {
        anyhow::bail!("the examples call {}", unknown.trim());
    }
    let mut calls = Vec::new();
    for file in fs::read_dir(folder.path().join("calls"))? {
        let text = fs::read_to_string(file?.path())?;
        let words = text.split_terminator('\0').map(str::to_owned);
        calls.push(words.collect());
    }
    Ok(calls)
}

#[test]
fn every_command_has_examples_of_itself_and_each_of_them_is_accepted() -> Result<()> {
    let mut seen = 0;
    each(&Args::command(), &[], &mut |path, command| {
        let name = path.join(" ");
        let script = examples(command).with_context(|| name.clone())?;
        let calls = calls(&script).with_context(|| name.clone())?;
        let written = script.matches("pkcs11-issuer ").count()
            - script.matches("name: pkcs11-issuer ").count();
        ensure!(
            !calls.is_empty() && calls.len() <= written,
            "{name}: {calls:?}"
        );
        for call in &calls {
            let words = std::iter::once("pkcs11-issuer").chain(call.iter().map(String::as_str));
            Args::try_parse_from(words).with_context(|| format!("{name}: {call:?}"))?;
            seen += 1;
        }
        ensure!(
            calls.iter().any(|call| call.starts_with(path)),
            "{name} shows no example of itself: {calls:?}"
        );
        Ok(())
    })?;
    assert!(seen > 20, "{seen}");
    Ok(())
}

#[test]
fn an_example_with_a_wrong_flag_would_be_found() -> Result<()> {
    let calls = calls("curl x | pkcs11-issuer audit 'verify' --hole - > \"a b\"")?;
    assert_eq!(calls, [["audit", "verify", "--hole", "-"]]);
    let words = std::iter::once("pkcs11-issuer").chain(calls[0].iter().map(String::as_str));
    assert!(Args::try_parse_from(words).is_err());
    assert!(self::calls("frobnicate").is_err());
    Ok(())
}

#[test]
fn the_examples_that_need_nothing_run() -> Result<()> {
    for name in NEED_NOTHING {
        let command = Args::command();
        let command = command.find_subcommand(name).context(name)?;
        let folder = tempfile::tempdir()?;
        let errors = shell(folder.path(), RUN, &examples(command)?)?;
        assert_eq!(errors, "", "{name}");
    }
    Ok(())
}

#[test]
fn every_command_has_a_manual_page_with_its_examples() -> Result<()> {
    let folder = tempfile::tempdir()?;
    shell(folder.path(), RUN, "pkcs11-issuer man pages/man1")?;
    each(&Args::command(), &[], &mut |path, _| {
        let name = [&["pkcs11-issuer".to_owned()], path].concat().join("-");
        let page = folder.path().join(format!("pages/man1/{name}.1"));
        let page = fs::read_to_string(&page).with_context(|| name.clone())?;
        ensure!(page.contains("Examples:"), "{name}");
        Ok(())
    })
}

#[test]
fn bash_completes_commands_and_flags() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let script = r#"
        set -e
        source <("$PROGRAM" completions bash)
        COMP_WORDS=(pkcs11-issuer audit ver) COMP_CWORD=2
        _pkcs11__issuer pkcs11-issuer ver audit
        echo "${COMPREPLY[@]}" >commands
        COMP_WORDS=(pkcs11-issuer sign --dr) COMP_CWORD=2
        _pkcs11__issuer pkcs11-issuer --dr sign
        echo "${COMPREPLY[@]}" >flags
    "#;
    shell(folder.path(), "", script)?;
    let read = |name| fs::read_to_string(folder.path().join(name));
    assert_eq!(
        (read("commands")?.trim(), read("flags")?.trim()),
        ("verify", "--dry-run")
    );
    Ok(())
}
