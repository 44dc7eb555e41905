//! `pkcs11-issuer audit export`: writes logs in the layout of c2sp.org/tlog-tiles.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, ensure};

use super::{code, files::Files, keys::keys};
use crate::{
    args::Export,
    audit::{
        leaves::{Confirmed, ConfirmedLeaf, Leaves},
        tiles::Tiles,
    },
    message::shown,
};

/// Writes a folder for each run.
///
/// # Errors
/// The folder is not empty, or a file could not be read or written.
pub(super) fn export(args: &Export) -> anyhow::Result<ExitCode> {
    let keys = keys(&args.keys)?;
    let folder = &args.tiles;
    fs::create_dir_all(folder)
        .and_then(|()| fs::read_dir(folder))
        .with_context(|| format!("failed to create {}", folder.display()))
        .and_then(|mut there| {
            ensure!(
                there.next().is_none(),
                "{} is not empty; give a new folder",
                folder.display()
            );
            Ok(())
        })?;
    let mut runs = BTreeMap::<String, Tiles>::new();
    let mut confirmed = |leaf: ConfirmedLeaf<'_>| {
        let run = leaf.run;
        if !runs.contains_key(run) {
            runs.insert(checked(run)?.to_owned(), Tiles::default());
        }
        let Some(tiles) = runs.get_mut(run) else {
            return Ok(());
        };
        tiles.push(leaf, &mut |path, octets| write(folder, run, path, octets))
    };
    let mut leaves = Leaves::trusting(keys);
    Files::once(&args.logs.files).each_line(|octets, _| leaves.take(octets, &mut confirmed))?;
    let all = leaves.finish(&mut confirmed)?;
    ensure!(
        !all.is_empty(),
        "no line of an issuance log was found; give the standard output of a controller"
    );
    for (run, tiles) in runs {
        tiles.finish(&mut |path, octets| write(folder, &run, path, octets))?;
    }
    let mut whole = true;
    let mut out = io::stdout().lock();
    for Confirmed {
        run,
        checkpoint,
        size,
        unconfirmed,
        signed,
    } in all
    {
        let run = shown(run);
        if size == 0 {
            whole = false;
            let why = match signed {
                true => {
                    "its lines from the first one on agree with no signed checkpoint; see audit verify"
                }
                false => "its checkpoints are not signed, or by other keys",
            };
            writeln!(out, "run {run}: not written, because {why}")?;
            continue;
        }
        write(folder, &run, "checkpoint", checkpoint.as_bytes())?;
        writeln!(
            out,
            "run {run}: {size} lines written; {unconfirmed} behind the last signed checkpoint were not"
        )?;
    }
    Ok(code(whole))
}

/// Returns the name of a run, if it may be the name of a folder. A log from elsewhere may have any.
fn checked(run: &str) -> io::Result<&str> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric();
    match !run.is_empty() && run.len() <= 64 && run.bytes().all(plain) {
        true => Ok(run),
        false => Err(io::Error::other(shown(format_args!(
            "the name of the run {run:?} is not hexadecimal, so no folder can have it"
        )))),
    }
}

fn write(folder: &Path, run: &str, path: &str, octets: &[u8]) -> io::Result<()> {
    let file = folder.join(run).join(path);
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(file, octets)
}
