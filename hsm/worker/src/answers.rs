//! What this process says: answers from any thread, and last words.

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    sync::{
        Mutex, PoisonError, TryLockError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::BytesMut;
use hsm::protocol::{Answer, Ending, Failure, FromWorker, HelloReply, append, append_hello};

/// Counters behind [`hsm::protocol::Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) logins: AtomicU32,
    pub(crate) signatures: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) sessions_discarded: AtomicU64,
}

/// The writing half of the socket and the client's credit.
#[derive(Debug)]
pub(crate) struct Answers {
    out: Mutex<Out>,
    granted: AtomicU32,
    unanswered: AtomicU32,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
struct Out {
    socket: UnixStream,
    buffer: BytesMut,
}

impl Answers {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self {
            out: Mutex::new(Out {
                socket,
                buffer: BytesMut::new(),
            }),
            granted: AtomicU32::new(0),
            unanswered: AtomicU32::new(0),
            counters: Counters::default(),
        }
    }

    /// Answers the greeting; from now on the client may send.
    pub(crate) fn hello(&self, reply: &HelloReply) -> io::Result<()> {
        if let HelloReply::Found { credit, .. } = reply {
            self.granted.store(u32::from(*credit), Ordering::SeqCst);
        }
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Out { socket, buffer } = &mut *out;
        append_hello(buffer, reply).map_err(io::Error::other)?;
        flush(socket, buffer)
    }

    /// The requests that may be unanswered at once.
    pub(crate) fn credit(&self) -> u16 {
        u16::try_from(self.granted.load(Ordering::SeqCst)).unwrap_or(u16::MAX)
    }

    /// Counts a request in. False: the client sent beyond its credit.
    pub(crate) fn admit(&self) -> bool {
        self.unanswered.fetch_add(1, Ordering::SeqCst) < self.granted.load(Ordering::SeqCst)
    }

    /// Answers one request. Ends the process when the client is gone.
    pub(crate) fn send(&self, id: u32, outcome: Result<Answer, Failure>) {
        // Before the write: the client may use the place as soon as it has read.
        self.unanswered.fetch_sub(1, Ordering::SeqCst);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Out { socket, buffer } = &mut *out;
        let response = FromWorker::Response { id, outcome };
        let written = append(buffer, &response)
            .map_err(io::Error::other)
            .and_then(|()| flush(socket, buffer));
        if let Err(error) = written {
            eprintln!("pkcs11-hsm-worker: failed to answer: {error}");
            signal_hook::low_level::exit(0);
        }
    }

    /// Says why, if the socket can be had soon, and ends the process without running anything of the library's:
    /// a call may be stuck inside it.
    pub(crate) fn end(&self, ending: Ending) -> ! {
        eprintln!("pkcs11-hsm-worker: {ending}");
        let code = ending.exit_code();
        let words = FromWorker::Ending(ending);
        for _ in 0..LAST_TRIES {
            let mut out = match self.out.try_lock() {
                Ok(out) => out,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                }
            };
            let Out { socket, buffer } = &mut *out;
            // Whether the words arrive is up to the client; the exit code says the same.
            let said = socket.set_nonblocking(true).is_ok() && append(buffer, &words).is_ok();
            if said {
                drop(flush(socket, buffer));
            }
            break;
        }
        signal_hook::low_level::exit(code)
    }
}

const LAST_TRIES: u32 = 50;

fn flush(socket: &mut UnixStream, buffer: &mut BytesMut) -> io::Result<()> {
    let written = socket.write_all(buffer);
    buffer.clear();
    written
}
