//! Output of this process: answers from any thread, and the reason for its end.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    mem,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use bytes::BytesMut;
use hsm::protocol::{
    Answer, ExitReason, Failure, FromWorker, HelloReply, SeenSlot, TokenCode, append, append_hello,
};

use crate::say::say;

/// Counters behind [`hsm::protocol::Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) logins: AtomicU32,
    pub(crate) signatures: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) sessions_discarded: AtomicU64,
    /// Errors of the library that no answer names, by [`TokenCode::name`].
    pub(crate) unreported: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// Counts an error of the library whose code no answer will name.
    pub(crate) fn unreported(&self, code: &TokenCode) {
        *self.unreported.lock().entry(code.name()).or_default() += 1;
    }
}

/// The writing half of the socket and the client's credit.
#[derive(Debug)]
pub(crate) struct Answers {
    socket: UnixStream,
    out: Mutex<Out>,
    granted: AtomicU32,
    unanswered: AtomicU32,
    pub(crate) counters: Counters,
}

/// Octets to be written. Never locked during a write.
#[derive(Debug, Default)]
struct Out {
    buffer: BytesMut,
    /// An empty buffer, which collects answers while `buffer` is written.
    spare: BytesMut,
    /// A thread is writing, and will also write what is appended meanwhile.
    writing: bool,
    greeted: bool,
}

impl Answers {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            out: Mutex::default(),
            granted: AtomicU32::new(0),
            unanswered: AtomicU32::new(0),
            counters: Counters::default(),
        }
    }

    /// Answers the greeting; after this the client may send requests.
    pub(crate) fn hello(&self, reply: &HelloReply) -> io::Result<()> {
        if let HelloReply::Found { credit, .. } = reply {
            self.granted.store(u32::from(*credit), Ordering::SeqCst);
        }
        let mut out = self.out.lock();
        append_hello(&mut out.buffer, reply).map_err(io::Error::other)?;
        out.greeted = true;
        self.write(out)
    }

    /// Answers a greeting that names no token, with all of them.
    pub(crate) fn survey(&self, seen: &[SeenSlot]) -> io::Result<()> {
        let count = u16::try_from(seen.len()).map_err(io::Error::other)?;
        let mut out = self.out.lock();
        append_hello(&mut out.buffer, &HelloReply::Tokens { count }).map_err(io::Error::other)?;
        out.greeted = true;
        for slot in seen {
            append(&mut out.buffer, slot).map_err(io::Error::other)?;
        }
        self.write(out)
    }

    /// Returns the number of requests that may be unanswered at once.
    pub(crate) fn credit(&self) -> u16 {
        u16::try_from(self.granted.load(Ordering::SeqCst)).unwrap_or(u16::MAX)
    }

    /// Counts a received request. Returns `false` when the client exceeds its credit.
    pub(crate) fn admit(&self) -> bool {
        self.unanswered.fetch_add(1, Ordering::SeqCst) < self.granted.load(Ordering::SeqCst)
    }

    /// Appends the answer to one request; the next [`Self::flush`] writes it.
    pub(crate) fn put(&self, id: u32, outcome: Result<Answer, Failure>) {
        // Before the write: the client may use the place as soon as it has read the answer.
        self.unanswered.fetch_sub(1, Ordering::SeqCst);
        let response = FromWorker::Response { id, outcome };
        if let Err(error) = append(&mut self.out.lock().buffer, &response) {
            failed(&error);
        }
    }

    /// Writes every appended answer. Ends the process when the client is gone.
    pub(crate) fn flush(&self) {
        if let Err(error) = self.write(self.out.lock()) {
            failed(&error);
        }
    }

    /// Writes everything in the buffer, and what is appended meanwhile. Several answers cost one system call.
    fn write<'a>(&'a self, mut out: MutexGuard<'a, Out>) -> io::Result<()> {
        if out.writing {
            return Ok(());
        }
        out.writing = true;
        while !out.buffer.is_empty() {
            let next = mem::take(&mut out.spare);
            let mut batch = mem::replace(&mut out.buffer, next);
            drop(out);
            (&self.socket).write_all(&batch)?;
            batch.clear();
            out = self.out.lock();
            out.spare = batch;
        }
        out.writing = false;
        Ok(())
    }

    /// Ends the process and tells the client why, if no other thread holds the socket for long. Runs no code of the
    /// library, in which a call may be stuck.
    pub(crate) fn end(&self, ending: ExitReason) -> ! {
        say(format_args!("{ending}"));
        let code = ending.exit_code();
        for _ in 0..LAST_TRIES {
            let mut out = self.out.lock();
            if out.writing {
                drop(out);
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let appended = if out.greeted {
                append(&mut out.buffer, &FromWorker::ExitReason(ending))
            } else {
                append_hello(&mut out.buffer, &HelloReply::Ended(ending))
            };
            // The reason may not arrive, but the exit code gives the same reason.
            if appended.is_ok() && self.socket.set_nonblocking(true).is_ok() {
                drop((&self.socket).write_all(&out.buffer));
            }
            break;
        }
        signal_hook::low_level::exit(code)
    }
}

fn failed(error: &dyn std::error::Error) -> ! {
    say(format_args!("failed to answer: {error}"));
    signal_hook::low_level::exit(0)
}

const LAST_TRIES: u32 = 50;
