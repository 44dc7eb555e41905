//! How commands print records: for people as tables, for programs as JSON or YAML.

use std::io::{self, Write as _};

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use crate::args::RecordFormat;

/// Blanks between two columns.
const GAP: u16 = 2;

/// Writes a record to stdout, as `text` makes it for people.
///
/// # Errors
/// stdout is closed.
pub(super) fn print(
    format: RecordFormat,
    record: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let printed = match format {
        RecordFormat::Text => text(),
        RecordFormat::Json => serde_json::to_string_pretty(record)? + "\n",
        RecordFormat::Yaml => serde_saphyr::to_string(record)?.trim_end().to_owned() + "\n",
    };
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(printed.as_bytes())
        .and_then(|()| stdout.flush())
        .context("failed to write to stdout")
}

/// Returns rows with aligned columns, the first row being the head if there is one. On a terminal, cells that are too wide
/// for it are wrapped; elsewhere each row is one line. The caller escapes texts of others.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let rows = [["a", "bb", "c"], ["dddd", "", "é"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a     bb  c\ndddd      é\n");
    }
}
