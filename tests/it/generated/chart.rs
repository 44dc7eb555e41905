//! The chart's CRDs, generated from the code, and the table of values in its README, generated from `values.yaml`.

use std::{collections::BTreeMap, env, fs};

use anyhow::{Context as _, Result, bail, ensure};
use rig::chart_path;
use serde_json::Value;

const BEGIN: &str = "<!-- values: generated from values.yaml by `make generated` -->\n";
const END: &str = "<!-- end of values -->\n";

#[test]
fn the_chart_has_the_generated_crds() -> Result<()> {
    let copies = chart_path().join("files/crds");
    if env::var_os("UPDATE_GENERATED").is_some() {
        super::write_crds(&copies)?;
    }
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&copies)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.context("not UTF-8")?.to_owned();
        found.insert(name, fs::read_to_string(path)?);
    }
    assert!(
        found == super::crds().into_iter().collect(),
        "charts/pkcs11-issuer/files/crds differs from the code: run `make generated`"
    );
    Ok(())
}

#[test]
fn the_readme_of_the_chart_has_a_generated_row_for_every_value() -> Result<()> {
    let text = fs::read_to_string(chart_path().join("values.yaml"))?;
    let values: Value = serde_saphyr::from_str(&text)?;
    let explained = explanations(&text)?;
    every_value_is_explained(&values, "", &explained)?;
    let file = chart_path().join("README.md");
    let readme = fs::read_to_string(&file)?;
    let (before, rest) = readme.split_once(BEGIN).context("no mark")?;
    let (_, after) = rest.split_once(END).context("no end mark")?;
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table(&values, &explained)?);
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&file, &wanted)?;
    }
    assert!(
        fs::read_to_string(&file)? == wanted,
        "the table in charts/pkcs11-issuer/README.md differs from values.yaml: run `make generated`"
    );
    Ok(())
}

/// A line of the table: a heading, or a value with the path of its keys.
enum Row {
    Heading(String),
    Value { path: String, text: String },
}

/// Parses the comments: one that begins with two hyphens explains the key below it, and one that stands alone is a heading.
fn explanations(text: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment: Option<String> = None;
    let mut alone = String::new();
    // Skip the comment at the top, which is about the file.
    let (_, body) = text.split_once("\n\n").context("no comment at the top")?;
    for line in body.lines() {
        let trimmed = line.trim_start();
        let indentation = line.len() - trimmed.len();
        match (trimmed.strip_prefix("# -- "), trimmed.strip_prefix("# ")) {
            (Some(begin), _) => comment = Some(begin.to_owned()),
            (None, Some(more)) => match &mut comment {
                Some(comment) => {
                    comment.push(' ');
                    comment.push_str(more);
                }
                None => alone = more.to_owned(),
            },
            (None, None) if trimmed.is_empty() => {
                if !alone.is_empty() {
                    rows.push(Row::Heading(std::mem::take(&mut alone)));
                }
            }
            (None, None) => {
                let Some((key, _)) = trimmed
                    .split_once(':')
                    .filter(|_| !trimmed.starts_with("- "))
                else {
                    continue;
                };
                path.retain(|(depth, _)| *depth < indentation);
                path.push((indentation, key));
                if let Some(text) = comment.take() {
                    let keys: Vec<_> = path.iter().map(|(_, key)| *key).collect();
                    let path = keys.join(".");
                    rows.push(Row::Value { path, text });
                }
            }
        }
    }
    Ok(rows)
}

fn every_value_is_explained(values: &Value, at: &str, rows: &[Row]) -> Result<()> {
    let is = |row: &Row| matches!(row, Row::Value { path, .. } if path == at);
    if rows.iter().any(is) {
        return Ok(());
    }
    let Some(values) = values.as_object().filter(|values| !values.is_empty()) else {
        bail!("values.yaml does not explain {at}");
    };
    for (key, value) in values {
        let at = if at.is_empty() {
            key.clone()
        } else {
            format!("{at}.{key}")
        };
        every_value_is_explained(value, &at, rows)?;
    }
    Ok(())
}

fn table(values: &Value, rows: &[Row]) -> Result<String> {
    let mut table = String::new();
    for row in rows {
        match row {
            Row::Heading(heading) => table.push_str(&format!(
                "\n### {heading}\n\n| value | default | what it is |\n|---|---|---|\n"
            )),
            Row::Value { path, text } => {
                let mut value = values;
                for key in path.split('.') {
                    value = value.get(key).with_context(|| format!("no value {path}"))?;
                }
                ensure!(
                    !text.contains('|'),
                    "{path}: a vertical bar would end the cell of the table"
                );
                table.push_str(&format!("| `{path}` | `{value}` | {text} |\n"));
            }
        }
    }
    table.push('\n');
    Ok(table)
}
