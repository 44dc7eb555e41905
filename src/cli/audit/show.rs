//! `pkcs11-issuer audit show`: the lines of logs, chosen and laid out.

use std::{
    borrow::Cow,
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use super::files::Files;
use crate::{
    args::{Show, ShowFormat},
    audit::{
        filter::{EntryFilter, plain_serial},
        read::{Assembler, LogEntry},
    },
    cli::output::{HEAD, print_text},
    message::shown,
};

/// The columns of CSV.
const COLUMNS: [&str; 22] = [
    "time",
    "run",
    "seq",
    "event",
    "kind",
    "namespace",
    "name",
    "uid",
    "certificate",
    "requester",
    "issuer",
    "token",
    "keyId",
    "serial",
    "subject",
    "names",
    "notBefore",
    "notAfter",
    "csrSha256",
    "reason",
    "revocation",
    "crlNumber",
];

/// Prints the lines that are asked for.
///
/// # Errors
/// A file could not be read, or stdout could not be written.
pub(super) fn show(args: &Show) -> anyhow::Result<ExitCode> {
    let filter = filter(args);
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        ShowFormat::Table => print_text(&format!(
            "{HEAD}{:<20} {:<20} {:<34} {:<32} {:<24} NAMES{HEAD:#}\n",
            "TIME", "EVENT", "SERIAL", "REQUEST", "ISSUER"
        ))?,
        ShowFormat::Json => (),
        ShowFormat::Csv => row(&mut out, COLUMNS.map(Cow::Borrowed))?,
    }
    let mut written = Ok(());
    let mut told = |entry: &LogEntry, json: &[u8]| {
        if written.is_ok() && filter.admits(entry) {
            written = match args.output {
                ShowFormat::Table => table(&mut out, entry),
                ShowFormat::Json => out.write_all(json).and_then(|()| out.write_all(b"\n")),
                ShowFormat::Csv => row(&mut out, cells(entry)),
            };
        }
    };
    let mut assembler = Assembler::default();
    Files::once(&args.logs.files).each_line(|octets, place| {
        assembler.take(octets, place, &mut |entry, json, _| told(entry, json));
        Ok(())
    })?;
    assembler.finish(&mut |entry, json, _| told(entry, json));
    written?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn filter(args: &Show) -> EntryFilter {
    let Show {
        serial,
        name,
        request,
        issuer,
        key,
        requester,
        since,
        until,
        event,
        ..
    } = args;
    EntryFilter {
        serial: serial.as_deref().map(plain_serial),
        name: name.clone(),
        request: request.clone(),
        issuer: issuer.clone(),
        key: key.clone(),
        requester: requester.clone(),
        since: *since,
        until: *until,
        events: event.clone(),
    }
}

fn table(out: &mut impl Write, entry: &LogEntry) -> io::Result<()> {
    let request = entry.request.as_ref().map(|request| request.path());
    let request = request.or_else(|| Some(entry.revocation.as_ref()?.path()));
    let issuer = entry.issuer.as_ref().map(|issuer| issuer.path());
    let mut names = entry.names.join(" ");
    for part in [&entry.subject, &entry.reason, &entry.outcome, &entry.change] {
        if let Some(part) = part.as_deref().filter(|part| !part.is_empty()) {
            names = format!("{names} {part}");
        }
    }
    if !entry.absent.is_empty() {
        names = format!("{names} (missing: {})", entry.absent.join(", "));
    }
    let line = format!(
        "{:<20} {:<20} {:<34} {:<32} {:<24} {}",
        time(entry),
        shown(&entry.event),
        shown(entry.serial.as_deref().unwrap_or("-")),
        shown(request.as_deref().unwrap_or("-")),
        shown(issuer.as_deref().unwrap_or("-")),
        shown(names.trim_start()),
    );
    writeln!(out, "{}", line.trim_end())
}

/// Returns when a line was written, without fractions of a second.
pub(super) fn time(entry: &LogEntry) -> String {
    let time = entry.time.map(|time| {
        let whole = time.round(jiff::Unit::Second);
        whole.unwrap_or(time).to_string()
    });
    time.unwrap_or_else(|| "-".to_owned())
}

fn cells(entry: &LogEntry) -> [Cow<'_, str>; 22] {
    fn text(text: Option<&String>) -> Cow<'_, str> {
        text.map(String::as_str).unwrap_or_default().into()
    }
    fn any(value: Option<impl ToString>) -> Cow<'static, str> {
        value
            .map(|value| value.to_string())
            .unwrap_or_default()
            .into()
    }
    let request = entry.request.as_ref();
    [
        any(entry.time),
        entry.run.as_str().into(),
        any(entry.seq),
        entry.event.as_str().into(),
        text(request.map(|request| &request.kind)),
        text(request.and_then(|request| request.namespace.as_ref())),
        text(request.map(|request| &request.name)),
        text(request.map(|request| &request.uid)),
        text(request.and_then(|request| request.certificate.as_ref())),
        text(
            entry
                .requester
                .as_ref()
                .map(|requester| &requester.username),
        ),
        any(entry.issuer.as_ref().map(|issuer| issuer.path())),
        text(entry.token.as_ref().map(|token| &token.name)),
        text(entry.key_id.as_ref()),
        text(entry.serial.as_ref()),
        text(entry.subject.as_ref()),
        entry.names.join(" ").into(),
        any(entry.not_before),
        any(entry.not_after),
        text(entry.csr_sha256.as_ref()),
        text(entry.reason.as_ref()),
        any(entry
            .revocation
            .as_ref()
            .map(|revocation| revocation.path())),
        any(entry.crl.as_ref().map(|crl| crl.number)),
    ]
}

/// Writes a row of CSV (RFC 4180).
fn row(out: &mut impl Write, cells: [Cow<'_, str>; 22]) -> io::Result<()> {
    let row = cells.map(|cell| quoted(&cell)).join(",");
    write!(out, "{row}\r\n")
}

/// Returns a cell that no spreadsheet evaluates: the authors of requests choose many of these texts.
fn quoted(cell: &str) -> String {
    let guard = match cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => "'",
        false => "",
    };
    match guard.is_empty() && !cell.contains([',', '"', '\n', '\r']) {
        true => cell.to_owned(),
        false => format!("\"{guard}{}\"", cell.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_csv_is_quoted_and_never_a_formula() {
        for (cell, expected) in [
            ("a", "a"),
            ("", ""),
            ("O=Shop", "O=Shop"),
            ("CN=web,O=Shop", "\"CN=web,O=Shop\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=cmd()", "\"'=cmd()\""),
            ("-1", "\"'-1\""),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(quoted(cell), expected, "{cell:?}");
        }
    }
}
