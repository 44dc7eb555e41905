//! Looks into the files that the log has written.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use super::IssuanceLog;

/// Most octets that are read for one answer, which takes some seconds.
const MOST_OCTETS: u64 = 2 << 30;

impl IssuanceLog {
    /// Returns whether the files of this log, rotated ones included, say that a certificate with this serial number was signed.
    /// `serial` is the hexadecimal of the content octets of the DER INTEGER, in lower case. Blocks for some
    /// seconds if the files are large.
    ///
    /// `None` if the log has no file, or if its files cannot be read or if the newest 2 GiB do not have it and there is more.
    #[must_use]
    pub fn has_signed(&self, serial: &str) -> Option<bool> {
        has_signed(self.0.file.as_deref()?, serial, MOST_OCTETS)
    }
}

fn has_signed(path: &Path, serial: &str, mut left: u64) -> Option<bool> {
    // No value of a JSON text has an unescaped quotation mark, so this is the certificate's own number.
    let number = format!(r#","serial":"{serial}","subject":"#);
    for file in files(path).ok()? {
        match finds(&file, &number, &mut left) {
            Ok(true) => return Some(true),
            Ok(false) => {}
            // Somebody else may have removed a rotated file meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    (left > 0).then_some(false)
}

/// Returns the file of the log and those that it has given way to, the newest first.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let rest = entry.file_name();
        let rest = rest.as_encoded_bytes().strip_prefix(name);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b".")) {
            files.push(entry.path());
        }
    }
    // Rotated files have the time in their names.
    files.sort_unstable_by(|one, other| other.cmp(one));
    files.sort_by_key(|file| file != path);
    Ok(files)
}

fn finds(file: &Path, number: &str, left: &mut u64) -> io::Result<bool> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(file)?.take(*left));
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            *left = reader.get_ref().limit();
            return Ok(false);
        }
        let line = String::from_utf8_lossy(&line);
        if line.contains(number) && line.contains(r#","event":"signed","#) {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, serial: &str) -> String {
        format!(
            "{{\"time\":\"2026-11-30T00:00:00Z\",\"event\":\"{event}\",\"token\":{{\"serial\":\"0a\"}},\"serial\":\"{serial}\",\"subject\":\"CN=a\"}}\n"
        )
    }

    #[test]
    fn a_serial_number_is_found_in_any_file_of_the_log_if_it_was_signed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        let has = |serial: &str| has_signed(&path, serial, MOST_OCTETS);
        write("log.jsonl", line("signing", "01") + &line("signed", "02"));
        write("log.jsonl.20261130T000000Z.run.0", line("signed", "03"));
        write("log.jsonl-of-another", line("signed", "04"));
        write("log.json", line("signed", "05"));
        for (serial, expected) in [
            ("01", false),
            ("02", true),
            ("03", true),
            ("04", false),
            ("05", false),
            ("0a", false),
        ] {
            assert_eq!(has(serial), Some(expected), "{serial}");
        }
    }

    #[test]
    fn files_that_cannot_be_read_to_their_end_say_nothing_about_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let (first, second) = (line("signed", "01"), line("signed", "02"));
        fs::write(&path, first.clone() + &second).unwrap();
        let most = u64::try_from(first.len()).unwrap();
        assert_eq!(has_signed(&path, "01", most), Some(true));
        assert_eq!(has_signed(&path, "02", most), None);
        assert_eq!(has_signed(Path::new("/nowhere/log"), "01", most), None);
    }
}
