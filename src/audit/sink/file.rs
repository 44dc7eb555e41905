//! A file as a sink: rotated by size and age between two lines, and locked against other processes.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use memchr::memchr_iter;

use super::{
    Sink,
    tail::{INTERVAL, Tail},
};
use crate::{
    audit::{Clock, fields::Fields, tree::TreeHash},
    config::{FileSink as Settings, Fsync},
};

/// Mode of a new file: its group, such as a log shipper's, may read it.
const MODE: u32 = 0o640;

/// Octets at the end of a file in which its last line begins: more than the longest line.
const LOOK_BACK: u64 = 1 << 17;

/// Why a file cannot be a sink.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the issuance log {}: {advice}", path.display())]
pub struct OpenError {
    path: PathBuf,
    advice: &'static str,
    source: io::Error,
}

/// A file that gives way to another one when it is too large or too old.
pub(in crate::audit) struct RotatedFile {
    settings: Settings,
    run: String,
    clock: Clock,
    /// `None` after the last file was renamed and before the next one exists.
    open: Option<Open>,
    /// Number of files that this run has renamed.
    renamed: u64,
    /// Lines that are in no file yet.
    staged: Vec<u8>,
}

struct Open {
    tail: Tail<File>,
    begun: Timestamp,
}

impl RotatedFile {
    /// Opens the file, to write after the lines of earlier runs. Returns what to log about a torn last line: a process was
    /// killed while it wrote that line. The next line begins on a line of its own.
    ///
    /// # Errors
    /// The file cannot be opened, or another process writes it.
    pub(in crate::audit) fn open(
        settings: Settings,
        run: &str,
        clock: Clock,
    ) -> Result<(Self, Option<Fields>), OpenError> {
        let (mut open, torn) = Open::take(&settings, clock())?;
        let torn = torn.map(|torn| {
            open.tail.extend(b"\n");
            Fields::default()
                .with("lost", &TreeHash::of_leaf(&torn))
                .with("octets", &torn.len())
        });
        let file = Self {
            settings,
            run: run.to_owned(),
            clock,
            open: Some(open),
            renamed: 0,
            staged: Vec::new(),
        };
        Ok((file, torn))
    }

    /// Moves the staged lines to the file, and begins another file before a line for which this one is too large or too
    /// old.
    fn distribute(&mut self) -> io::Result<()> {
        let mut staged = std::mem::take(&mut self.staged);
        let mut taken = 0;
        let mut distributed = Ok(());
        for end in memchr_iter(b'\n', &staged).map(|line_break| line_break + 1) {
            distributed = self.put(staged.get(taken..end).unwrap_or_default());
            if distributed.is_err() {
                break;
            }
            taken = end;
        }
        staged.drain(..taken);
        self.staged = staged;
        distributed
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let now = (self.clock)();
        if let Some(open) = &mut self.open
            && open.is_full(line, now, &self.settings)
        {
            open.tail.settle()?;
            self.rename(now)?;
            self.open = None;
        }
        if self.open.is_none() {
            self.open = Some(self.create(now)?);
        }
        if let Some(open) = &mut self.open {
            open.tail.extend(line);
        }
        Ok(())
    }

    fn rename(&mut self, now: Timestamp) -> io::Result<()> {
        let Self {
            settings: Settings { path, .. },
            run,
            renamed,
            ..
        } = self;
        let mut name = path.clone().into_os_string();
        name.push(now.strftime(".%Y%m%dT%H%M%SZ").to_string());
        name.push(format!(".{run}.{renamed}"));
        fs::rename(path, name)?;
        *renamed += 1;
        Ok(())
    }

    /// Begins another file. If another process has begun one at this path meanwhile, this fails until that process has ended,
    /// and then goes on after its lines.
    fn create(&self, now: Timestamp) -> io::Result<Open> {
        let failed = |OpenError { advice, source, .. }: OpenError| {
            // Of a stream, this kind means that it is slow.
            match source.kind() == ErrorKind::WouldBlock {
                true => io::Error::new(ErrorKind::ResourceBusy, advice),
                false => source,
            }
        };
        let (mut open, torn) = Open::take(&self.settings, now).map_err(failed)?;
        if torn.is_some() {
            open.tail.extend(b"\n");
        }
        Ok(open)
    }
}

