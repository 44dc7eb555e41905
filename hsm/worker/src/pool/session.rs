//! One thread and its session: does a job, and when it fails, climbs the few rungs there are.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;
use cryptoki::{
    error::{Error, RvError},
    session::{Session, SessionState},
};
use hsm::protocol::{
    Answer, Ask, Ending, Failure, FoundKey, KeyNumber, LoginAnswer, Mechanism, Stats, TokenCode,
    Wanted,
};

use super::{Shared, exhausted};
use crate::{
    job::Job,
    key::{self, Candidate, NotOne},
    login,
    mechanism::{self, Input, NotSigned},
    recovery::{Remedy, code, remedy},
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
    pub(super) fn new(shared: Arc<Shared>, session: Session, seat: Seat) -> Self {
        Self {
            shared,
            session: Some(session),
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

    /// The ladder after a first failure: new session, key found again, once more; then the process ends.
    fn again(
        &mut self,
        ask: &Ask,
        deadline: Option<Instant>,
        first: Miss,
    ) -> Result<Answer, Failure> {
        self.step_up(first)?;
        if passed(deadline) {
            return Err(Failure::Expired);
        }
        match self.attempt(ask) {
            Ok(answer) => Ok(answer),
            Err(Miss::Failure(failure)) => Err(failure),
            // The same trouble on a fresh session is not the session's.
            Err(Miss::KeyGone) => self.shared.answers.end(Ending::KeyVanished),
            Err(Miss::Token(error)) => match remedy(&error) {
                Remedy::Retry | Remedy::FindKeyAgain | Remedy::Exit => self.end(&error),
                Remedy::Wait => {
                    self.discard(&code(&error));
                    Err(Failure::TokenFailed(code(&error)))
                }
                Remedy::Blocked => {
                    self.discard(&code(&error));
                    Err(Failure::TokenRefused(code(&error)))
                }
            },
        }
    }

    /// Gets a fresh session where another try makes sense.
    fn step_up(&mut self, miss: Miss) -> Result<(), Failure> {
        let error = match miss {
            Miss::Failure(failure) => return Err(failure),
            Miss::KeyGone => {
                let why = TokenCode {
                    function: "C_FindObjects".into(),
                    code: "CKR_OK and no key".into(),
                };
                self.discard(&why);
                return self.reopen();
            }
            Miss::Token(error) => error,
        };
        let why = code(&error);
        match remedy(&error) {
            Remedy::Exit => self.end(&error),
            // Any error between SignInit and Sign may leave an operation active in the session.
            Remedy::Retry | Remedy::FindKeyAgain => {
                self.discard(&why);
                self.reopen()
            }
            Remedy::Wait => {
                self.discard(&why);
                Err(Failure::TokenFailed(why))
            }
            Remedy::Blocked => {
                self.discard(&why);
                Err(Failure::TokenRefused(why))
            }
        }
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

    fn log_in(&self, pin: &hsm::Pin) -> Result<Answer, Miss> {
        // The client asks one at a time. Should it not: the second would be a second try.
        if self.shared.logged_in.swap(true, Ordering::AcqRel) {
            return Err(Failure::BadRequest {
                why: "a login stands or is being tried".into(),
            }
            .into());
        }
        let session = self.session()?;
        self.shared
            .answers
            .counters
            .logins
            .fetch_add(1, Ordering::Relaxed);
        let answer = self
            .seat
            .during(|| login::log_in(&self.shared.token, session, pin));
        if answer == LoginAnswer::Accepted {
            // Not being able to tell counts as none.
            let had_keys = self.seat.during(|| key::any(session)).unwrap_or(false);
            self.shared.had_keys.store(had_keys, Ordering::Release);
        } else {
            self.shared.logged_in.store(false, Ordering::Release);
        }
        Ok(Answer::Login(answer))
    }

    fn find_key(&mut self, wanted: &Wanted) -> Result<Answer, Miss> {
        let session = self.session()?;
        let found = self.seat.during(|| match wanted {
            Wanted::Selected(selector) => key::select(session, selector),
            Wanted::Again(identity) => key::find_again(session, identity),
        });
        if let Err(NotOne::Failure(Failure::KeyNotFound { .. })) = &found {
            // "Not found" is no evidence: a library that has lost its token shows nothing, and says CKR_OK.
            if self.shared.had_keys.load(Ordering::Acquire)
                && !self.seat.during(|| key::any(session))?
            {
                return Err(Miss::KeyGone);
            }
        }
        let key = found?;
        let too_many = || Failure::BadRequest {
            why: "more keys than numbers".into(),
        };
        let number = self.shared.number(&key.identity).ok_or_else(too_many)?;
        self.handles.insert(number.0, key.clone());
        Ok(Answer::Key(FoundKey {
            number,
            identity: key.identity,
            attributes: key.attributes,
        }))
    }

    fn sign(
        &mut self,
        number: KeyNumber,
        mechanism: Mechanism,
        payload: &[u8],
    ) -> Result<Answer, Miss> {
        let key = self.key(number)?;
        let (handle, algorithm) = (key.handle, key.identity.algorithm);
        let input = Input::new(algorithm, mechanism, payload)?;
        let session = self.session()?;
        let signed = self
            .seat
            .during(|| mechanism::sign(session, handle, algorithm, mechanism, &input));
        match signed {
            Ok(signature) => Ok(Answer::Signature(signature)),
            Err(NotSigned::Malformed { octets }) => {
                let why = TokenCode {
                    function: "C_Sign".into(),
                    code: format!("CKR_OK with {octets} octets"),
                };
                self.discard(&why);
                Err(Failure::TokenFailed(why).into())
            }
            Err(NotSigned::Token(error)) => Err(self.told_apart(error, number)),
        }
    }

    /// The handle of a numbered key in this process, found when this session first needs it.
    fn key(&mut self, number: KeyNumber) -> Result<&Candidate, Miss> {
        if !self.handles.contains_key(&number.0) {
            let unknown = || Failure::BadRequest {
                why: format!("there is no key {}", number.0),
            };
            let identity = self.shared.identity(number).ok_or_else(unknown)?;
            let session = self.session()?;
            let found = match self.seat.during(|| key::find_again(session, &identity)) {
                // It was shown before.
                Err(NotOne::Failure(Failure::KeyNotFound { .. })) => return Err(Miss::KeyGone),
                found => found?,
            };
            self.handles.insert(number.0, found);
        }
        self.handles.get(&number.0).ok_or(Miss::KeyGone)
    }

    /// `CKR_USER_NOT_LOGGED_IN` on a session that *is* the user's is how a key says that it wants its PIN each time.
    fn told_apart(&mut self, error: Error, number: KeyNumber) -> Miss {
        let Error::Pkcs11(RvError::UserNotLoggedIn, _) = error else {
            return Miss::Token(error);
        };
        let state = self
            .session()
            .and_then(Session::get_session_info)
            .map(|info| info.session_state());
        match (
            state,
            self.handles.get(&number.0).map(|key| key.identity.name()),
        ) {
            (Ok(SessionState::RoUser | SessionState::RwUser), Some(name)) => {
                self.discard(&code(&error));
                Miss::Failure(Failure::AlwaysAuthenticate(name))
            }
            _ => Miss::Token(error),
        }
    }

    fn stats(&self) -> Stats {
        let answers = &self.shared.answers;
        let counters = &answers.counters;
        Stats {
            credit: answers.credit(),
            sessions: self.shared.sessions,
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

    /// Closes the session and forgets its handles.
    fn discard(&mut self, why: &TokenCode) {
        if !self.shared.anchored {
            // It was the only one: the login has gone with it.
            self.shared.answers.end(Ending::TokenLost(why.clone()));
        }
        eprintln!("pkcs11-hsm-worker: gave up a session: {why}");
        self.shared
            .answers
            .counters
            .sessions_discarded
            .fetch_add(1, Ordering::Relaxed);
        self.handles.clear();
        let session = self.session.take();
        self.seat.during(|| drop(session));
    }

    fn reopen(&mut self) -> Result<(), Failure> {
        match self.seat.during(|| self.shared.token.open()) {
            Ok(session) => {
                self.session = Some(session);
                Ok(())
            }
            Err(error) if exhausted(&error) => Err(Failure::TokenFailed(code(&error))),
            Err(error) => self.end(&error),
        }
    }

    /// The pool shrinks while the token has no session to spare, and grows back.
    fn reopen_patiently(&mut self) {
        let mut pause = FIRST_PAUSE;
        while self.session.is_none() && self.reopen().is_err() {
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn end(&self, error: &Error) -> ! {
        self.shared.answers.end(Ending::TokenLost(code(error)))
    }
}

const MOST_RANDOM: u16 = 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

fn passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}
