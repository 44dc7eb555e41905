//! The files with logs: opens them, decompresses them, and shows how far they were read.

use std::{
    fs,
    io::{self, BufRead, BufReader, IsTerminal as _, Read},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use flate2::bufread::MultiGzDecoder;

use crate::{
    audit::read::{LogFiles, Position},
    cli::input::{self, is_stdin},
};

/// The first octets of a file that is compressed by gzip (RFC 1952, section 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Octets that are read at once.
const CHUNK: usize = 1 << 20;
/// Progress is shown each time this many octets have been read.
const STEP: u64 = 64 << 20;

/// Files that can be read more than once.
#[derive(Debug)]
pub(super) struct Files<'a> {
    paths: &'a [PathBuf],
    /// Content of stdin, if it is read more than once.
    stdin: Option<Vec<u8>>,
}

impl<'a> Files<'a> {
    pub(super) const fn once(paths: &'a [PathBuf]) -> Self {
        Self { paths, stdin: None }
    }

    /// Keeps stdin in memory, if it is one of the files.
    pub(super) fn again(paths: &'a [PathBuf]) -> anyhow::Result<Self> {
        let mut stdin = None;
        if paths.iter().any(|path| is_stdin(path)) {
            let text = stdin.insert(Vec::new());
            io::stdin()
                .lock()
                .read_to_end(text)
                .context("failed to read stdin")?;
        }
        Ok(Self { paths, stdin })
    }

    /// Reads each file to its end.
    pub(super) fn each_file(
        &self,
        mut read: impl FnMut(&str, &mut dyn BufRead) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let sizes = self.paths.iter().filter(|path| !is_stdin(path));
        let sizes = sizes.filter_map(|path| Some(fs::metadata(path).ok()?.len()));
        let mut progress = Progress {
            total: sizes.sum(),
            read: 0,
            shown: 0,
        };
        for path in self.paths {
            let name = match is_stdin(path) {
                true => "stdin".to_owned(),
                false => path.display().to_string(),
            };
            self.open(path)
                .and_then(|file| {
                    let counted = Counted {
                        file,
                        progress: &mut progress,
                    };
                    let mut file = BufReader::with_capacity(CHUNK, counted);
                    if file.fill_buf()?.starts_with(GZIP) {
                        let file = MultiGzDecoder::new(file);
                        read(&name, &mut BufReader::with_capacity(CHUNK, file))
                    } else {
                        read(&name, &mut file)
                    }
                })
                .with_context(|| format!("failed to read {name}"))?;
        }
        Ok(())
    }

    /// Calls `take` with each line of each file.
    pub(super) fn each_line(
        &self,
        mut take: impl FnMut(&[u8], &Position) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut logs = LogFiles::default();
        let mut failed = None;
        let mut each = |octets: &[u8], place: &Position| {
            if failed.is_none() {
                failed = take(octets, place).err();
            }
        };
        self.each_file(|name, file| logs.read(name, file, &mut each))?;
        logs.finish(&mut each);
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + '_>> {
        match &self.stdin {
            Some(text) if is_stdin(path) => Ok(Box::new(text.as_slice())),
            Some(_) | None => input::open(path),
        }
    }
}

/// Tells a person at a terminal how far the files were read.
#[derive(Debug)]
struct Progress {
    total: u64,
    read: u64,
    shown: u64,
}

impl Progress {
    fn add(&mut self, octets: usize) {
        self.read += u64::try_from(octets).unwrap_or(u64::MAX);
        if self.read - self.shown >= STEP && io::stderr().is_terminal() {
            self.shown = self.read;
            let (read, total) = (self.read >> 20, self.total >> 20);
            match self.total >= self.read {
                true => eprintln!("read {read} of {total} MiB"),
                false => eprintln!("read {read} MiB"),
            }
        }
    }
}

/// A file whose octets are counted as they are read.
struct Counted<'a, R> {
    file: R,
    progress: &'a mut Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.progress.add(read);
        Ok(read)
    }
}