impl Open {
    /// Opens and locks the file, or creates it at `now`. Returns its last line, too, if that line has no end.
    fn take(settings: &Settings, now: Timestamp) -> Result<(Self, Option<Vec<u8>>), OpenError> {
        let Settings { path, fsync, .. } = settings;
        let failed = |advice, source| OpenError {
            path: path.clone(),
            advice,
            source,
        };
        let disk = |error| failed("check the disk", error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let opened = options.mode(MODE).open(path);
        let mut file = opened
            .map_err(|error| failed("create its folder, writable for the controller", error))?;
        lock(&file, path).map_err(|error| {
            let advice = match &error {
                TryLockError::WouldBlock => {
                    "another process writes it; give each replica a path of its own, with {replica}"
                }
                TryLockError::Error(_) => "use a file system that has locks",
            };
            failed(advice, error.into())
        })?;
        let (length, torn) = last_line(&mut file).map_err(disk)?;
        let begun = begun(&mut file).map_err(disk)?;
        if length == 0 && *fsync != Fsync::Never {
            sync_folder(path).map_err(disk)?;
        }
        let open = Self {
            tail: Tail::new(file, length, *fsync),
            begun: begun.unwrap_or(now),
        };
        Ok((open, torn))
    }

    /// Returns whether another file must begin before this line.
    fn is_full(&self, line: &[u8], now: Timestamp, settings: &Settings) -> bool {
        let length = self.tail.length();
        let next = length + u64::try_from(line.len()).unwrap_or(u64::MAX);
        let age = Duration::try_from(now.duration_since(self.begun)).unwrap_or_default();
        let large = settings.rotate_size.is_some_and(|most| next > most.get());
        let old = settings.rotate_age.is_some_and(|most| age >= most);
        length > 0 && (large || old)
    }
}

impl Sink for RotatedFile {
    fn stage(&mut self, lines: &[u8]) {
        self.staged.extend_from_slice(lines);
    }

    fn push(&mut self) -> io::Result<()> {
        self.distribute()?;
        match &mut self.open {
            Some(Open { tail, .. }) => tail.push(Instant::now()),
            None => Ok(()),
        }
    }

    fn idle_after(&self) -> Option<Duration> {
        let open = self.open.as_ref();
        open.is_some_and(|open| open.tail.waits())
            .then_some(INTERVAL)
    }

    fn idle(&mut self) -> io::Result<()> {
        match &mut self.open {
            Some(Open { tail, .. }) => tail.settle(),
            None => Ok(()),
        }
    }
}

/// Locks a file that was opened at this path. A file that its former writer has renamed since counts as locked.
fn lock(file: &File, path: &Path) -> Result<(), TryLockError> {
    file.try_lock()?;
    let identity = |file: fs::Metadata| (file.dev(), file.ino());
    let ours = file.metadata().map_err(TryLockError::Error)?;
    let there = match fs::metadata(path) {
        Ok(there) => Some(identity(there)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(TryLockError::Error(error)),
    };
    match there == Some(identity(ours)) {
        true => Ok(()),
        false => Err(TryLockError::WouldBlock),
    }
}

/// Makes the names in the folder of a file survive a crash of the machine.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
}

/// Returns the length of a file, and its last line if that line has no end.
fn last_line(file: &mut File) -> io::Result<(u64, Option<Vec<u8>>)> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(LOOK_BACK)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let begin = end.iter().rposition(|octet| *octet == b'\n');
    let torn = end.split_off(begin.map_or(0, |begin| begin + 1));
    Ok((length, (!torn.is_empty()).then_some(torn)))
}

/// Returns the time of the first line of a file, if there is one.
fn begun(file: &mut File) -> io::Result<Option<Timestamp>> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    file.take(64).read_to_end(&mut start)?;
    let start = String::from_utf8_lossy(&start);
    let time = start
        .strip_prefix("{\"time\":\"")
        .and_then(|rest| rest.split_once('"'));
    Ok(time.and_then(|(time, _)| time.parse().ok()))
}

#[cfg(test)]
mod tests;
