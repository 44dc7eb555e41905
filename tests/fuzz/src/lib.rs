//! The checks and the seeds of each fuzz target.
//!
//! Each module has two functions: `check`, which must not panic for any input, and `seeds`, which returns inputs that lead
//! it deep into the code. [`plant`] writes the seeds to the folder in which the fuzzer looks for them.

#![forbid(unsafe_code)]

pub mod constraints;
pub mod crl;
pub mod csr;
pub mod frames;
pub mod pem;

mod authority;
mod der;

use std::{env, fs, path::Path};

/// Writes the seeds to the folder that the environment variable `FUZZ_SEEDS` names, if it is set.
///
/// # Panics
///
/// A seed cannot be written.
pub fn plant(seeds: Vec<Vec<u8>>) {
    let Some(folder) = env::var_os("FUZZ_SEEDS") else {
        return;
    };
    for (number, seed) in seeds.into_iter().enumerate() {
        let file = Path::new(&folder).join(format!("seed-{number:03}"));
        fs::write(&file, seed).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

/// Cuts off the first piece: an octet with its length, then the piece, which may be shorter than the octet says.
fn piece<'a>(octets: &mut &'a [u8]) -> &'a [u8] {
    let Some((&length, rest)) = octets.split_first() else {
        return &[];
    };
    let (piece, rest) = rest.split_at(rest.len().min(length.into()));
    *octets = rest;
    piece
}

/// Encodes a piece as [`piece`] cuts it off.
fn as_piece(octets: &[u8]) -> Vec<u8> {
    let length = u8::try_from(octets.len()).expect("pieces are short");
    [&[length], octets].concat()
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}
