//! `pkcs11-issuer audit certificate`: the story of a certificate.

mod decoded;

use std::{
    collections::{BTreeMap, BTreeSet},
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

/// Prints what happened to a certificate or a request, and the certificate.
///
/// # Errors
/// No line is about it, a file could not be read, or stdout could not be written.
pub(super) fn certificate(args: &ShowCertificate) -> anyhow::Result<ExitCode> {
    let asked = plain_serial(&args.subject);
    let files = Files::again(&args.logs.files)?;
    let serial = |entry: &LogEntry| entry.serial.as_deref().map(plain_serial);
    let uid = |entry: &LogEntry| entry.request.as_ref().map(|request| request.uid.clone());
    let (mut requests, mut serials) = (BTreeSet::new(), BTreeSet::new());
    let mut programs = BTreeMap::new();
    each_leaf(&files, |entry, _| {
        if serial(entry).as_ref() == Some(&asked) || uid(entry).as_ref() == Some(&args.subject) {
            requests.extend(uid(entry));
            serials.extend(serial(entry));
        }
        if let (Some(version), Some(commit)) = (&entry.version, &entry.commit) {
            programs.insert(entry.run.clone(), format!("{version} ({commit})"));
        }
    })?;
    // Lines about the request may come before the first one with the serial number.
    let mut story = Vec::new();
    each_leaf(&files, |entry, place| {
        if serial(entry).is_some_and(|serial| serials.contains(&serial))
            || uid(entry).is_some_and(|uid| requests.contains(&uid))
        {
            story.push((entry.clone(), place.clone()));
        }
    })?;
    if story.is_empty() {
        bail!(
            "no line is about a certificate with the serial number {0} or a request with the UID {0}; give the logs of all replicas and of that time",
            shown(&args.subject)
        );
    }
    story.sort_by(|(one, _), (other, _)| {
        (one.time, &one.run, one.seq).cmp(&(other.time, &other.run, other.seq))
    });
    // A request may have had a certificate before, which was discarded.
    let signed = story
        .iter()
        .map(|(entry, _)| entry)
        .rfind(|entry| entry.event == "signed" && entry.certificate.is_some());
    let der = signed
        .and_then(|entry| entry.certificate.as_deref())
        .map(|text| STANDARD.decode(text))
        .transpose()
        .context("the certificate in the log is not base64; see audit verify")?;
    print(&story, &programs, der.as_deref()).context("failed to write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Calls `told` with each line that has a number. Checkpoints are about no certificate.
fn each_leaf(files: &Files<'_>, mut told: impl FnMut(&LogEntry, &Position)) -> anyhow::Result<()> {
    let mut told = |entry: &LogEntry, place: &Position| {
        if entry.seq.is_some() {
            told(entry, place);
        }
    };
    let mut assembler = Assembler::default();
    files.each_line(|octets, place| {
        assembler.take(octets, place, &mut |entry, _, place| told(entry, place));
        Ok(())
    })?;
    assembler.finish(&mut |entry, _, place| told(entry, place));
    Ok(())
}

/// Prints the story. `programs` has the version and the commit of the program of each run.
fn print(
    story: &[(LogEntry, Position)],
    programs: &BTreeMap<String, String>,
    der: Option<&[u8]>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let entries = || story.iter().map(|(entry, _)| entry);
    for (field, value) in about(entries) {
        writeln!(out, "{field:<12} {}", shown(value))?;
    }
    let runs: BTreeSet<_> = entries().map(|entry| &entry.run).collect();
    for run in runs {
        let program = programs.get(run).map_or("unknown", String::as_str);
        let program = format_args!("{program} in run {run}");
        writeln!(out, "{:<12} {}", "program", shown(program))?;
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
            let uid = requester.uid.as_ref().map(|uid| format!("UID {uid}"));
            let groups = requester.groups.join(", ");
            let groups = (!groups.is_empty()).then(|| format!("groups {groups}"));
            let more: Vec<_> = uid.into_iter().chain(groups).collect();
            Some(match more.as_slice() {
                [] => requester.username.clone(),
                more => format!("{} ({})", requester.username, more.join("; ")),
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
        "issuer UID",
        first(|entry| {
            let issuer = entry.issuer.as_ref()?;
            let generation = issuer.generation.map(|of| format!(", generation {of}"));
            Some(issuer.uid.clone()? + &generation.unwrap_or_default())
        }),
    );
    add(
        "profile",
        first(|entry| hash(entry.issuer.as_ref()?.profile_sha256.as_ref())),
    );
    add(
        "grant",
        first(|entry| hash(entry.issuer.as_ref()?.grant_sha256.as_ref())),
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
        "token",
        first(|entry| {
            let token = entry.token.as_ref()?;
            let (label, serial) = (token.label.as_ref()?, token.serial.as_ref()?);
            Some(format!("label {label:?}, serial number {serial:?}"))
        }),
    );
    add(
        "issued under",
        first(|entry| hash(entry.issuer_certificate_sha256.as_ref())),
    );
    add("CSR", first(|entry| hash(entry.csr_sha256.as_ref())));
    add("TBS", first(|entry| hash(entry.tbs_sha256.as_ref())));
    fields
}

fn hash(sha256: Option<&String>) -> Option<String> {
    Some(format!("SHA-256 {}", sha256?))
}
