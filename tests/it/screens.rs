//! What the main commands show: the page `docs/screens.md` has their commands, their text and pictures of a terminal.
//! `make screens` records all of it again.

mod desk;
mod page;
mod picture;
pub(crate) mod terminal;

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use self::{
    desk::{Desk, PROGRAMS},
    page::{Screen, screens},
    picture::svg,
    terminal::on_terminal,
};

/// What a terminal takes for the beginning of a style.
const ESCAPE: char = '\u{1b}';

fn checkout(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_has_the_text_of_its_commands() -> Result<()> {
    let desk = Desk::new()?;
    for screen in screens()? {
        for command in &screen.commands {
            // trycmd would skip any other program.
            let program = command.split(' ').next().unwrap_or_default();
            ensure!(PROGRAMS.contains(&program), "{command}: no such program");
        }
    }
    let cases = trycmd::TestCases::new();
    for program in PROGRAMS {
        cases.register_bin(program, desk.program(program).as_path());
    }
    for (name, value) in desk.varying() {
        cases
            .insert_var(name, value)
            .map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    }
    cases.case(checkout("docs/screens.md")).run();
    Ok(())
}

#[test]
fn the_pictures_are_what_a_terminal_shows() -> Result<()> {
    let desk = Desk::new()?;
    let folder = checkout("docs/screens");
    let mut expected = BTreeSet::new();
    let mut differ = Vec::new();
    for screen in screens()? {
        let mut shown = String::new();
        for command in &screen.commands {
            let output = on_terminal(&mut desk.shell(command))?;
            shown += &format!("\u{1b}[1m$ {command}\u{1b}[0m\n{output}\n");
        }
        let picture = svg(&desk, &shown);
        let name = format!("{}.svg", screen.name);
        let file = Path::new(&folder).join(&name);
        if env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&file, &picture)?;
        }
        if fs::read_to_string(&file).unwrap_or_default() != picture {
            differ.push(name.clone());
        }
        ensure!(expected.insert(name), "{} twice", screen.name);
    }
    ensure!(
        differ.is_empty(),
        "docs/screens: {differ:?} differ from what a terminal shows: run `make screens` and review the difference"
    );
    let found: BTreeSet<_> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    assert_eq!(
        found, expected,
        "docs/screens has a file that is on no page"
    );
    Ok(())
}

#[test]
fn every_main_command_has_colour_on_a_terminal_and_none_in_a_pipe_or_with_no_color() -> Result<()> {
    let desk = Desk::new()?;
    for Screen { commands, .. } in screens()? {
        for command in commands {
            let output = desk.shell(&command).output()?;
            let mut piped = String::from_utf8(output.stdout)?;
            piped += &String::from_utf8(output.stderr)?;
            ensure!(!piped.is_empty(), "{command} says nothing");
            ensure!(!piped.contains(ESCAPE), "{command} in a pipe: {piped}");
            let shown = on_terminal(&mut desk.shell(&command))?;
            ensure!(shown.contains(ESCAPE), "{command}: {shown}");
            let plain = on_terminal(desk.shell(&command).env("NO_COLOR", "1"))?;
            ensure!(!plain.contains(ESCAPE), "{command}, NO_COLOR: {plain}");
        }
    }
    Ok(())
}

#[test]
fn json_and_yaml_have_no_colour_on_a_terminal() -> Result<()> {
    let desk = Desk::new()?;
    for format in ["json", "yaml"] {
        for command in ["token list", "doctor --skip cluster,installation"] {
            let command = format!("pkcs11-issuer {command} --config config.yaml -o {format}");
            let command = command.replace(" -o ", " --output ");
            let shown = on_terminal(&mut desk.shell(&command))?;
            ensure!(shown.contains("softhsm"), "{command}: {shown}");
            ensure!(!shown.contains(ESCAPE), "{command}: {shown}");
        }
    }
    Ok(())
}

#[test]
fn uris_are_whole_on_a_wide_terminal_and_a_narrow_one_wraps_cells() -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", "stty size; test -t 0 && test -t 1 && test -t 2"]);
    let shown = on_terminal(&mut command)?;
    let (lines, columns) = shown.trim().split_once(' ').context("no size")?;
    assert_eq!(columns.parse::<u16>()?, terminal::COLUMNS, "{lines}");
    let desk = Desk::new()?;
    let [_, (_, serial), _] = desk.varying();
    let token = format!("pkcs11:token=issuing;serial={serial}");
    for (command, uri) in [
        ("token list", format!("{token} ")),
        ("key list", format!("{token};object=issuing-ca;id=%02 ")),
    ] {
        let command = format!("pkcs11-issuer {command} --config config.yaml");
        let shown = on_terminal(&mut desk.shell(&command))?;
        ensure!(shown.contains(&uri), "{command}: {shown}");
    }
    let command = "pkcs11-issuer token list --config config.yaml";
    let piped = desk.shell(command).output()?.stdout;
    let piped = String::from_utf8(piped)?;
    let wide = |text: &str| {
        let widths = text.lines().map(|line| line.chars().count());
        widths.max().unwrap_or_default()
    };
    let narrow = on_terminal(&mut desk.shell(&format!("stty cols 60; NO_COLOR=1 {command}")))?;
    ensure!(wide(&piped) > 60 && wide(&narrow) <= 60, "{narrow}");
    Ok(())
}
