//! A sink's thread: it takes lines from the backlog and tries until the sink accepts them.

pub(super) mod file;
mod tail;

use std::{
    io::{self, ErrorKind, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use super::backlog::{Backlog, Task};

/// Pauses after failures in a row: from the first to the last, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Place that keeps lines. Its calls may block the thread.
pub(super) trait Sink: Send + 'static {
    /// Takes whole lines, to be written by [`push`](Self::push).
    fn stage(&mut self, lines: &[u8]);

    /// Writes the lines that were taken. After an error, the next call goes on where this one stopped, so that no octet is
    /// lost or written twice.
    ///
    /// # Errors
    /// Not all lines are on the sink as safely as the operator asked for.
    fn push(&mut self) -> io::Result<()>;

    /// Returns after how long without lines to call [`idle`](Self::idle); `None` for never.
    fn idle_after(&self) -> Option<Duration> {
        None
    }

    /// Does what is due without new lines, or before the end.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    fn idle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread of the sink with this number.
///
/// # Errors
/// The operating system refused the thread.
pub(super) fn spawn(
    mut sink: Box<dyn Sink>,
    number: usize,
    backlog: Arc<Backlog>,
) -> io::Result<()> {
    let work = move || {
        run(sink.as_mut(), number, &backlog);
        // Unlocks a file before the backlog reports the end of its sink.
        drop(sink);
        backlog.end();
    };
    thread::Builder::new()
        .name("log".into())
        .spawn(work)
        .map(drop)
}

fn run(sink: &mut dyn Sink, number: usize, backlog: &Backlog) {
    loop {
        let lines = match backlog.next(number, sink.idle_after()) {
            Task::Lines(lines) => Some(lines),
            Task::Idle => None,
            Task::End => {
                until_done(number, backlog, || sink.idle());
                return;
            }
        };
        let done = match &lines {
            Some(lines) => {
                sink.stage(lines);
                until_done(number, backlog, || sink.push())
            }
            None => until_done(number, backlog, || sink.idle()),
        };
        match (done, lines) {
            (false, _) => return,
            (true, Some(lines)) => backlog.advance(number, lines.len()),
            (true, None) => backlog.recovered(number),
        }
    }
}

/// Repeats `act` with pauses until it succeeds. Returns `false` if the sink must end before that.
fn until_done(number: usize, backlog: &Backlog, mut act: impl FnMut() -> io::Result<()>) -> bool {
    let mut pause = FIRST_PAUSE;
    loop {
        match act() {
            Ok(()) => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A full non-blocking pipe is slow; it has not failed.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !backlog.pause(FIRST_PAUSE) {
                    return false;
                }
            }
            Err(error) => {
                backlog.failed(number, &error);
                if !backlog.pause(pause) {
                    return false;
                }
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

/// A stream, such as stdout.
pub(super) struct Stream<W> {
    writer: W,
    staged: Vec<u8>,
    /// Number of staged octets that are written.
    written: usize,
}

impl<W: Write + Send + 'static> Stream<W> {
    pub(super) const fn new(writer: W) -> Self {
        Self {
            writer,
            staged: Vec::new(),
            written: 0,
        }
    }
}

impl<W: Write + Send + 'static> Sink for Stream<W> {
    fn stage(&mut self, lines: &[u8]) {
        self.staged.extend_from_slice(lines);
    }

    fn push(&mut self) -> io::Result<()> {
        while let Some(rest) = self
            .staged
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            match self.writer.write(rest)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        self.writer.flush()?;
        self.staged.clear();
        self.written = 0;
        Ok(())
    }
}
