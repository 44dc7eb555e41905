//! Recovery after a failed call: discard the session, open a new one, look the key up again, and finally end the process.

use std::{sync::atomic::Ordering, thread, time::Duration};

use cryptoki::{
    error::{Error, RvError},
    session::{Session, SessionState},
};
use hsm::protocol::{Answer, Ask, ExitReason, Failure, KeyNumber, TokenCode};

use super::{Miss, SessionThread};
use crate::recovery::{Remedy, code, remedy};
use crate::say::say;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl SessionThread {
    /// Recovers from a first failure: a new session, the key looked up again, and one more attempt. If that fails too,
    /// the process ends, unless the remedy is to wait or a person must act.
    pub(super) fn again(&mut self, ask: &Ask, first: Miss) -> Result<Answer, Failure> {
        self.step_up(first)?;
        if ask.has_expired() {
            return Err(Failure::Expired);
        }
        match self.attempt(ask) {
            Ok(answer) => Ok(answer),
            Err(Miss::Failure(failure)) => Err(failure),
            // A failure that repeats on a fresh session is not caused by the session.
            Err(Miss::KeyGone) => self.shared.answers.end(ExitReason::KeyVanished),
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

    /// Opens a fresh session, unless another attempt makes no sense.
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
        if let Error::Pkcs11(RvError::UserNotLoggedIn, _) = error
            && !self.shared.is_logged_in()
        {
            // The token requires a login for this request, but not for all.
            self.unreported(&why);
            self.discard(&why);
            return Err(Failure::NotLoggedIn);
        }
        match remedy(&error) {
            Remedy::Exit => self.end(&error),
            // Any error between SignInit and Sign may leave an operation active in the session.
            Remedy::Retry | Remedy::FindKeyAgain => {
                self.unreported(&why);
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

    /// Distinguishes a lost login from a key that requires its PIN for every signature: for such a key the token returns
    /// `CKR_USER_NOT_LOGGED_IN` on a session that *is* logged in.
    pub(super) fn distinguish(&mut self, error: Error, number: KeyNumber) -> Miss {
        let Error::Pkcs11(RvError::UserNotLoggedIn, _) = error else {
            return Miss::Token(error);
        };
        if !self.shared.is_logged_in() {
            return Miss::Token(error);
        }
        let state = self
            .session()
            .and_then(Session::get_session_info)
            .map(|info| info.session_state());
        match (
            state,
            self.handles.get(&number.0).map(|key| key.identity.name()),
        ) {
            (Ok(SessionState::RoUser | SessionState::RwUser), Some(name)) => {
                self.unreported(&code(&error));
                self.discard(&code(&error));
                Miss::Failure(Failure::AlwaysAuthenticate(name))
            }
            _ => Miss::Token(error),
        }
    }

    /// Counts an error whose code no answer names.
    pub(super) fn unreported(&self, why: &TokenCode) {
        self.shared.answers.counters.unreported(why);
    }

    /// Closes the session and forgets its handles.
    pub(super) fn discard(&mut self, why: &TokenCode) {
        if !self.shared.anchored {
            // The only session ends, and the login with it.
            self.shared.answers.end(ExitReason::TokenLost(why.clone()));
        }
        say(format_args!("discarded a session: {why}"));
        self.shared
            .answers
            .counters
            .sessions_discarded
            .fetch_add(1, Ordering::Relaxed);
        self.handles.clear();
        if let Some(session) = self.session.take() {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
            self.seat.during(|| drop(session));
        }
    }

    /// Opens a fresh session for another attempt.
    fn reopen(&mut self) -> Result<(), Failure> {
        self.open().map_err(|error| match remedy(&error) {
            Remedy::Wait => Failure::TokenFailed(code(&error)),
            Remedy::Retry | Remedy::FindKeyAgain | Remedy::Exit | Remedy::Blocked => {
                self.end(&error)
            }
        })
    }

    /// Opens a session, waiting until the token has a free one. So the pool shrinks while the token is full, and then
    /// grows back.
    pub(super) fn reopen_patiently(&mut self) {
        let mut pause = FIRST_PAUSE;
        while self.session.is_none() {
            if let Err(error) = self.open() {
                // The pool works as long as one session does, whatever the code: some libraries have codes of their own
                // for "full".
                let others = self.shared.open.load(Ordering::Relaxed) > 0;
                if remedy(&error) != Remedy::Wait && !others {
                    self.end(&error);
                }
                self.unreported(&code(&error));
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn open(&mut self) -> Result<(), Error> {
        let session = self.seat.during(|| self.shared.token.open())?;
        self.session = Some(session);
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn end(&self, error: &Error) -> ! {
        self.shared.answers.end(ExitReason::TokenLost(code(error)))
    }
}
