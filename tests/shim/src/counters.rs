//! Counters in a file that every process of a test maps into memory, so that a crash does not lose them.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};

/// Length of a record in octets: a name, padded with blanks, and two counters in the machine's byte order.
pub(crate) const RECORD: usize = NAME + 2 * COUNTER;
const NAME: usize = 24;
const COUNTER: usize = 8;

/// One of the two counters of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Calls of a function, or calls that a rule saw.
    Seen,
    /// Those of them on which a rule fired.
    Fired,
}

/// File of named counters.
#[derive(Debug)]
pub(crate) struct Counters {
    map: MmapRaw,
    records: usize,
}

impl Counters {
    /// Opens the file, or creates it with every counter zero. `names` must not be empty.
    pub(crate) fn open<'a>(
        path: &Path,
        names: impl ExactSizeIterator<Item = &'a str>,
    ) -> io::Result<Self> {
        let records = names.len();
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = options.open(path)?;
        let length = records * RECORD;
        // The second process to open the file sets the same length and writes the same names; no counter changes.
        file.set_len(length as u64)?;
        for (record, name) in names.enumerate() {
            let padded = format!("{name:NAME$.NAME$}");
            file.write_all_at(padded.as_bytes(), (record * RECORD) as u64)?;
        }
        let map = MmapOptions::new().len(length).map_raw(&file)?;
        Ok(Self { map, records })
    }

    /// Adds one and returns the earlier value. A record that does not exist counts nothing.
    pub(crate) fn add(&self, record: usize, column: Column) -> u64 {
        if record >= self.records {
            return 0;
        }
        let offset = record * RECORD + NAME + COUNTER * column as usize;
        // SAFETY: the record is within the mapping, whose length `open` set.
        let counter = unsafe { self.map.as_mut_ptr().add(offset) };
        // SAFETY: a mapping starts at a page and every offset is a multiple of eight, so the counter is aligned. It
        // lives as long as `self`, and in this process only this function accesses it.
        let counter = unsafe { AtomicU64::from_ptr(counter.cast()) };
        counter.fetch_add(1, Ordering::Relaxed)
    }
}

/// Returns the two counters of a name from the octets of a file, or zeros for a name that is not in it.
pub(crate) fn read(octets: &[u8], name: &str) -> (u64, u64) {
    let padded = format!("{name:NAME$.NAME$}");
    let (records, _) = octets.as_chunks::<RECORD>();
    let counters = records
        .iter()
        .find_map(|record| record.strip_prefix(padded.as_bytes()));
    let number =
        |octets: Option<&[u8; COUNTER]>| octets.map_or(0, |octets| u64::from_ne_bytes(*octets));
    let (numbers, _) = counters.unwrap_or_default().as_chunks::<COUNTER>();
    (number(numbers.first()), number(numbers.last()))
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::{Column, Counters, read};

    #[test]
    fn no_count_is_lost_when_several_threads_open_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls");
        let open = || Counters::open(&path, ["C_Login", "C_Sign"].into_iter()).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let counters = open();
                    for _ in 0..1000 {
                        counters.add(1, Column::Seen);
                    }
                });
            }
        });
        assert_eq!(open().add(1, Column::Fired), 0);
        let octets = fs::read(path).unwrap();
        assert_eq!(read(&octets, "C_Sign"), (4000, 1));
        assert_eq!(read(&octets, "C_Login"), (0, 0));
        assert_eq!(read(&octets, "C_Logout"), (0, 0));
    }
}
