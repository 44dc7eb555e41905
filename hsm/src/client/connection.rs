//! One connection to one worker: writes in batches, matches responses to requests, fails all of them when it ends.

use std::{
    collections::HashMap,
    io,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch},
    task::AbortHandle,
    time::{Instant, timeout_at},
};
use zeroize::Zeroize;

use super::{
    error::HsmError,
    key::{Generation, Key},
};
use crate::protocol::{
    Answer, Ask, Ending, Failure, FrameError, FromWorker, Hello, HelloReply, Inbox, KeySelector,
    LoginAnswer, MAX_FRAME, Mechanism, NoToken, Pin, Request, TokenInfo, TokenSelector, Wanted,
    append, append_hello,
};

/// The connection could not be made or kept.
#[derive(Debug, Error)]
pub(crate) enum ConnectionError {
    #[error("failed to exchange octets with the HSM worker")]
    Io(#[from] io::Error),
    #[error("failed to understand the HSM worker")]
    Frame(#[from] FrameError),
    #[error("the HSM worker closed the connection")]
    Closed,
    #[error("{0}")]
    Ending(Ending),
}

/// What a worker said first.
pub(crate) enum Greeting {
    Found {
        connection: Arc<Connection>,
        token: TokenInfo,
    },
    NotFound(NoToken),
}

/// A connection on which the token was found.
#[derive(Debug)]
pub(crate) struct Connection {
    generation: Generation,
    credit: Arc<Semaphore>,
    granted: u16,
    outbox: Mutex<BytesMut>,
    written: Notify,
    pending: Mutex<Pending>,
    lost: watch::Sender<Option<String>>,
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
    _place: OwnedSemaphorePermit,
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
    ) -> Result<Greeting, ConnectionError> {
        let mut out = BytesMut::new();
        let hello = Hello {
            token,
            sessions,
            hang_after_ms: milliseconds(hang_after),
        };
        append_hello(&mut out, &hello)?;
        stream.write_all(&out).await?;
        let mut inbox = Inbox::default();
        let reply = loop {
            if let Some(reply) = inbox.hello::<HelloReply>()? {
                break reply;
            }
            if stream.read_buf(inbox.buffer()).await? == 0 {
                return Err(ConnectionError::Closed);
            }
        };
        match reply {
            HelloReply::NotFound(why) => Ok(Greeting::NotFound(why)),
            HelloReply::Found {
                token,
                sessions: _,
                credit,
            } => {
                let (read, write) = stream.into_split();
                let connection = Arc::new(Self {
                    generation,
                    credit: Arc::new(Semaphore::new(usize::from(credit))),
                    granted: credit,
                    // Room for a whole frame: growing while it holds a PIN would leave a copy behind.
                    outbox: Mutex::new(BytesMut::with_capacity(2 * MAX_FRAME)),
                    written: Notify::new(),
                    pending: Mutex::default(),
                    lost: watch::Sender::new(None),
                    tasks: Mutex::default(),
                });
                let reader = tokio::spawn(read_all(Arc::clone(&connection), read, inbox));
                let writer = tokio::spawn(write_all(Arc::clone(&connection), write));
                lock(&connection.tasks).extend([reader.abort_handle(), writer.abort_handle()]);
                Ok(Greeting::Found { connection, token })
            }
        }
    }

    /// Resolves when the connection has ended, with the reason.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        let reason = lost
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        reason.unwrap_or_default()
    }

    /// True when a request is unanswered although its deadline was longer ago than `grace`: the worker's own
    /// watchdog has failed.
    pub(crate) fn overdue(&self, now: Instant, grace: Duration) -> bool {
        lock(&self.pending)
            .waiting
            .values()
            .any(|waiting| waiting.deadline + grace < now)
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
        self.end("the connection was closed".into());
    }

