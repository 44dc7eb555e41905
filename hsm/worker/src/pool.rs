//! The session pool: each thread has one session and its own key handles, and takes the next request when it is free.

mod session;

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread,
};

use parking_lot::Mutex;

use cryptoki::session::Session;
use hsm::protocol::{HelloReply, KeyIdentity, KeyNumber, NoToken};

use self::session::SessionThread;
use crate::say::say;
use crate::{
    answers::Answers, recovery::code, requests::Requests, token::Token, watchdog::Watchdog,
};

/// Sessions that are open before the first request.
pub(crate) struct Sessions {
    /// A session that is logged in and never used. The login ends with the last session; the anchor keeps it when
    /// another session is discarded. A token with a single session has no anchor.
    anchor: Option<Session>,
    signing: Vec<Session>,
    /// Number of signing sessions to reach once the token has enough free sessions.
    wanted: u16,
}

/// Opens the anchor and as many of the wanted sessions as possible; one session is enough to start.
pub(crate) fn open(token: &Token, wanted: Option<NonZeroU16>) -> Result<Sessions, NoToken> {
    let first = token
        .open()
        .map_err(|error| NoToken::Sessions(code(&error)))?;
    let size = size(wanted, token.info.max_sessions);
    let mut signing = Vec::new();
    for _ in 0..size {
        match token.open() {
            Ok(session) => signing.push(session),
            // Other users of the token hold the rest. The code does not matter, because at least one session works.
            Err(error) => {
                say(format_args!(
                    "{} of {size} sessions: {}",
                    signing.len(),
                    code(&error)
                ));
                break;
            }
        }
    }
    let wanted = size.max(1);
    if signing.is_empty() {
        return Ok(Sessions {
            anchor: None,
            signing: vec![first],
            wanted,
        });
    }
    Ok(Sessions {
        anchor: Some(first),
        signing,
        wanted,
    })
}

/// Returns the number of sessions besides the anchor. Zero means that the token has only one session, which must then
/// sign.
fn size(wanted: Option<NonZeroU16>, limit: Option<u64>) -> u16 {
    let besides_anchor = limit.map_or(u16::MAX, |limit| {
        u16::try_from(limit.saturating_sub(1)).unwrap_or(u16::MAX)
    });
    wanted
        .map_or(DEFAULT_SESSIONS, NonZeroU16::get)
        .min(besides_anchor)
}

const DEFAULT_SESSIONS: u16 = 4;

/// State that the session threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    token: Arc<Token>,
    answers: Arc<Answers>,
    /// Number of signing sessions to reach.
    wanted: u16,
    /// Number of sessions open for signing.
    open: AtomicU16,
    /// Whether the login survives when a session is discarded.
    anchored: bool,
    logged_in: AtomicBool,
    /// Whether the token showed any private key.
    had_keys: AtomicBool,
    keys: Mutex<Vec<KeyIdentity>>,
}

impl Shared {
    /// Returns the key's number on this connection; a key always has the same number.
    fn number(&self, identity: &KeyIdentity) -> Option<KeyNumber> {
        let mut keys = self.keys.lock();
        let place = keys
            .iter()
            .position(|known| known == identity)
            .unwrap_or_else(|| {
                keys.push(identity.clone());
                keys.len() - 1
            });
        drop(keys);
        u32::try_from(place).ok().map(KeyNumber)
    }

    fn identity(&self, number: KeyNumber) -> Option<KeyIdentity> {
        let keys = self.keys.lock();
        keys.get(usize::try_from(number.0).ok()?).cloned()
    }

    fn is_logged_in(&self) -> bool {
        self.logged_in.load(Ordering::Acquire)
    }

    /// Returns whether keys may be looked for: after the login, or without one if the token does not require it.
    fn is_open(&self) -> bool {
        self.is_logged_in() || !self.token.info.login_required
    }
}

/// Answers the greeting and serves requests. Returns only with an error.
pub(crate) fn run(
    token: Arc<Token>,
    sessions: Sessions,
    requests: &Arc<Requests>,
    answers: &Arc<Answers>,
    watchdog: &Watchdog,
) -> std::io::Result<()> {
    let Sessions {
        anchor,
        signing,
        wanted,
    } = sessions;
    let count = u16::try_from(signing.len()).unwrap_or(u16::MAX);
    let info = token.info.clone();
    let shared = Arc::new(Shared {
        token,
        answers: Arc::clone(answers),
        wanted,
        open: AtomicU16::new(count),
        anchored: anchor.is_some(),
        logged_in: AtomicBool::new(false),
        had_keys: AtomicBool::new(false),
        keys: Mutex::default(),
    });
    let mut threads = Vec::new();
    let mut signing = signing.into_iter();
    for number in 0..wanted {
        let session = signing.next();
        let thread = SessionThread::new(Arc::clone(&shared), session, watchdog.seat());
        let requests = Arc::clone(requests);
        let builder = thread::Builder::new().name(format!("session-{number}"));
        threads.push(builder.spawn(move || thread.run(&requests))?);
    }
    // Twice the sessions: one request in each, and the next one already in the socket.
    answers.hello(&HelloReply::Found {
        token: info,
        sessions: count,
        credit: wanted.saturating_mul(2),
    })?;
    for thread in threads {
        // Threads end only with the process.
        drop(thread.join());
    }
    drop(anchor);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::size;

    #[test]
    fn a_token_without_a_limit_gets_four_sessions() {
        assert_eq!(size(None, None), 4);
    }

    #[test]
    fn one_session_of_the_limit_is_left_for_the_anchor() {
        assert_eq!(size(None, Some(3)), 2);
        assert_eq!(size(NonZeroU16::new(16), Some(10)), 9);
    }

    #[test]
    fn a_token_with_a_single_session_has_none_besides_the_anchor() {
        assert_eq!(size(None, Some(1)), 0);
    }
}
