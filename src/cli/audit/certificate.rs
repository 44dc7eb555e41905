//! `pkcs11-issuer audit certificate`: the story of a certificate.

mod decoded;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use self::decoded::Decoded;
use super::{files::Files, show::time};
use crate::{
    args::ShowCertificate,
    audit::{
        filter::plain_serial,
        read::{Assembler, LogEntry, Position},
    },
    issuance::pem,
    message::shown,
};

/// Prints what happened to a certificate, and the certificate.
///
/// # Errors
/// No line is about it, a file could not be read, or stdout could not be written.
pub(super) fn certificate(args: &ShowCertificate) -> anyhow::Result<ExitCode> {
    let serial = plain_serial(&args.serial);
    let files = Files::again(&args.logs.files)?;
    let is_it =
        |entry: &LogEntry| entry.serial.as_deref().map(plain_serial).as_ref() == Some(&serial);
    let mut requests = BTreeSet::new();
    each_entry(&files, |entry, _| {
        if let (true, Some(request)) = (is_it(entry), &entry.request) {
            requests.insert(request.uid.clone());
        }
    })?;
    // Lines about the request may come before the first one with the serial number.
    let mut story = Vec::new();
    each_entry(&files, |entry, place| {
        let uid = entry.request.as_ref().map(|request| &request.uid);
        if is_it(entry) || uid.is_some_and(|uid| requests.contains(uid)) {
            story.push((entry.clone(), place.clone()));
        }
    })?;
    if story.is_empty() {
        bail!(
            "no line is about a certificate with the serial number {}; give the logs of all replicas and of that time",
            shown(&args.serial)
        );
    }
    story.sort_by(|(one, _), (other, _)| {
        (one.time, &one.run, one.seq).cmp(&(other.time, &other.run, other.seq))
    });
    let signed = story
        .iter()
        .map(|(entry, _)| entry)
        .find(|entry| is_it(entry) && entry.certificate.is_some());
    let der = signed
        .and_then(|entry| entry.certificate.as_deref())
        .map(|text| STANDARD.decode(text))
        .transpose()
        .context("the certificate in the log is not base64; see audit verify")?;
    print(&story, der.as_deref()).context("failed to write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

fn each_entry(files: &Files<'_>, mut told: impl FnMut(&LogEntry, &Position)) -> anyhow::Result<()> {
    let mut assembler = Assembler::default();
    files.each_line(|octets, place| {
        assembler.take(octets, place, &mut |entry, _, place| told(entry, place));
        Ok(())
    })?;
    assembler.finish(&mut |entry, _, place| told(entry, place));
    Ok(())
}

fn print(story: &[(LogEntry, Position)], der: Option<&[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let entries = || story.iter().map(|(entry, _)| entry);
    for (field, value) in about(entries) {
        writeln!(out, "{field:<12} {}", shown(value))?;
    }
    writeln!(out)?;
    for (entry, place) in story {
        let mut line = format!("{} {:<17}", time(entry), entry.event);
        if let Some(serial) = &entry.serial {
            line.push_str(&format!(" serial {serial}"));
        }
        if let Some(reason) = &entry.reason {
            line.push_str(&format!(" reason {reason}"));
        }
        if let Some(revocation) = &entry.revocation {
            line.push_str(&format!(" revocation {}", revocation.path()));
        }
        if let Some(crl) = &entry.crl {
            line.push_str(&format!(" crl {} shard {}", crl.number, crl.shard));
        }
        if !entry.extensions.is_empty() {
            line.push_str(&format!(" extensions {}", entry.extensions.join(" ")));
        }
        let seq = entry.seq.map(|seq| seq.to_string()).unwrap_or_default();
        line.push_str(&format!("  (run {} line {seq}, {place})", entry.run));
        writeln!(out, "{}", shown(line))?;
    }
    let Some(der) = der else {
        return writeln!(out, "\nno signed line with the certificate was found");
    };
    match Decoded::of(der) {
        Some(decoded) => write!(out, "\n{decoded}")?,
        None => writeln!(out, "\nthe certificate cannot be decoded")?,
    }
    write!(out, "\n{}", pem::encode("CERTIFICATE", der))
}

/// Returns who and what the lines are about. Fields that only some of the lines have come from the first of those.
fn about<'a, I: Iterator<Item = &'a LogEntry>>(
    entries: impl Fn() -> I,
) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let mut add = |field, value: Option<String>| {
        fields.extend(value.map(|value| (field, value)));
    };
    let first = |value: fn(&LogEntry) -> Option<String>| entries().find_map(value);
    add(
        "request",
        first(|entry| {
            let request = entry.request.as_ref()?;
            Some(format!(
                "{} {} (UID {})",
                request.kind,
                request.path(),
                request.uid
            ))
        }),
    );
    add(
        "Certificate",
        first(|entry| entry.request.as_ref()?.certificate.clone()),
    );
    add(
        "requester",
        first(|entry| {
            let requester = entry.requester.as_ref()?;
            let groups = requester.groups.join(", ");
            Some(match groups.as_str() {
                "" => requester.username.clone(),
                groups => format!("{} (groups {groups})", requester.username),
            })
        }),
    );
    add(
        "approval",
        first(|entry| {
            let approval = entry.approval.as_ref()?;
            let parts = [&approval.reason, &approval.message];
            let parts: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
            Some(parts.join(": "))
        }),
    );
    add(
        "issuer",
        first(|entry| {
            let issuer = entry.issuer.as_ref()?;
            Some(format!("{} {}", issuer.kind, issuer.path()))
        }),
    );
    add(
        "key",
        first(|entry| {
            let token = entry.token.as_ref()?;
            let id = entry.key_id.as_deref().unwrap_or("unknown");
            Some(format!("{id} on token {}", token.name))
        }),
    );
    add(
        "CSR",
        first(|entry| Some(format!("SHA-256 {}", entry.csr_sha256.as_ref()?))),
    );
    fields
}
