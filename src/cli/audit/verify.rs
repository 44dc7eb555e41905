//! `pkcs11-issuer audit verify`: says what logs prove.

use std::{
    fmt::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;

use super::{code, files::Files, keys::keys};
use crate::{
    args::Verify,
    audit::verify::{LogReport, LostLine, RunReport, TornLine, Verified, Verifier},
    cli::output::{BAD, GOOD, WARN, print_text},
    message::shown,
};

/// Verifies logs and prints what they prove.
///
/// # Errors
/// A file could not be read, or stdout could not be written.
pub(super) fn verify(args: &Verify) -> anyhow::Result<ExitCode> {
    let mut verifier = Verifier::trusting(keys(&args.keys)?);
    Files::once(&args.logs.files).each_file(|name, file| verifier.read(name, file))?;
    let report = verifier.finish();
    anyhow::ensure!(
        !report.runs.is_empty(),
        "no line of an issuance log was found; give the standard output of a controller"
    );
    print_text(&text(&report)?).context("failed to write to stdout")?;
    let is_whole = report.gaps.is_empty() || !args.whole;
    Ok(code(report.faults.is_empty() && is_whole))
}

fn text(report: &LogReport) -> Result<String, fmt::Error> {
    let mut out = String::new();
    // The names of runs are random. The runs of a replica are shown one after the other.
    let mut runs: Vec<&RunReport> = report.runs.iter().collect();
    runs.sort_by_key(|run| &run.origin);
    for RunReport {
        run,
        origin,
        stopped,
        lines: Verified {
            proven,
            agreeing,
            unproven,
        },
        proofs,
        ..
    } in runs
    {
        let name = origin.as_deref().unwrap_or("beginning not found");
        let end = if *stopped {
            "stopped"
        } else {
            "no end: the process still runs, was killed, or its last lines are missing"
        };
        writeln!(out, "{}", shown(format_args!("run {run} ({name}); {end}")))?;
        for proof in proofs {
            writeln!(
                out,
                "  the key {} signed the checkpoint over the first {} lines",
                proof.key, proof.size
            )?;
        }
        writeln!(
            out,
            "  {proven} lines are proven; {agreeing} more agree with checkpoints that none of the given keys signed; {unproven} lines are unproven"
        )?;
    }
    if report.unknown_heads > 0 {
        writeln!(
            out,
            "{} checkpoints of other logs prove nothing: none of the given keys signed them",
            report.unknown_heads
        )?;
    }
    if report.foreign > 0 {
        writeln!(out, "{} other lines were skipped", report.foreign)?;
    }
    for line in &report.torn {
        writeln!(out, "{}", shown(torn(line)))?;
    }
    for LostLine { run, place } in &report.lost {
        let told = format_args!(
            "run {run} found a line without an end, says {place}; that line is in none of the files"
        );
        writeln!(out, "{}", shown(told))?;
    }
    for gap in &report.gaps {
        writeln!(out, "{WARN}GAP{WARN:#} {}", shown(gap))?;
    }
    for fault in &report.faults {
        writeln!(out, "{BAD}FAULT{BAD:#} {}", shown(fault))?;
    }
    let gaps = match report.gaps.len() {
        0 => String::new(),
        1 => "; 1 gap: the log is not whole".to_owned(),
        more => format!("; {more} gaps: the log is not whole"),
    };
    let (style, faults) = match report.faults.len() {
        0 => (GOOD, "no fault was found".to_owned()),
        1 => (BAD, "1 fault was found".to_owned()),
        more => (BAD, format!("{more} faults were found")),
    };
    writeln!(out, "{style}{faults}{style:#}{gaps}")?;
    Ok(out)
}

/// Describes a line without an end.
fn torn(line: &TornLine) -> String {
    let TornLine {
        run,
        place,
        octets,
        named_by,
    } = line;
    let run = run.as_deref().unwrap_or("unknown");
    let named = match named_by {
        Some(by) => format!("run {by} names it by its hash"),
        None => "no other line names it".to_owned(),
    };
    format!("run {run}: the line at {place} has no end after {octets} octets; {named}")
}
