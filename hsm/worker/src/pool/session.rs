//! One session thread: answers requests on its session, and recovers step by step when a call fails.

mod ladder;
mod tasks;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cryptoki::{
    error::{Error, RvError},
    session::Session,
};
use hsm::protocol::{Answer, Ask, Failure, Request, Stats};

use super::Shared;
use crate::{
    answers::Counters,
    key::{Candidate, NotOne},
    requests::Requests,
    watchdog::WatchdogSeat,
};

/// Thread with a session and the key handles in it.
pub(super) struct SessionThread {
    shared: Arc<Shared>,
    session: Option<Session>,
    handles: HashMap<u32, Candidate>,
    seat: WatchdogSeat,
}

/// Why an attempt gave no answer.
enum Miss {
    /// The client gets this failure unchanged.
    Failure(Failure),
    /// A call failed; its [`Remedy`](crate::recovery::Remedy) decides what follows.
    Token(Error),
    /// The token no longer shows a key that this process has found before.
    KeyGone,
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

impl From<NotOne> for Miss {
    fn from(why: NotOne) -> Self {
        match why {
            NotOne::Token(error) => Self::Token(error),
            NotOne::Failure(failure) => Self::Failure(failure),
        }
    }
}

/// Longest call whose answer may wait for the next answer: not much longer than it takes to wake the client.
const QUICK: Duration = Duration::from_micros(200);

impl SessionThread {
    /// Creates a thread. Without a session it opens one as soon as the token has a free session.
    pub(super) fn new(shared: Arc<Shared>, session: Option<Session>, seat: WatchdogSeat) -> Self {
        Self {
            shared,
            session,
            handles: HashMap::new(),
            seat,
        }
    }

    /// Works until the process ends.
    pub(super) fn run(mut self, requests: &Requests) {
        loop {
            // A thread without a session leaves the requests to the others.
            self.reopen_patiently();
            let Request { id, ask } = requests.next();
            let started = Instant::now();
            let outcome = self.answer(&ask);
            drop(ask);
            self.shared.answers.put(id, outcome);
            // Answers that the client reads together wake it only once. An answer waits for the next one where that
            // costs no time: signatures are quick, and the client has already sent further requests.
            let may_wait = started.elapsed() < QUICK
                && self.session.is_some()
                && requests.client_is_ahead(self.shared.wanted);
            if !may_wait {
                self.shared.answers.flush();
            }
        }
    }

    fn answer(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        // Nobody waits for the answer.
        if ask.has_expired() {
            self.count(|counters| &counters.expired);
            return Err(Failure::Expired);
        }
        let answer = match self.attempt(ask) {
            Ok(answer) => answer,
            Err(Miss::Failure(failure)) => return Err(failure),
            Err(first) => self.again(ask, first)?,
        };
        if ask.has_expired() {
            self.count(|counters| &counters.late);
            return Err(Failure::Expired);
        }
        if matches!(answer, Answer::Signature(_)) {
            self.count(|counters| &counters.signatures);
        }
        Ok(answer)
    }

    fn count(&self, which: impl FnOnce(&Counters) -> &AtomicU64) {
        which(&self.shared.answers.counters).fetch_add(1, Ordering::Relaxed);
    }

    fn attempt(&mut self, ask: &Ask) -> Result<Answer, Miss> {
        match ask {
            Ask::Login(pin) => self.log_in(pin),
            Ask::Describe => Ok(Answer::Token(
                self.seat.during(|| self.shared.token.describe())?,
            )),
            Ask::Stats => Ok(Answer::Stats(self.stats())),
            Ask::FindKey { .. } | Ask::Sign { .. } | Ask::Random { .. }
                if !self.shared.is_open() =>
            {
                Err(Failure::NotLoggedIn.into())
            }
            Ask::FindKey { wanted, deadline } => self.find_key(wanted, *deadline),
            // What a token shows without a login may be listed without one.
            Ask::List {
                kind,
                from,
                deadline,
            } => self.list(*kind, *from, *deadline),
            Ask::Sign {
                key,
                mechanism,
                deadline,
                payload,
            } => self.sign(*key, *mechanism, payload, *deadline),
            Ask::Random { len, deadline: _ } if *len <= MOST_RANDOM => {
                let octets = self
                    .seat
                    .during(|| self.session()?.generate_random_vec(u32::from(*len)))?;
                Ok(Answer::Random(octets))
            }
            Ask::Random { .. } => Err(Failure::BadRequest {
                why: format!("at most {MOST_RANDOM} random octets at once"),
            }
            .into()),
        }
    }

    fn stats(&self) -> Stats {
        let answers = &self.shared.answers;
        let counters = &answers.counters;
        Stats {
            credit: answers.credit(),
            sessions: self.shared.open.load(Ordering::Relaxed),
            logins: counters.logins.load(Ordering::Relaxed),
            signatures: counters.signatures.load(Ordering::Relaxed),
            expired: counters.expired.load(Ordering::Relaxed),
            late: counters.late.load(Ordering::Relaxed),
            sessions_discarded: counters.sessions_discarded.load(Ordering::Relaxed),
            unreported: counters
                .unreported
                .lock()
                .iter()
                .map(|(code, times)| ((*code).to_owned(), *times))
                .collect(),
        }
    }

    fn session(&self) -> Result<&Session, Error> {
        self.session.as_ref().ok_or(Error::Pkcs11(
            RvError::SessionClosed,
            cryptoki::context::Function::OpenSession,
        ))
    }
}

const MOST_RANDOM: u16 = 1024;
