//! How commands print records: for people as tables, with colour on a terminal; for programs as JSON or YAML.

use std::{
    io::{self, Write},
    ops::Range,
};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use crate::{args::RecordFormat, message::shown};

/// Blanks between two columns.
const GAP: u16 = 2;
/// The first column is not wrapped if the terminal is wider than it by this.
const REST: usize = 30;

/// For heads of tables and names of fields.
pub(super) const HEAD: Style = Style::new().bold();
/// For what is well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// For what somebody should look at.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// For what needs attention.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Writes a record to stdout, as `text` makes it for people.
///
/// # Errors
/// stdout is closed.
pub(super) fn print(
    format: RecordFormat,
    record: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let stdout = io::stdout().lock();
    let written = match format {
        RecordFormat::Text => return print_text(&text()).context("failed to write to stdout"),
        RecordFormat::Json => write(stdout, &(serde_json::to_string_pretty(record)? + "\n")),
        RecordFormat::Yaml => {
            let yaml = serde_saphyr::to_string(record)?;
            write(stdout, &format!("{}\n", yaml.trim_end()))
        }
    };
    written.context("failed to write to stdout")
}

/// Writes a text for people to stdout. Its styles are kept on a terminal only, and not if `NO_COLOR` is set
/// (<https://no-color.org>).
///
/// # Errors
/// stdout is closed.
pub(super) fn print_text(text: &str) -> io::Result<()> {
    write(anstream::stdout().lock(), text)
}

fn write(mut stdout: impl Write, text: &str) -> io::Result<()> {
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Returns rows with aligned columns. On a terminal, cells that are too wide for it are wrapped, but not those of the first column
/// while there is room for the others: it has names to copy. Elsewhere each row is one line. The caller escapes texts of others.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let names = rows.iter().filter_map(|row| row.first());
    let widest = names.map(|name| name.chars().count()).max();
    let needed = widest.unwrap_or_default() + REST;
    let has_room = table
        .width()
        .is_some_and(|width| needed <= usize::from(width));
    if let Some(first) = table.column_mut(0).filter(|_| has_room) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

/// Returns rows with aligned columns, as [`columns`] does, under a head.
pub(super) fn headed<const N: usize>(head: [&str; N], mut rows: Vec<[String; N]>) -> String {
    rows.insert(0, head.map(str::to_owned));
    let text = columns(&rows);
    let end = text.find('\n').unwrap_or(text.len());
    let (head, rows) = text.split_at(end);
    format!("{HEAD}{head}{HEAD:#}{rows}")
}

/// Returns a line for each field of a record, its name first. Texts are escaped.
pub(super) fn fields<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows = lines.into_iter();
    let rows: Vec<_> = rows
        .map(|(name, text)| [format!("{name}:"), shown(text)])
        .collect();
    // A line that begins with a blank goes on with the text of the field before it.
    let named = |line: &str| line.find(':').filter(|_| !line.starts_with(' '));
    styled(&columns(&rows), |line| Some((0..named(line)?, HEAD)))
}

/// Returns the text with styles. `style` returns the part of a line that has one, in octets, and which.
pub(super) fn styled(text: &str, style: impl Fn(&str) -> Option<(Range<usize>, Style)>) -> String {
    let mut all = String::new();
    for line in text.lines() {
        let (part, style) = style(line).unwrap_or_default();
        let (before, rest) = line.split_at_checked(part.start).unwrap_or((line, ""));
        let (part, after) = rest.split_at_checked(part.len()).unwrap_or((rest, ""));
        all += &format!("{before}{style}{part}{style:#}{after}\n");
    }
    all
}

/// Returns where the first of these words stands in a line.
pub(super) fn place(line: &str, words: &[&str]) -> Option<Range<usize>> {
    let mut found = words.iter().filter_map(|word| {
        let start = line.find(word)?;
        Some(start..start + word.len())
    });
    found.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let rows = [["a", "bb", "c"], ["dddd", "", "é"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a     bb  c\ndddd      é\n");
    }

    #[test]
    fn a_style_is_around_its_part_of_the_line_and_changes_no_width() {
        let text = styled("  FAIL  a FAIL\n  ok  b\n", |line| {
            Some((place(line, &["WARN", "FAIL"])?, HEAD))
        });
        assert_eq!(text, "  \u{1b}[1mFAIL\u{1b}[0m  a FAIL\n  ok  b\n");
        let text = headed(["A", "B"], vec![["a".to_owned(), "b".to_owned()]]);
        assert_eq!(text, "\u{1b}[1mA  B\u{1b}[0m\na  b\n");
    }

    #[test]
    fn the_texts_of_fields_are_escaped() {
        let text = fields([("label", "\u{1b}[2J: x".to_owned())]);
        assert_eq!(text, "\u{1b}[1mlabel\u{1b}[0m:  \\u{1b}[2J: x\n");
    }
}
