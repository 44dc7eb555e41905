//! One connection to one worker: writes requests, matches responses to requests, fails all of them when it ends.

mod requests;
mod wire;

use std::{
    collections::HashMap,
    io,
    num::NonZeroU16,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use rustix::net::{Shutdown, shutdown};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest, unix::AsyncFd},
    net::UnixStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{error::HsmError, key::Generation};
use crate::protocol::{
    Answer, Ask, Ending, Failure, FrameError, Hello, HelloReply, Inbox, MAX_FRAME, Moment, NoToken,
    Request, TokenInfo, TokenSelector, append_hello,
};

/// No greeting came back.
#[derive(Debug, Error)]
pub(crate) enum GreetError {
    #[error("failed to exchange octets with the HSM worker")]
    Io(#[from] io::Error),
    #[error("failed to understand the HSM worker")]
    Frame(#[from] FrameError),
    #[error("the HSM worker closed the connection")]
    Closed,
}

/// How a connection ended.
#[derive(Clone, Debug, Error)]
pub(crate) enum Lost {
    /// The worker's last words.
    #[error("{0}")]
    Said(Ending),
    /// Without last words.
    #[error("it closed the connection")]
    Closed,
    /// The socket failed.
    #[error("{0}")]
    Broken(String),
    /// It sent what is not the protocol.
    #[error("{0}")]
    Incomprehensible(String),
    /// By us.
    #[error("the connection was closed")]
    ByUs,
}

/// What a worker said first.
pub(crate) enum Greeting {
    Found {
        connection: Arc<Connection>,
        token: TokenInfo,
    },
    NotFound(NoToken),
    Ended(Ending),
}

/// A connection on which the token was found.
#[derive(Debug)]
pub(crate) struct Connection {
    generation: Generation,
    credit: Arc<Semaphore>,
    granted: u16,
    socket: AsyncFd<std::os::unix::net::UnixStream>,
    /// What the socket has not taken yet.
    outbox: Mutex<BytesMut>,
    blocked: Notify,
    pending: Mutex<Pending>,
    lost: watch::Sender<Option<Lost>>,
    signed: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
}

#[derive(Debug, Default)]
struct Pending {
    last_id: u32,
    waiting: HashMap<u32, Waiting>,
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Result<Answer, Failure>>,
    /// The worker's place in the queue, given back by its answer and not by the asker's patience.
    place: OwnedSemaphorePermit,
    deadline: Instant,
}

impl Connection {
    /// Says hello on a fresh socket and waits for the worker to load its module and find the token.
    pub(crate) async fn greet(
        mut stream: UnixStream,
        generation: Generation,
        token: TokenSelector,
        sessions: Option<NonZeroU16>,
        hang_after: Duration,
    ) -> Result<Greeting, GreetError> {
        let mut out = BytesMut::new();
        let hello = Hello {
            said: Moment::now(),
            token,
            sessions,
            hang_after_ms: u32::try_from(hang_after.as_millis()).unwrap_or(u32::MAX),
        };
        append_hello(&mut out, &hello)?;
        stream.write_all(&out).await?;
        let mut inbox = Inbox::default();
        let reply = loop {
            if let Some(reply) = inbox.hello::<HelloReply>()? {
                break reply;
            }
            if stream.read_buf(inbox.buffer()).await? == 0 {
                return Err(GreetError::Closed);
            }
        };
        match reply {
            HelloReply::NotFound(why) => Ok(Greeting::NotFound(why)),
            HelloReply::Ended(ending) => Ok(Greeting::Ended(ending)),
            HelloReply::Found {
                token,
                sessions: _,
                credit,
            } => {
                let socket = wire::watched(stream.into_std()?, Interest::READABLE)?;
                let connection = Arc::new(Self {
                    generation,
                    credit: Arc::new(Semaphore::new(usize::from(credit))),
                    granted: credit,
                    socket,
                    // Room for a whole frame: growing while it holds a PIN would leave a copy behind.
                    outbox: Mutex::new(BytesMut::with_capacity(2 * MAX_FRAME)),
                    blocked: Notify::new(),
                    pending: Mutex::default(),
                    lost: watch::Sender::new(None),
                    signed: AtomicBool::new(false),
                    tasks: Mutex::default(),
                });
                let reader = tokio::spawn(wire::read_all(Arc::clone(&connection), inbox));
                let writer = tokio::spawn(wire::write_rest(Arc::clone(&connection)));
                lock(&connection.tasks).extend([reader.abort_handle(), writer.abort_handle()]);
                Ok(Greeting::Found { connection, token })
            }
        }
    }

    /// Resolves when the connection has ended, with the reason.
    pub(crate) async fn lost(&self) -> Lost {
        let mut lost = self.lost.subscribe();
        let reason = lost
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        reason.unwrap_or(Lost::Closed)
    }

    /// Whether a signature was made: the token was there, logged in and had the key.
    pub(crate) fn has_signed(&self) -> bool {
        self.signed.load(Ordering::Relaxed)
    }

    /// True when a request is unanswered although its deadline was longer ago than `grace`: the worker's own
    /// watchdog has failed.
    pub(crate) fn overdue(&self, now: Instant, grace: Duration) -> bool {
        lock(&self.pending)
            .waiting
            .values()
            .any(|waiting| waiting.deadline + grace < now)
    }

    /// Requests that may be unanswered at once.
    pub(crate) fn granted(&self) -> u16 {
        self.granted
    }

    /// Waits until every request is answered.
    pub(crate) async fn drained(&self) {
        // A closed semaphore means that the connection has ended, and with it every request.
        drop(self.credit.acquire_many(u32::from(self.granted)).await);
    }

    /// Closes the socket; what is unanswered fails.
    pub(crate) fn close(&self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
        // An error means that it is closed already.
        shutdown(self.socket.get_ref(), Shutdown::Both).ok();
        self.end(Lost::ByUs);
    }

    fn end(&self, why: Lost) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            if first {
                *lost = Some(why);
            }
            first
        });
        self.credit.close();
        let mut pending = lock(&self.pending);
        pending.closed = true;
        // Dropping the reply channels tells the askers.
        pending.waiting.clear();
    }

    /// Waits for credit, sends, waits for the answer, all before `deadline`. `make` is told the deadline by the worker's
    /// clock.
    async fn ask(
        &self,
        deadline: Instant,
        make: impl FnOnce(Moment) -> Ask,
    ) -> Result<Answer, HsmError> {
        let place = match timeout_at(deadline, Arc::clone(&self.credit).acquire_owned()).await {
            Err(_) => return Err(HsmError::Overloaded),
            Ok(Err(_closed)) => return Err(self.lost_error()),
            Ok(Ok(place)) => place,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let (reply, answer) = oneshot::channel();
        let id = {
            let mut pending = lock(&self.pending);
            if pending.closed {
                drop(pending);
                return Err(self.lost_error());
            }
            pending.last_id = pending.last_id.wrapping_add(1);
            let id = pending.last_id;
            pending.waiting.insert(
                id,
                Waiting {
                    reply,
                    place,
                    deadline,
                },
            );
            id
        };
        let ask = make(Moment::now().after(left));
        if let Err(too_long) = self.send(&Request { id, ask }) {
            lock(&self.pending).waiting.remove(&id);
            return Err(HsmError::BadRequest {
                why: too_long.to_string(),
            });
        }
        match timeout_at(deadline, answer).await {
            Err(_) => Err(HsmError::TimedOut),
            Ok(Err(_dropped)) => Err(self.lost_error()),
            Ok(Ok(outcome)) => outcome.map_err(HsmError::from),
        }
    }

    fn lost_error(&self) -> HsmError {
        HsmError::WorkerLost {
            why: self
                .lost
                .borrow()
                .as_ref()
                .map_or_else(|| Lost::Closed.to_string(), Lost::to_string),
        }
    }
}

/// The error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// Nothing here can leave the value behind a lock half-changed, so a panic elsewhere does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
