//! Files that the user names. `-` is stdin.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::ensure;

/// Reads a whole file, or stdin. Blocks until its end.
///
/// # Errors
/// It cannot be read, or has more than `most` octets.
pub(super) fn octets(path: &Path, most: usize) -> anyhow::Result<Vec<u8>> {
    let mut octets = Vec::new();
    read_into(&mut octets, path, most)?;
    Ok(octets)
}

/// Appends a whole file, or stdin, to `octets`. Does not move them if there is room for one octet more than `most`.
///
/// # Errors
/// As [`octets`].
pub(super) fn read_into(octets: &mut Vec<u8>, path: &Path, most: usize) -> anyhow::Result<()> {
    // One octet more shows that a file is too long. A silent cut could drop the CRL that revokes the certificate.
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = open(path)?.take(limit).read_to_end(octets)?;
    ensure!(
        read <= most,
        "it has more than {most} octets, the most that are read"
    );
    Ok(())
}

/// Opens a file, or stdin.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(match is_stdin(path) {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path)?),
    })
}

/// Returns whether the name stands for stdin.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_to_its_end_or_refused_but_never_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (length, is_read) in [(0, true), (7, true), (8, true), (9, false), (100, false)] {
            fs::write(&path, vec![b'a'; length]).unwrap();
            let read = octets(&path, 8);
            match is_read {
                true => assert_eq!(read.unwrap().len(), length),
                false => assert_eq!(
                    read.unwrap_err().to_string(),
                    "it has more than 8 octets, the most that are read"
                ),
            }
        }
        assert!(octets(&folder.path().join("none"), 8).is_err());
    }
}
