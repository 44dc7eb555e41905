//! `pkcs11-issuer audit`: verifies issuance logs.

use std::{
    fs::File,
    io::{self, BufReader, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;

use crate::{
    args::Verify,
    audit::{
        note::VerifierKey,
        verify::{LogReport, RunReport, Verified, Verifier},
    },
};

/// Exit code if something is missing or was changed.
const FAULTY: u8 = 3;
/// Progress is shown each time this many octets have been read.
const STEP: u64 = 64 << 20;

/// Verifies logs and prints the result.
///
/// # Errors
/// A file could not be read, or stdout could not be written.
pub fn audit_verify(args: &Verify) -> anyhow::Result<ExitCode> {
    let keys = args.key.iter().map(|key| {
        key.parse::<VerifierKey>()
            .with_context(|| format!("--key {key}"))
    });
    let mut verifier = Verifier::trusting(keys.collect::<anyhow::Result<Vec<_>>>()?);
    let mut progress = Progress::default();
    for file in &args.files {
        let name = file.display().to_string();
        let told = |octets| progress.add(octets);
        if file == Path::new("-") {
            verifier.read("stdin", io::stdin().lock(), told)
        } else {
            File::open(file).and_then(|open| {
                verifier.read(&name, BufReader::with_capacity(1 << 20, open), told)
            })
        }
        .with_context(|| format!("failed to read {name}"))?;
    }
    let report = verifier.finish();
    anyhow::ensure!(
        !report.runs.is_empty(),
        "no line of an issuance log was found; give the standard output of a controller"
    );
    print(&report).context("failed to write to stdout")?;
    Ok(match report.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAULTY),
    })
}

#[derive(Default)]
struct Progress {
    read: u64,
    shown: u64,
}

impl Progress {
    fn add(&mut self, octets: u64) {
        self.read += octets;
        if self.read - self.shown >= STEP && io::stderr().is_terminal() {
            self.shown = self.read;
            eprintln!("read {} MiB", self.read >> 20);
        }
    }
}

fn print(report: &LogReport) -> io::Result<()> {
    let mut out = io::stdout().lock();
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
    } in &report.runs
    {
        let name = origin.as_deref().unwrap_or("beginning not found");
        let end = if *stopped {
            "stopped"
        } else {
            "no end: the process still runs, was killed, or its last lines are missing"
        };
        writeln!(out, "run {run} ({name}); {end}")?;
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
    for RunReport { run, first, .. } in report.runs.iter().filter(|run| run.first > 0) {
        writeln!(
            out,
            "run {run}: the lines before {first} are in none of the files"
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
    for fault in &report.faults {
        writeln!(out, "FAULT {fault}")?;
    }
    writeln!(
        out,
        "{}",
        match report.faults.len() {
            0 => "no fault was found".to_owned(),
            1 => "1 fault was found".to_owned(),
            more => format!("{more} faults were found"),
        }
    )
}
