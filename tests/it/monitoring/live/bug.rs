//! A bug that nothing outside of a program can cause: code that a test overwrites in the running program, and puts right again.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// Machine code that returns `false` from a function whose result is a `bool`.
const RETURN_FALSE: &[u8] = if cfg!(target_arch = "x86_64") {
    // xor eax, eax; ret
    &[0x31, 0xc0, 0xc3]
} else if cfg!(target_arch = "aarch64") {
    // mov w0, #0; ret
    &[0x00, 0x00, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6]
} else {
    panic!("no code for this processor")
};

/// A function of a running program that always returns `false`.
pub(super) struct Bug {
    memory: PathBuf,
    address: u64,
    right: Vec<u8>,
}

impl Bug {
    /// Overwrites the start of a function, whose path and name are given, in a running program. Nothing may call it meanwhile.
    pub(super) fn returns_false(process: u32, function: &str) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{process}"));
        let address = start(&process)? + offset(&process, function)?;
        let memory = process.join("mem");
        let right = overwrite(&memory, address, RETURN_FALSE)?;
        Ok(Self {
            memory,
            address,
            right,
        })
    }

    /// Puts the code right.
    pub(super) fn mend(self) -> Result<()> {
        overwrite(&self.memory, self.address, &self.right).map(drop)
    }
}

/// Overwrites code, and returns what stood there.
fn overwrite(memory: &Path, address: u64, code: &[u8]) -> Result<Vec<u8>> {
    let opened = File::options().read(true).write(true).open(memory);
    let opened = opened.with_context(|| memory.display().to_string())?;
    let mut before = vec![0; code.len()];
    opened.read_exact_at(&mut before, address)?;
    opened.write_all_at(code, address)?;
    Ok(before)
}

/// Returns the address at which a process has the start of its program's file.
fn start(process: &Path) -> Result<u64> {
    let program = fs::read_link(process.join("exe"))?;
    let maps = fs::read_to_string(process.join("maps"))?;
    let first = maps.lines().find(|line| {
        let offset = line.split_whitespace().nth(2);
        offset == Some("00000000") && line.ends_with(&program.display().to_string())
    });
    let (start, _) = first
        .and_then(|line| line.split_once('-'))
        .context("the process does not map its program")?;
    Ok(u64::from_str_radix(start, 16)?)
}

/// Returns where a function begins, from the start of the program's file as the linker laid it out.
fn offset(process: &Path, function: &str) -> Result<u64> {
    let listed = Command::new("nm")
        .arg("--demangle")
        .arg(process.join("exe"))
        .output()?;
    ensure!(listed.status.success(), "nm: {listed:?}");
    let listed = String::from_utf8_lossy(&listed.stdout);
    let mut found = listed.lines().filter_map(|line| {
        let (address, rest) = line.split_once(' ')?;
        (rest.split_once(' ')?.1 == function).then_some(address)
    });
    let address = found.next().with_context(|| format!("no {function}"))?;
    ensure!(found.next().is_none(), "more than one {function}");
    Ok(u64::from_str_radix(address, 16)?)
}
