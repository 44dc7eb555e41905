//! Installations that are broken on purpose. Each is named first by the id of its fault.

mod crls;
mod issuers;
mod libraries;
mod tokens;

use anyhow::{Context as _, Result, ensure};

use super::Reported;
use crate::sign::case::Case;

/// The id that is expected first, and what breaks the installation. Returns further flags.
type Row = (&'static str, fn(&mut Case) -> Result<Vec<String>>);

/// Breaks an installation for each row, and checks that doctor names the fault first, with a cure.
fn each_is_named_first(rows: &[Row]) -> Result<()> {
    for (id, damage) in rows {
        let mut case = Case::new()?;
        let flags = damage(&mut case).with_context(|| (*id).to_owned())?;
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let reported = Reported::on(&case, &flags).with_context(|| (*id).to_owned())?;
        let first = reported.first();
        let first = first.with_context(|| format!("{id}: nothing is wrong: {reported:?}"))?;
        ensure!(first["id"] == *id, "{id}: {first}\n{reported:?}");
        let filled = |field: &str| first[field].as_str().is_some_and(|text| !text.is_empty());
        ensure!(
            filled("message") && filled("cure") && filled("page"),
            "{id}: {first}"
        );
        let code = match first["state"] == "fail" {
            true => 3,
            false => 0,
        };
        ensure!(reported.code == Some(code), "{id}: {reported:?}");
    }
    Ok(())
}

/// No further flags.
fn done() -> Result<Vec<String>> {
    Ok(Vec::new())
}

/// Logs in once with the right PIN, so that it is on record as accepted.
fn accepted(case: &Case) -> Result<()> {
    case.sign(&["--dry-run"])?.chain().map(drop)
}
