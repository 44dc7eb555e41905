//! Standard error as a destination of log lines that never blocks the program: a line for which there is no room is dropped
//! and counted.

use std::{
    io::{self, Write},
    sync::{
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

/// Most lines that wait to be written.
const LINES: usize = 4096;

/// Time between looks at the waiting lines while somebody waits for them.
const LOOK_EVERY: Duration = Duration::from_millis(1);

static DROPPED: AtomicU64 = AtomicU64::new(0);
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Returns how many log lines were dropped since the start.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Waits until every log line is written, at most for `within`.
pub fn flush(within: Duration) {
    let until = Instant::now() + within;
    while WAITING.load(Ordering::Acquire) > 0 && Instant::now() < until {
        thread::sleep(LOOK_EVERY);
    }
}

/// Writer that queues lines for a thread, which writes them.
#[derive(Clone, Debug)]
pub(super) struct Lossy(SyncSender<Vec<u8>>);

impl Lossy {
    /// Starts the thread of a writer.
    ///
    /// # Errors
    /// The operating system refused the thread.
    pub(super) fn start(mut to: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = sync_channel::<Vec<u8>>(LINES);
        let work = move || {
            for line in lines {
                if to.write_all(&line).and_then(|()| to.flush()).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
                WAITING.fetch_sub(1, Ordering::Release);
            }
        };
        thread::Builder::new().name("stderr".into()).spawn(work)?;
        Ok(Self(sender))
    }
}

/// Takes one line per call.
impl Write for Lossy {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        WAITING.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.0.try_send(line.to_vec())
        {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lossy {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A reader that takes a line only when the test lets it.
    struct Gated(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Gated {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_drops_and_counts_lines_and_blocks_nobody() {
        let (open, gate) = channel();
        let (sink, written) = channel();
        let mut log = Lossy::start(Gated(gate, sink)).unwrap();
        let before = dropped_lines();
        let sent = LINES + 100;
        for number in 0..sent {
            log.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        // One line more than the queue holds may be with the thread.
        let dropped = dropped_lines() - before;
        assert!((99..=100).contains(&dropped), "{dropped}");
        for _ in dropped..u64::try_from(sent).unwrap() {
            open.send(()).unwrap();
        }
        flush(Duration::from_secs(60));
        let lines: Vec<_> = written.try_iter().collect();
        assert_eq!(
            u64::try_from(lines.len()).unwrap() + dropped,
            u64::try_from(sent).unwrap()
        );
        assert_eq!(lines.first().unwrap(), b"0\n");
    }
}
