//! The minutes of a ceremony, for the file: everything on them was verified.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{args::Format, ceremony::Ceremony, hash::Hash, verify::Verified};

/// A part of a document.
enum Part {
    Heading(String),
    Text(String),
    Words(String),
    Table(Vec<[String; 2]>),
}

impl Ceremony {
    /// Returns the minutes.
    pub(crate) fn minutes(&self, verified: &Verified, format: Format) -> String {
        let parts = self.parts(verified);
        match format {
            Format::Markdown => markdown(&parts),
            Format::Html => html(&self.plan.ceremony, &parts),
        }
    }

    fn parts(&self, verified: &Verified) -> Vec<Part> {
        let time = |line: Option<&Value>| text(line.map(|line| &line["time"]));
        let hash = |name: &str, hash: &Hash| {
            [
                Part::Text(format!("{name}, SHA-256 {}, read aloud as:", hash.hex())),
                Part::Words(hash.words()),
            ]
        };
        let description = verified
            .lines
            .iter()
            .find_map(|line| line["token"].as_str())
            .unwrap_or_default();
        let mut parts = vec![
            Part::Heading(format!("Minutes of key ceremony {}", self.plan.ceremony)),
            Part::Table(vec![
                ["begun".into(), time(verified.lines.first())],
                ["ended".into(), time(verified.lines.last())],
                [
                    "token".into(),
                    format!(
                        "{}, serial number {} ({description})",
                        self.plan.token.label, self.plan.token.serial
                    ),
                ],
                [
                    "program".into(),
                    format!("pkcs11-ceremony {}", env!("CARGO_PKG_VERSION")),
                ],
                [
                    "approvals needed".into(),
                    self.approvers.threshold.to_string(),
                ],
                ["plan A approved by".into(), verified.approved_a.names()],
                ["plan B approved by".into(), verified.approved_b.names()],
            ]),
            Part::Heading("Hashes".into()),
        ];
        parts.extend(hash("Plan A", &self.plan.hash));
        parts.extend(hash("Plan B", &verified.plan_b));
        parts.extend(hash("List of approvers", &self.approvers.hash));
        parts.push(Part::Heading("Keys".into()));
        let keys = verified.keys.iter();
        parts.push(Part::Table(
            keys.map(|(name, hash)| {
                [
                    name.clone(),
                    format!("SHA-256 of the public key {}", hash.hex()),
                ]
            })
            .collect(),
        ));
        parts.push(Part::Heading(
            "Certificates, requests, CRLs and attestations".into(),
        ));
        let outputs = verified.outputs.iter();
        parts.push(Part::Table(
            outputs
                .map(|(file, hash)| [file.clone(), format!("SHA-256 {}", hash.hex())])
                .collect(),
        ));
        parts.push(Part::Heading("What happened".into()));
        let events = verified.lines.iter().map(|line| {
            let event = [text(Some(&line["event"])), text(Some(&line["step"]))];
            [text(Some(&line["time"])), event.join(" ").trim().to_owned()]
        });
        parts.push(Part::Table(events.collect()));
        parts.push(Part::Heading("Signatures of those present".into()));
        parts
    }
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn markdown(parts: &[Part]) -> String {
    // A table's cell must not end early, and nothing that was read may become markup.
    let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
    let mut out = String::new();
    for part in parts {
        // Writing to a string cannot fail.
        match part {
            Part::Heading(text) if out.is_empty() => writeln!(out, "# {}\n", cell(text)).ok(),
            Part::Heading(text) => writeln!(out, "## {}\n", cell(text)).ok(),
            Part::Text(text) => writeln!(out, "{}\n", cell(text)).ok(),
            Part::Words(text) => writeln!(out, "```text\n{text}```\n").ok(),
            Part::Table(rows) => {
                out.push_str("| | |\n|---|---|\n");
                for [name, value] in rows {
                    writeln!(out, "| {} | {} |", cell(name), cell(value)).ok();
                }
                writeln!(out).ok()
            }
        };
    }
    out
}

fn html(title: &str, parts: &[Part]) -> String {
    let escaped = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head><body>\n",
        escaped(title)
    );
    let mut level = 1;
    for part in parts {
        match part {
            Part::Heading(text) => {
                writeln!(out, "<h{level}>{}</h{level}>", escaped(text)).ok();
                level = 2;
            }
            Part::Text(text) => {
                writeln!(out, "<p>{}</p>", escaped(text)).ok();
            }
            Part::Words(text) => {
                writeln!(out, "<pre>{}</pre>", escaped(text)).ok();
            }
            Part::Table(rows) => {
                out.push_str("<table>\n");
                for [name, value] in rows {
                    writeln!(
                        out,
                        "<tr><th>{}</th><td>{}</td></tr>",
                        escaped(name),
                        escaped(value)
                    )
                    .ok();
                }
                out.push_str("</table>\n");
            }
        }
    }
    out + "</body></html>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_read_becomes_markup() {
        let parts = [Part::Table(vec![["<b>|".into(), "a & b".into()]])];
        assert!(markdown(&parts).contains("| &lt;b>\\| | a & b |"));
        let page = html("<t>", &parts);
        assert!(
            page.contains("<th>&lt;b&gt;|</th><td>a &amp; b</td>"),
            "{page}"
        );
        assert!(!page.contains("<t>"));
    }
}
