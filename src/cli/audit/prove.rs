//! `pkcs11-issuer audit prove` and `audit check-proof`: proofs that a line is in a log.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{code, files::Files, keys::keys};
use crate::{
    args::{CheckProof, Prove},
    audit::{
        filter::plain_serial,
        leaves::{ConfirmedLeaf, Leaves, run_about},
        note::{SignedNote, VerifierKey},
        proof::{InclusionProof, LeafHashes},
        read::{Assembler, LogEntry, Position},
    },
    cli::input,
    issuance::pem,
    message::shown,
};

/// Longest proof: a line of the log in base64, 64 hashes and a checkpoint.
const MAX_PROOF: usize = 1 << 20;

/// Writes the proof of a line to stdout.
///
/// # Errors
/// No line is about the certificate, no signed checkpoint covers it, or a file could not be read.
pub(super) fn prove(args: &Prove) -> anyhow::Result<ExitCode> {
    let serial = plain_serial(&args.serial);
    let mut hashes = BTreeMap::<String, LeafHashes>::new();
    let mut found = None;
    let mut seen = None;
    let mut confirmed = |leaf: ConfirmedLeaf<'_>| {
        if found.is_none() && leaf.is_about(&args.event, &serial) {
            found = Some((leaf.run.to_owned(), leaf.index, leaf.octets.to_vec()));
        }
        if !hashes.contains_key(leaf.run) {
            hashes.insert(leaf.run.to_owned(), LeafHashes::default());
        }
        if let Some(hashes) = hashes.get_mut(leaf.run) {
            hashes.push(leaf);
        }
        Ok(())
    };
    let mut leaves = Leaves::trusting(keys(&args.keys)?);
    Files::once(&args.logs.files).each_line(|octets, _| {
        let about = || run_about(octets, &args.event, &serial);
        seen = seen.take().or_else(|| about().map(Cow::into_owned));
        leaves.take(octets, &mut confirmed)
    })?;
    let runs = leaves.finish(&mut confirmed)?;
    let (about, event) = (shown(&args.serial), shown(&args.event));
    let Some((run, index, line)) = found else {
        if let Some(run) = seen {
            let of_run = runs.iter().find(|confirmed| confirmed.run == run);
            ensure!(
                of_run.is_some_and(|confirmed| confirmed.signed),
                "the checkpoints of run {} are not signed{}, so nothing can be proven by a key; configure audit.checkpoints",
                shown(&run),
                match args.keys.is_none() {
                    true => "",
                    false => " by one of the given keys",
                }
            );
            bail!(
                "the {event} line of certificate {about} is there, but its run is not whole up to a signed checkpoint over it; audit verify says what is missing"
            );
        }
        bail!("no {event} line is about a certificate with the serial number {about}");
    };
    let checkpoint = runs.into_iter().find(|confirmed| confirmed.run == run);
    let checkpoint = checkpoint
        .map(|confirmed| confirmed.checkpoint)
        .unwrap_or_default();
    let proof = hashes
        .remove(&run)
        .and_then(|hashes| hashes.prove(index, line, checkpoint))
        .ok_or_else(|| anyhow!("line {index} of run {run} is not among its own leaves: a bug"))?;
    let mut out = io::stdout().lock();
    out.write_all(proof.text().as_bytes())
        .and_then(|()| out.flush())
        .context("failed to write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Verifies a proof and prints what it proves.
///
/// # Errors
/// A file could not be read, or is not what it should be. A proof that does not hold is not an error.
pub(super) fn check_proof(args: &CheckProof) -> anyhow::Result<ExitCode> {
    let keys = keys(&args.keys)?;
    ensure!(
        !keys.is_empty(),
        "give the audit key by --key or --key-file"
    );
    let text = read(&args.proof)?;
    let proof = InclusionProof::parse(&text)
        .with_context(|| format!("{} is not a proof", args.proof.display()))?;
    let certificate = args.certificate.as_deref().map(der).transpose()?;
    let (told, holds) = match judge(&proof, &keys, certificate.as_deref()) {
        Ok(told) => (told, true),
        Err(why) => (format!("the proof does not hold: {why:#}\n"), false),
    };
    let mut out = io::stdout().lock();
    out.write_all(told.as_bytes())
        .and_then(|()| out.flush())
        .context("failed to write to stdout")?;
    Ok(code(holds))
}

fn judge(
    proof: &InclusionProof,
    keys: &[VerifierKey],
    certificate: Option<&[u8]>,
) -> anyhow::Result<String> {
    let note = SignedNote::parse(&proof.checkpoint).context("the checkpoint")?;
    let signers = note.verify(keys).context("the checkpoint")?;
    let Some(signer) = signers.first() else {
        bail!("the checkpoint is not signed by the audit key");
    };
    proof.verify()?;
    let mut entry = LogEntry::default();
    let mut keep = |told: &LogEntry, _: &[u8], _: &_| entry = told.clone();
    let place = Position {
        file: "proof".into(),
        line: 1,
    };
    let mut assembler = Assembler::default();
    assembler.take(&proof.line, &place, &mut keep);
    assembler.finish(&mut keep);
    if let Some(der) = certificate {
        ensure!(
            is_about(&entry, der),
            "the line is not about this certificate"
        );
    }
    let origin = note.text().lines().next().unwrap_or_default();
    let mut told = format!(
        "{}\n",
        shown(format_args!(
            "line {} of the log {origin} is proven by the key {}",
            proof.index,
            signer.name()
        ))
    );
    let request = entry
        .request
        .map(|request| format!("{} {}", request.kind, request.path()));
    let fields = [
        ("time", entry.time.map(|time| time.to_string())),
        ("event", Some(entry.event)),
        ("request", request),
        ("serial", entry.serial),
        ("subject", entry.subject),
        ("names", Some(entry.names.join(" "))),
        ("TBS SHA-256", entry.tbs_sha256),
    ];
    for (field, value) in fields {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            told.push_str(&format!("  {field:<12} {}\n", shown(value)));
        }
    }
    Ok(told)
}

/// Returns whether a line is about this certificate.
fn is_about(entry: &LogEntry, der: &[u8]) -> bool {
    if let Some(certificate) = &entry.certificate {
        return *certificate == STANDARD.encode(der);
    }
    let tbs = X509Certificate::from_der(der).ok();
    let tbs = tbs
        .map(|(_, certificate)| hex::encode(digest(&SHA256, certificate.tbs_certificate.as_ref())));
    tbs.is_some() && tbs == entry.tbs_sha256
}

fn read(path: &Path) -> anyhow::Result<String> {
    let named = || format!("failed to read {}", path.display());
    let octets = input::octets(path, MAX_PROOF).with_context(named)?;
    String::from_utf8(octets).with_context(named)
}

/// Reads a certificate in PEM or DER.
fn der(path: &Path) -> anyhow::Result<Vec<u8>> {
    let octets = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    if !octets.starts_with(b"-----BEGIN") {
        return Ok(octets);
    }
    let blocks = pem::scan(&octets)
        .with_context(|| format!("{} is not a certificate in PEM", path.display()))?;
    let first = blocks.blocks.into_iter().next();
    Ok(first.context("no certificate")?.der)
}
