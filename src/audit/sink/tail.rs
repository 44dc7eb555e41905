//! The end of a file: what is written, and what is known to survive a crash of the machine. Pure except for the medium.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use crate::config::Fsync;

/// With `interval`, a line is synchronized at most this long after it was written.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// With `interval`, this many octets are synchronized sooner, because they stay in memory until then.
const MOST: usize = 1 << 20;

/// A file, or its stand-in in a test.
pub(super) trait Medium {
    /// Writes at an offset and returns the number of octets written.
    fn write_at(&mut self, octets: &[u8], offset: u64) -> io::Result<usize>;

    /// Blocks until everything that was written survives a crash of the machine.
    fn sync(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn write_at(&mut self, octets: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, octets, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The end of a file that grows.
///
/// *Guarantees*: after any number of failed writes and synchronizations, the file has every octet once, in order.
pub(super) struct Tail<M> {
    medium: M,
    fsync: Fsync,
    /// Offset of the first octet of `held`.
    at: u64,
    /// Octets that are not known to survive. They are kept because the kernel may drop written octets when a synchronization
    /// fails: only another write then brings them to the disk.
    held: Vec<u8>,
    /// Number of held octets that are written.
    written: usize,
    /// When the first of them was written.
    since: Option<Instant>,
}

impl<M: Medium> Tail<M> {
    /// Returns the end of a file of this length.
    pub(super) const fn new(medium: M, length: u64, fsync: Fsync) -> Self {
        Self {
            medium,
            fsync,
            at: length,
            held: Vec::new(),
            written: 0,
            since: None,
        }
    }

    /// Returns the length of the file once everything is written.
    pub(super) fn length(&self) -> u64 {
        self.at + wide(self.held.len())
    }

    /// Adds octets, to be written by [`push`](Self::push).
    pub(super) fn extend(&mut self, octets: &[u8]) {
        self.held.extend_from_slice(octets);
    }

    /// Writes the held octets, and synchronizes them if that is due at `now`.
    pub(super) fn push(&mut self, now: Instant) -> io::Result<()> {
        self.write()?;
        let since = *self.since.get_or_insert(now);
        let late = now.duration_since(since) >= INTERVAL || self.held.len() >= MOST;
        match self.fsync {
            Fsync::Interval if !late => Ok(()),
            Fsync::Always | Fsync::Interval | Fsync::Never => self.settle(),
        }
    }

    /// Writes the held octets, and synchronizes them unless the operator chose `never`.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.write()?;
        if self.fsync != Fsync::Never && self.waits() {
            self.medium.sync().inspect_err(|_| self.written = 0)?;
        }
        self.at = self.length();
        self.held.clear();
        self.held.shrink_to(MOST);
        self.written = 0;
        self.since = None;
        Ok(())
    }

    /// Returns whether octets are held.
    pub(super) const fn waits(&self) -> bool {
        !self.held.is_empty()
    }

    fn write(&mut self) -> io::Result<()> {
        while let Some(rest) = self
            .held
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            match self.medium.write_at(rest, self.at + wide(self.written))? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        Ok(())
    }
}

fn wide(octets: usize) -> u64 {
    u64::try_from(octets).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
