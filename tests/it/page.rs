//! Runs the console blocks of a page of the documentation as they stand, in order and in one shell, and compares what the commands
//! say with what the page shows.
//!
//! A command begins with `$ ` and goes on in the next line after `\`, and to the end of a here-document. The lines below it are what it
//! says on stdout and stderr; if there are none, it may say anything. It must succeed, unless the next command is `echo $?`.

mod shown;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use control_plane::{Process, Program};

use self::shown::differs;
use crate::desk::Desk;

/// A page takes no longer, or something hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// The command that says how the one before it ended.
const ASKS: &str = "echo $?";

/// A command with what the page shows of its output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    /// Number of the command's first line on the page, from 1.
    line: usize,
    /// The command, with all of its lines.
    pub(crate) command: String,
    shown: Vec<&'a str>,
}

/// The commands of a page.
pub(crate) struct Page<'a> {
    pub(crate) steps: Vec<Step<'a>>,
}

impl<'a> Page<'a> {
    /// Reads the console blocks of a page.
    pub(crate) fn parse(text: &'a str) -> Result<Self> {
        let mut steps: Vec<Step<'_>> = Vec::new();
        let mut lines = text.lines().enumerate();
        let mut in_console = false;
        while let Some((index, line)) = lines.next() {
            if line.starts_with("```") {
                in_console = line == "```console";
                continue;
            }
            if !in_console {
                continue;
            }
            let Some(command) = line.strip_prefix("$ ") else {
                let step = steps.last_mut();
                let step = step.with_context(|| format!("line {}: nobody said this", index + 1))?;
                step.shown.push(line);
                continue;
            };
            let mut command = command.to_owned();
            while let Some(end) = goes_on(&command) {
                let (_, line) = lines.next().context("a command does not end")?;
                let ends = end == line;
                command = format!("{command}\n{line}");
                if ends {
                    break;
                }
            }
            steps.push(Step {
                line: index + 1,
                command,
                shown: Vec::new(),
            });
        }
        ensure!(!steps.is_empty(), "the page has no command");
        Ok(Self { steps })
    }

    /// Runs the commands, and returns what each has said. Whatever they start ends with the last of them.
    pub(crate) async fn run(&self, desk: &Desk, env: &[(&str, &Path)]) -> Result<Vec<String>> {
        let said = desk.path(".said");
        fs::create_dir(&said)?;
        let script = said.join("script");
        fs::write(&script, self.script(desk.folder(), &said)?)?;
        let mut bash = Program::new("bash")
            .args([&script])
            .env("PATH", Desk::programs()?);
        for (name, value) in env {
            bash = bash.env(*name, *value);
        }
        let bash = Process::start("page", bash, &said)?;
        let ended = bash.wait(PATIENCE).await;
        let mut all = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            let read = |kind| fs::read_to_string(file(&said, number, kind)).unwrap_or_default();
            let (text, code) = (read("said"), read("code"));
            let about = format!("line {}\n$ {}\n{text}\n", step.line, step.command);
            match code.trim() {
                "0" => (),
                "" => bail!("{about}it did not end: {ended:?} {}", bash.log()?),
                _ if self.asks(number + 1) => (),
                code => bail!("{about}it ended with {code}"),
            }
            if let Some(difference) = differs(&step.shown, &text) {
                bail!("{about}the page shows something else: {difference}");
            }
            all.push(text);
        }
        ended.map(|_| all)
    }

    /// Whether a command asks how the one before it ended.
    fn asks(&self, number: usize) -> bool {
        let step = self.steps.get(number);
        step.is_some_and(|step| step.command == ASKS)
    }

    /// Returns the script that runs the commands, and writes what each says and how it ends into files.
    fn script(&self, folder: &Path, said: &Path) -> Result<String> {
        let mut script = format!(
            "set -o pipefail\ncd '{}'\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\ncode=0\n",
            folder.display()
        );
        for (number, step) in self.steps.iter().enumerate() {
            write!(
                script,
                "{{\n(exit $code)\n{}\n}} >'{}' 2>&1\ncode=$?\necho $code >'{}'\n",
                step.command,
                file(said, number, "said").display(),
                file(said, number, "code").display()
            )?;
            if !self.asks(number + 1) {
                writeln!(script, "[ $code = 0 ] || exit")?;
            }
        }
        Ok(script)
    }
}

fn file(said: &Path, number: usize, kind: &str) -> PathBuf {
    said.join(format!("{number}.{kind}"))
}

/// Returns the line that ends a command that goes on, or an empty text if only `\` continues it.
fn goes_on(command: &str) -> Option<String> {
    if let Some((_, rest)) = command.split_once("<<") {
        let word = rest.split_whitespace().next().unwrap_or_default();
        return Some(word.trim_matches('\'').to_owned());
    }
    command.ends_with('\\').then(String::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Page

```console
$ cat >file <<EOF | sed s/a/b/
$ a
EOF
$ echo \\
    one
one
[…]
```

```yaml
$ not: a command
```

```console
$ false
$ echo $?
1
```
";

    #[test]
    fn the_commands_of_a_page_are_read_with_what_is_shown_below_them() -> Result<()> {
        let page = Page::parse(TEXT)?;
        let read: Vec<_> = page
            .steps
            .iter()
            .map(|step| (step.line, step.command.as_str(), step.shown.clone()))
            .collect();
        let expected: [(usize, &str, Vec<&str>); 4] = [
            (4, "cat >file <<EOF | sed s/a/b/\n$ a\nEOF", vec![]),
            (7, "echo \\\n    one", vec!["one", "[…]"]),
            (18, "false", vec![]),
            (19, "echo $?", vec!["1"]),
        ];
        assert_eq!(read, expected);
        assert!(Page::parse("```console\nsaid\n```\n").is_err());
        assert!(Page::parse("```console\n$ cat <<EOF\n```\n").is_err());
        Ok(())
    }

    async fn ran(commands: &str) -> Result<()> {
        let page = format!("```console\n{commands}\n```\n");
        let said = Page::parse(&page)?.run(&Desk::new()?, &[]).await;
        said.map(drop)
    }

    #[tokio::test]
    async fn a_page_that_shows_what_is_said_passes_and_every_other_one_fails() -> Result<()> {
        ran("$ x=1\n$ echo $x two\n1 two\n$ false\n$ echo $?\n1\n$ sleep 600 &").await?;
        for (wrong, expected) in [
            ("$ echo one\ntwo", "\"two\" is not \"one\""),
            ("$ false\n$ echo one", "it ended with 1"),
            ("$ false\n$ echo $?\n2", "\"2\" is not \"1\""),
            ("$ echo one\n$ exit 1", "it did not end"),
        ] {
            let error = ran(wrong).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
        Ok(())
    }
}
