//! Checks of a PKCS#11 library, which only a worker loads.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use hsm::{
    SeenSlot, WorkerEnd,
    protocol::{ExitReason, NoToken},
    survey,
};

use super::check::{CheckId, FailedCheck};
use crate::{config::Library, signers::launch};

/// Checks of a library that is a file, each after the one before it.
pub(super) const OF_FILE: [CheckId; 8] = [
    CheckId::WorkerPresent,
    CheckId::LibraryPresent,
    CheckId::LibraryArchitecture,
    CheckId::LibraryDependencies,
    CheckId::LibraryGlibc,
    CheckId::LibraryLoads,
    CheckId::LibraryInitializes,
    CheckId::LibraryAnswers,
];
/// Checks of a library that a sidecar loads.
pub(super) const OF_SIDECAR: [CheckId; 4] = [
    CheckId::SidecarReachable,
    CheckId::LibraryLoads,
    CheckId::LibraryInitializes,
    CheckId::LibraryAnswers,
];

/// Returns the checks of this library.
pub(super) const fn checks(library: &Library) -> &'static [CheckId] {
    match library {
        Library::Path { .. } => &OF_FILE,
        Library::Socket(_) => &OF_SIDECAR,
    }
}

/// Has a worker load the library and describe its tokens. Logs in nowhere.
///
/// # Errors
/// The first check that fails.
pub(super) async fn tokens(
    library: &Library,
    worker: &anyhow::Result<PathBuf>,
    hang_after: Duration,
) -> Result<Vec<SeenSlot>, FailedCheck> {
    let worker = match library {
        Library::Path { path, .. } => {
            let worker = worker.as_ref();
            let worker = worker.map_err(|why| FailedCheck::new(CheckId::WorkerPresent, why))?;
            check_file(path)?;
            worker.as_path()
        }
        Library::Socket(socket) => {
            check_socket(socket)?;
            Path::new("")
        }
    };
    let asked = survey(&launch(library, worker), hang_after).await;
    asked.map_err(|end| FailedCheck::new(failed(&end, library), end))
}

fn check_file(path: &Path) -> Result<(), FailedCheck> {
    let absent = |why: &dyn std::fmt::Display| {
        FailedCheck::new(
            CheckId::LibraryPresent,
            format_args!("{}: {why}", path.display()),
        )
    };
    let file = fs::metadata(path).map_err(|why| absent(&why))?;
    if !file.is_file() {
        return Err(absent(&"it is not a file"));
    }
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.map_err(|why| absent(&why))?;
    check_architecture(&head).map_err(|why| {
        FailedCheck::new(
            CheckId::LibraryArchitecture,
            format_args!("{}: {why}", path.display()),
        )
    })
}

/// Octets of an ELF file up to its machine.
const HEAD: u64 = 20;
/// This machine, as ELF has it (`e_machine`), and its name.
const MACHINE: Option<(u16, &str)> = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => Some((62, "x86-64")),
    b"aarch64" => Some((183, "AArch64")),
    _ => None,
};
/// Other machines that vendors build for.
const MACHINES: [(u16, &str); 6] = [
    (3, "x86 (32 bit)"),
    (40, "ARM (32 bit)"),
    (62, "x86-64"),
    (183, "AArch64"),
    (21, "PowerPC (64 bit)"),
    (22, "S/390"),
];

/// Checks the head of an ELF file: 64 bit, the order of octets and the machine of this program.
fn check_architecture(head: &[u8]) -> Result<(), String> {
    let [0x7f, b'E', b'L', b'F', class, order, ..] = head else {
        return Err("it is not a library for Linux (ELF)".to_owned());
    };
    let Some(machine) = head.get(18..20).and_then(|it| <[u8; 2]>::try_from(it).ok()) else {
        return Err("it ends after a few octets".to_owned());
    };
    let machine = match order {
        2 => u16::from_be_bytes(machine),
        _ => u16::from_le_bytes(machine),
    };
    let Some((own, own_name)) = MACHINE else {
        return Ok(());
    };
    if *class == 2 && *order == 1 && machine == own {
        return Ok(());
    }
    let known = MACHINES.iter().find(|(number, _)| *number == machine);
    let name = known.map_or_else(
        || format!("machine {machine}"),
        |(_, name)| (*name).to_owned(),
    );
    Err(format!(
        "it is built for {name}, and this machine is {own_name}"
    ))
}

fn check_socket(socket: &Path) -> Result<(), FailedCheck> {
    let failed = |why: &dyn std::fmt::Display| {
        FailedCheck::new(
            CheckId::SidecarReachable,
            format_args!("{}: {why}", socket.display()),
        )
    };
    let file = fs::metadata(socket).map_err(|why| failed(&why))?;
    match file.file_type().is_socket() {
        true => Ok(()),
        false => Err(failed(&"it is not a socket")),
    }
}

/// Returns the check that failed if a survey ended in this way.
fn failed(end: &WorkerEnd, library: &Library) -> CheckId {
    let worker = match library {
        Library::Path { .. } => CheckId::WorkerPresent,
        Library::Socket(_) => CheckId::SidecarReachable,
    };
    match end {
        WorkerEnd::NotStarted { .. }
        | WorkerEnd::Unreachable { .. }
        | WorkerEnd::Incomprehensible { .. }
        | WorkerEnd::Stopped
        | WorkerEnd::NoToken(NoToken::Refused { .. })
        | WorkerEnd::Said(ExitReason::Protocol { .. }) => worker,
        WorkerEnd::NoToken(NoToken::Module { why }) => match library {
            Library::Path { .. } => of_loader(why),
            Library::Socket(_) => CheckId::LibraryLoads,
        },
        WorkerEnd::NoToken(NoToken::Initialize(_)) => CheckId::LibraryInitializes,
        WorkerEnd::Said(ExitReason::Hung) | WorkerEnd::Unresponsive => CheckId::LibraryAnswers,
        WorkerEnd::Crashed { .. }
        | WorkerEnd::NoToken(
            NoToken::Absent { .. } | NoToken::Several { .. } | NoToken::Sessions(_),
        )
        | WorkerEnd::Said(ExitReason::TokenLost(_) | ExitReason::KeyVanished)
        | WorkerEnd::LoginNotTried { .. }
        | WorkerEnd::LoginUnclear { .. } => CheckId::LibraryLoads,
    }
}

/// Returns the check that failed by the text of glibc's loader (`dlerror`), which has no codes.
fn of_loader(why: &str) -> CheckId {
    if why.contains("version `GLIBC_") {
        CheckId::LibraryGlibc
    } else if why.contains("version `") || why.contains("cannot open shared object file") {
        CheckId::LibraryDependencies
    } else {
        CheckId::LibraryLoads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(class: u8, order: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut head = vec![0x7f, b'E', b'L', b'F', class, order];
        head.resize(18, 0);
        head.extend(machine);
        head
    }

    #[test]
    fn only_a_library_of_this_machine_is_accepted() {
        let (own, _) = MACHINE.unwrap();
        assert_eq!(check_architecture(&head(2, 1, own.to_le_bytes())), Ok(()));
        for (head, expected) in [
            (b"#!/bin/sh".to_vec(), "not a library for Linux"),
            (Vec::new(), "not a library for Linux"),
            (head(2, 1, [0, 0])[..19].to_vec(), "ends after"),
            (head(1, 1, [3, 0]), "x86 (32 bit)"),
            (head(2, 2, [0, 22]), "S/390"),
            (head(2, 1, [0xff, 0]), "machine 255"),
        ] {
            let error = check_architecture(&head).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
