//! One connection to one worker: writes requests, matches responses to them, and fails all of them when it ends.

mod requests;
mod wire;

use std::{
    collections::HashMap,
    io, iter,
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

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
    Answer, Ask, ExitReason, Failure, FrameError, Hello, HelloReply, Inbox, MAX_FRAME, Moment,
    NoToken, Request, TokenInfo, TokenSelector, append_hello,
};

/// Why the greeting failed.
#[derive(Debug, Error)]
pub(crate) enum GreetError {
    #[error("failed to exchange octets with the HSM worker")]
    Io(#[from] io::Error),
    #[error("failed to understand the HSM worker")]
    Frame(#[from] FrameError),
    #[error("the HSM worker closed the connection")]
    Closed,
    #[error("the HSM worker answered another question")]
    AnotherQuestion,
}

/// How a connection ended.
#[derive(Clone, Debug, Error)]
pub(crate) enum Lost {
    /// The worker sent a reason before it ended.
    #[error("{0}")]
    Said(ExitReason),
    /// The worker closed the connection without a reason.
    #[error("it closed the connection")]
    Closed,
    /// The socket failed.
    #[error("{0}")]
    Broken(String),
    /// The worker sent octets that are not in the protocol.
    #[error("{0}")]
    Incomprehensible(String),
    /// We closed the connection.
    #[error("the connection was closed")]
    ByUs,
}

/// First answer of a worker.
pub(crate) enum Greeting {
    Found {
        connection: Arc<Connection>,
        token: TokenInfo,
    },
    NotFound(NoToken),
    Ended(ExitReason),
}

/// Connection to a worker that has found the token.
#[derive(Debug)]
pub(crate) struct Connection {
    generation: Generation,
    credit: Arc<Semaphore>,
    granted: u16,
    socket: AsyncFd<std::os::unix::net::UnixStream>,
    /// Octets that the socket has not accepted yet.
    outbox: Mutex<BytesMut>,
    blocked: Notify,
    pending: Mutex<Pending>,
    lost: watch::Sender<Option<Lost>>,
    signed: AtomicBool,
    logged_in: AtomicBool,
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
    /// The place in the worker's queue. It becomes free when the worker answers, not when the caller gives up.
    place: OwnedSemaphorePermit,
    deadline: Instant,
}

/// Reads until a whole frame has arrived, which `take` decodes.
pub(crate) async fn read_frame<T>(
    stream: &mut UnixStream,
    inbox: &mut Inbox,
    take: impl Fn(&mut Inbox) -> Result<Option<T>, FrameError>,
) -> Result<T, GreetError> {
    loop {
        if let Some(value) = take(inbox)? {
            return Ok(value);
        }
        if stream.read_buf(inbox.buffer()).await? == 0 {
            return Err(GreetError::Closed);
        }
    }
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
            token: Some(token),
            sessions,
            hang_after_ms: u32::try_from(hang_after.as_millis()).unwrap_or(u32::MAX),
        };
        append_hello(&mut out, &hello)?;
        stream.write_all(&out).await?;
        let mut inbox = Inbox::default();
        let reply = read_frame(&mut stream, &mut inbox, Inbox::hello::<HelloReply>).await?;
        match reply {
            HelloReply::NotFound(why) => Ok(Greeting::NotFound(why)),
            HelloReply::Ended(ending) => Ok(Greeting::Ended(ending)),
            HelloReply::Tokens { .. } => Err(GreetError::AnotherQuestion),
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
                    // Room for a whole frame: a buffer that grows while it holds a PIN leaves a copy in memory.
                    outbox: Mutex::new(BytesMut::with_capacity(2 * MAX_FRAME)),
                    blocked: Notify::new(),
                    pending: Mutex::default(),
                    lost: watch::Sender::new(None),
                    signed: AtomicBool::new(false),
                    logged_in: AtomicBool::new(false),
                    tasks: Mutex::default(),
                });
                let reader = tokio::spawn(wire::read_all(Arc::clone(&connection), inbox));
                let writer = tokio::spawn(wire::write_rest(Arc::clone(&connection)));
                connection
                    .tasks
                    .lock()
                    .extend([reader.abort_handle(), writer.abort_handle()]);
                Ok(Greeting::Found { connection, token })
            }
        }
    }

    /// Waits until the connection has ended; returns the reason.
    pub(crate) async fn lost(&self) -> Lost {
        let mut lost = self.lost.subscribe();
        let reason = lost
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        reason.unwrap_or(Lost::Closed)
    }

    /// Returns whether this worker has made a signature. If so, the token was present and logged in, and had the key.
    pub(crate) fn has_signed(&self) -> bool {
        self.signed.load(Ordering::Relaxed)
    }

    /// Returns whether a login was accepted on this connection.
    pub(crate) fn is_logged_in(&self) -> bool {
        self.logged_in.load(Ordering::Acquire)
    }

    /// Returns whether a request is still unanswered `grace` after its deadline: the worker's own watchdog has failed.
    pub(crate) fn overdue(&self, now: Instant, grace: Duration) -> bool {
        self.pending
            .lock()
            .waiting
            .values()
            .any(|waiting| waiting.deadline + grace < now)
    }

    /// Returns the number of requests that may be unanswered at once.
    pub(crate) fn granted(&self) -> u16 {
        self.granted
    }

    /// Returns the number of requests that the worker has not answered.
    pub(crate) fn in_flight(&self) -> usize {
        usize::from(self.granted).saturating_sub(self.credit.available_permits())
    }

    /// Waits until every request is answered.
    pub(crate) async fn drained(&self) {
        // A closed semaphore means that the connection and every request on it have ended.
        drop(self.credit.acquire_many(u32::from(self.granted)).await);
    }

    /// Closes the socket; unanswered requests fail.
    pub(crate) fn close(&self) {
        for task in self.tasks.lock().drain(..) {
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
        let mut pending = self.pending.lock();
        pending.closed = true;
        // Dropping the reply channels notifies the callers.
        pending.waiting.clear();
    }

    /// Waits for credit, sends a request and waits for its answer, all before `deadline`. `make` gets the deadline on the
    /// worker's clock.
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
            let mut pending = self.pending.lock();
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
            self.pending.lock().waiting.remove(&id);
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

/// Returns the error and its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
