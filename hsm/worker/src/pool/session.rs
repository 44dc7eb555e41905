//! One thread and its session: does a job, and when it fails, climbs the few rungs there are.

mod ladder;
mod tasks;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use crossbeam_channel::Receiver;
use cryptoki::{
    error::{Error, RvError},
    session::Session,
};
use hsm::protocol::{Answer, Ask, Failure, Stats};

use super::Shared;
use crate::{
    job::Job,
    key::{Candidate, NotOne},
    watchdog::Seat,
};

/// A session and what is known of keys in it.
pub(super) struct SessionThread {
    shared: Arc<Shared>,
    session: Option<Session>,
    handles: HashMap<u32, Candidate>,
    seat: Seat,
}

/// Why a try gave no answer.
enum Miss {
    /// To be told to the client as it is.
    Failure(Failure),
    /// A call failed: the ladder decides.
    Token(Error),
    /// A key that this process has shown before is not there.
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

impl SessionThread {
    /// Without a session it opens one as soon as the token has one to spare.
    pub(super) fn new(shared: Arc<Shared>, session: Option<Session>, seat: Seat) -> Self {
        Self {
            shared,
            session,
            handles: HashMap::new(),
            seat,
        }
    }

    /// Works until the process ends.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            // A thread without a session leaves the jobs to the others.
            self.reopen_patiently();
            let Ok(Job { id, ask, deadline }) = jobs.recv() else {
                return;
            };
            let outcome = self.answer(&ask, deadline);
            drop(ask);
            self.shared.answers.send(id, outcome);
        }
    }

    fn answer(&mut self, ask: &Ask, deadline: Option<Instant>) -> Result<Answer, Failure> {
        let counters = &self.shared.answers.counters;
        // Nobody would collect the signature.
        if passed(deadline) {
            counters.expired.fetch_add(1, Ordering::Relaxed);
            return Err(Failure::Expired);
        }
        let answer = match self.attempt(ask) {
            Ok(answer) => answer,
            Err(Miss::Failure(failure)) => return Err(failure),
            Err(first) => self.again(ask, deadline, first)?,
        };
        if passed(deadline) {
            self.shared
                .answers
                .counters
                .late
                .fetch_add(1, Ordering::Relaxed);
            return Err(Failure::Expired);
        }
        if matches!(answer, Answer::Signature(_)) {
            self.shared
                .answers
                .counters
                .signatures
                .fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer)
    }

    fn attempt(&mut self, ask: &Ask) -> Result<Answer, Miss> {
        match ask {
            Ask::Login(pin) => self.log_in(pin),
            Ask::Describe => Ok(Answer::Token(
                self.seat.during(|| self.shared.token.describe())?,
            )),
            Ask::Stats => Ok(Answer::Stats(self.stats())),
            Ask::FindKey(_) | Ask::Sign { .. } | Ask::Random { .. }
                if !self.shared.is_logged_in() =>
            {
                Err(Failure::NotLoggedIn.into())
            }
            Ask::FindKey(wanted) => self.find_key(wanted),
            Ask::Sign {
                key,
                mechanism,
                deadline_ms: _,
                payload,
            } => self.sign(*key, *mechanism, payload),
            Ask::Random {
                len,
                deadline_ms: _,
            } if *len <= MOST_RANDOM => {
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

fn passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}