    fn end(&self, why: String) {
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

    pub(crate) async fn login(&self, pin: Pin, deadline: Instant) -> Result<LoginAnswer, HsmError> {
        let Answer::Login(answer) = self.ask(deadline, |_| Ask::Login(pin)).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(answer)
    }

    pub(crate) async fn describe(&self, deadline: Instant) -> Result<TokenInfo, HsmError> {
        let Answer::Token(token) = self.ask(deadline, |_| Ask::Describe).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(token)
    }

    pub(crate) async fn find_key(
        &self,
        selector: &KeySelector,
        deadline: Instant,
    ) -> Result<Key, HsmError> {
        let wanted = Wanted::Selected(selector.clone());
        let Answer::Key(found) = self.ask(deadline, |_| Ask::FindKey(wanted)).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(Key::new(found, self.generation))
    }

    pub(crate) async fn sign(
        &self,
        key: &Key,
        mechanism: Mechanism,
        payload: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, HsmError> {
        let number = match key.number(self.generation) {
            Some(number) => number,
            None => self.find_again(key, deadline).await?,
        };
        let ask = |deadline_ms| Ask::Sign {
            key: number,
            mechanism,
            deadline_ms,
            payload: payload.to_vec(),
        };
        let Answer::Signature(signature) = self.ask(deadline, ask).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(signature)
    }

    pub(crate) async fn random(&self, len: u16, deadline: Instant) -> Result<Vec<u8>, HsmError> {
        let Answer::Random(octets) = self
            .ask(deadline, |deadline_ms| Ask::Random { len, deadline_ms })
            .await?
        else {
            return Err(HsmError::WrongAnswer);
        };
        if octets.len() == usize::from(len) {
            Ok(octets)
        } else {
            Err(HsmError::WrongAnswer)
        }
    }

    pub(crate) async fn stats(
        &self,
        deadline: Instant,
    ) -> Result<crate::protocol::Stats, HsmError> {
        let Answer::Stats(stats) = self.ask(deadline, |_| Ask::Stats).await? else {
            return Err(HsmError::WrongAnswer);
        };
        Ok(stats)
    }

    async fn find_again(
        &self,
        key: &Key,
        deadline: Instant,
    ) -> Result<crate::protocol::KeyNumber, HsmError> {
        let wanted = Wanted::Again(key.identity().clone());
        let Answer::Key(found) = self.ask(deadline, |_| Ask::FindKey(wanted)).await? else {
            return Err(HsmError::WrongAnswer);
        };
        if found.identity != *key.identity() {
            return Err(HsmError::KeyNotFound {
                differing: vec![found.identity.name()],
            });
        }
        key.found_again(self.generation, found.number);
        Ok(found.number)
    }

    /// Waits for credit, sends, waits for the answer, all before `deadline`. `make` is told the milliseconds left.
    async fn ask(
        &self,
        deadline: Instant,
        make: impl FnOnce(u32) -> Ask,
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
                    _place: place,
                    deadline,
                },
            );
            id
        };
        let appended = append(
            &mut lock(&self.outbox),
            &Request {
                id,
                ask: make(milliseconds(left)),
            },
        );
        if let Err(too_long) = appended {
            lock(&self.pending).waiting.remove(&id);
            return Err(HsmError::BadRequest {
                why: too_long.to_string(),
            });
        }
        self.written.notify_one();
        match timeout_at(deadline, answer).await {
            Err(_) => Err(HsmError::TimedOut),
            Ok(Err(_dropped)) => Err(self.lost_error()),
            Ok(Ok(outcome)) => outcome.map_err(HsmError::from),
        }
    }

    fn lost_error(&self) -> HsmError {
        HsmError::WorkerLost {
            why: self.lost.borrow().clone().unwrap_or_default(),
        }
    }
}

async fn read_all(connection: Arc<Connection>, read: OwnedReadHalf, inbox: Inbox) {
    let why = match read_until_end(&connection, read, inbox).await {
        ConnectionError::Ending(ending) => ending.to_string(),
        ConnectionError::Closed => "it closed the connection".into(),
        error @ (ConnectionError::Io(_) | ConnectionError::Frame(_)) => chain(&error),
    };
    connection.end(why);
}

async fn read_until_end(
    connection: &Connection,
    mut read: OwnedReadHalf,
    mut inbox: Inbox,
) -> ConnectionError {
    loop {
        match inbox.frame::<FromWorker>() {
            Err(error) => return error.into(),
            Ok(Some(FromWorker::Ending(ending))) => return ConnectionError::Ending(ending),
            Ok(Some(FromWorker::Response { id, outcome })) => {
                // An id that nobody waits for is a worker's fault that harms nobody.
                let waiting = lock(&connection.pending).waiting.remove(&id);
                if let Some(waiting) = waiting {
                    // The asker may have given up.
                    drop(waiting.reply.send(outcome));
                }
            }
            Ok(None) => match read.read_buf(inbox.buffer()).await {
                Ok(0) => return ConnectionError::Closed,
                Ok(_) => {}
                Err(error) => return error.into(),
            },
        }
    }
}

/// Writes everything that was appended since the last write at once.
async fn write_all(connection: Arc<Connection>, mut write: OwnedWriteHalf) {
    let mut batch = BytesMut::with_capacity(2 * MAX_FRAME);
    loop {
        connection.written.notified().await;
        std::mem::swap(&mut batch, &mut *lock(&connection.outbox));
        let result = write.write_all(&batch).await;
        // A PIN may have been among it.
        batch.as_mut().zeroize();
        batch.clear();
        if let Err(error) = result {
            // The reader may still find last words in the socket; it ends the connection.
            tracing::debug!(%error, "failed to write to the HSM worker");
            return;
        }
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
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
