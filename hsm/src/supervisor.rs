//! Keeps one worker alive per token: starts it, greets it, logs in once, restarts it, and ends it.

mod backoff;
mod child;
mod end;
mod gate;
mod journal;
mod list;
mod on_demand;
mod process;
mod repeats;
mod run;
mod state;
mod survey;
mod tally;
mod wanted;

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU16,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout_at,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::{
    end::WorkerEnd,
    gate::{BoxFuture, LoginGate, LoginOutcome, LoginPermit, LoginRefused, WithoutLogin},
    list::ObjectList,
    run::answered_within,
    state::TokenState,
    survey::survey,
    tally::Tally,
};
use crate::{
    client::{Connection, HsmError, Key},
    protocol::{KeySelector, MAX_MESSAGE, Mechanism, Stats, TokenSelector},
};

/// Configuration of one token and of its worker.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    /// The operator's name for the token, for logs.
    pub name: String,
    /// How the worker is started.
    pub launch: Launch,
    /// The token to serve, among the tokens of the module.
    pub token: TokenSelector,
    /// Number of sessions to sign on. With `None` it is four, or one less than the token's limit if that is smaller.
    pub sessions: Option<NonZeroU16>,
    /// A PKCS#11 call that lasts longer ends the worker.
    pub hang_after: Duration,
}

/// How a worker is started.
#[derive(Clone, Debug)]
pub enum Launch {
    /// As a child process, connected by a socketpair.
    Child {
        /// The `pkcs11-hsm-worker` binary.
        program: PathBuf,
        /// The PKCS#11 library.
        module: PathBuf,
        /// The worker's whole environment; the worker inherits none of ours.
        env: BTreeMap<String, String>,
    },
    /// By `pkcs11-hsm-worker listen` in a container of its own, which starts a worker for each connection.
    Sidecar {
        /// Path of the socket that the sidecar listens on.
        socket: PathBuf,
    },
}

impl fmt::Display for Launch {
    /// Writes the path of the library or of the socket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Child { module, .. } => module.display().fmt(f),
            Self::Sidecar { socket } => write!(f, "socket {}", socket.display()),
        }
    }
}

/// A token with its own worker, which is restarted when it ends.
///
/// Clones share the worker. The worker is stopped when the last clone is dropped.
///
/// *Guarantees*: at most one `C_Login` per permit of the [`LoginGate`]; every call returns by its deadline; a request
/// that is in flight when the worker ends fails at once. It is not retried here: the caller decides.
/// *Caveats*: signatures are not verified here.
#[derive(Clone, Debug)]
pub struct Token {
    view: watch::Receiver<View>,
    state: watch::Receiver<TokenState>,
    tally: watch::Receiver<Tally>,
    retry: Arc<Notify>,
    logins: mpsc::UnboundedSender<wanted::LoginCaller>,
    stop: CancellationToken,
    _stop_on_drop: Arc<DropGuard>,
}

/// State and connection, always changed together.
#[derive(Clone, Debug)]
struct View {
    state: TokenState,
    connection: Option<Arc<Connection>>,
}

impl Token {
    /// Starts supervising the token and returns at once.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(spec: TokenSpec, gate: Arc<dyn LoginGate>) -> Self {
        let (view, view_reader) = watch::channel(View {
            state: TokenState::Starting,
            connection: None,
        });
        let (state, state_reader) = watch::channel(TokenState::Starting);
        let (tally, tally_reader) = watch::channel(Tally::default());
        let retry = Arc::new(Notify::new());
        let (logins, wanted_logins) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let supervision = run::Supervision {
            spec,
            gate,
            view,
            state,
            tally,
            retry: Arc::clone(&retry),
            on_demand: wanted::OnDemand::new(wanted_logins),
            stop: stop.clone(),
        };
        tokio::spawn(supervision.run());
        Self {
            view: view_reader,
            state: state_reader,
            tally: tally_reader,
            retry,
            logins,
            _stop_on_drop: Arc::new(stop.clone().drop_guard()),
            stop,
        }
    }

    /// Returns a receiver that follows the state.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<TokenState> {
        self.state.clone()
    }

    /// Returns counts of all events since [`Token::start`], for metrics; [`Self::state`] shows only the latest state.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Returns a receiver that follows the counts. They also change when the state does not, for example when one
    /// more worker ends while the token is away.
    #[must_use]
    pub fn tallies(&self) -> watch::Receiver<Tally> {
        self.tally.clone()
    }

    /// Finds exactly one private key. The worker stops reading at the deadline, even if the future is dropped earlier.
    ///
    /// # Errors
    /// [`HsmError::KeyNotFound`], [`HsmError::SeveralKeys`] with the keys that matched, [`HsmError::TooManyKeys`], and
    /// every passing error.
    pub async fn find_key(
        &self,
        selector: &KeySelector,
        deadline: Instant,
    ) -> Result<Key, HsmError> {
        self.connection(deadline)
            .await?
            .find_key(selector, deadline.into())
            .await
    }

    /// Signs a message of at most [`MAX_MESSAGE`] octets. The token gets the digest if `mechanism` takes one, else the
    /// message. It also gets the message if it only offers to hash it (in FIPS mode, for example) or refuses the digest.
    /// `digest` is by the mechanism's hash, or empty if the mechanism has none. Otherwise as [`Token::sign`].
    ///
    /// # Errors
    /// As [`Token::sign`]; [`HsmError::MechanismRefused`] also for a message that is too long for a token that hashes.
    pub async fn sign_message(
        &self,
        key: &Key,
        mechanism: Mechanism,
        digest: &[u8],
        message: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, HsmError> {
        let whole = |mechanism| async move {
            if message.len() > MAX_MESSAGE {
                return Err(HsmError::MechanismRefused {
                    why: format!(
                        "{} takes at most {MAX_MESSAGE} octets, and the message has {}",
                        Mechanism::name(mechanism),
                        message.len()
                    ),
                });
            }
            self.sign(key, mechanism, message, deadline).await
        };
        let Some(of_message) = mechanism.in_token() else {
            return whole(mechanism).await;
        };
        if key.wants_message(mechanism, of_message) {
            return whole(of_message).await;
        }
        match self.sign(key, mechanism, digest, deadline).await {
            Err(refused @ HsmError::MechanismRefused { .. }) => match whole(of_message).await {
                Ok(signature) => {
                    key.note_refused_digest();
                    Ok(signature)
                }
                // The first refusal names the mechanism that every token should have.
                Err(HsmError::MechanismRefused { .. }) => Err(refused),
                Err(other) => Err(other),
            },
            signed => signed,
        }
    }

    /// Signs a payload. The payload is the digest by the mechanism's hash or, for mechanisms that take it, the message, at
    /// most [`MAX_MESSAGE`] octets. The result is the content of an X.509 signature:
    /// ECDSA as DER `ECDSA-Sig-Value`.
    ///
    /// Waits, until the deadline, for a worker that is being restarted. Cancelling the future drops the signature but
    /// does not stop the token's work. A request that was in flight when the worker ended is not sent again.
    ///
    /// # Errors
    /// [`HsmError::WorkerLost`] when the worker ended during the request; [`HsmError::KeyNotFound`] when a restarted
    /// worker no longer shows the same key; [`HsmError::NotLoggedIn`] when the token shows the key without a login, but
    /// does not sign with it: see [`Token::log_in`].
    pub async fn sign(
        &self,
        key: &Key,
        mechanism: Mechanism,
        payload: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, HsmError> {
        self.connection(deadline)
            .await?
            .sign(key, mechanism, payload, deadline.into())
            .await
    }

    /// Waits for a worker, and returns whether it has not logged in so far, because the token requires no login. Keys that
    /// it does not find may appear after [`Token::log_in`].
    ///
    /// # Errors
    /// Every error of a token without a worker.
    pub async fn is_public(&self, deadline: Instant) -> Result<bool, HsmError> {
        Ok(!self.connection(deadline).await?.is_logged_in())
    }

    /// Logs in to a token that requires no login, with a permit of the [`LoginGate`], because a key was not found
    /// or did not sign without a login. Returns whether the worker is logged in now; `false` if there is no PIN.
    ///
    /// If the login is refused, the worker goes on serving. If it is accepted, later workers log in by themselves.
    ///
    /// # Errors
    /// [`HsmError::LoginRefused`] by the gate or the token, and every passing error.
    pub async fn log_in(&self, deadline: Instant) -> Result<bool, HsmError> {
        if self.connection(deadline).await?.is_logged_in() {
            return Ok(true);
        }
        wanted::log_in(&self.logins, deadline).await
    }

    /// Returns octets of the token's random number generator, at most 1024.
    ///
    /// # Errors
    /// Every passing error; [`HsmError::TokenRefused`] by a token without a generator.
    pub async fn random(&self, len: u16, deadline: Instant) -> Result<Vec<u8>, HsmError> {
        self.connection(deadline)
            .await?
            .random(len, deadline.into())
            .await
    }

    /// Returns the counters of the worker that runs now.
    ///
    /// # Errors
    /// Every passing error.
    pub async fn stats(&self, deadline: Instant) -> Result<Stats, HsmError> {
        self.connection(deadline)
            .await?
            .stats(deadline.into())
            .await
    }

    /// Returns how many requests the worker takes at a time, or `None` without a connection. Further requests wait in
    /// this client.
    #[must_use]
    pub fn credit(&self) -> Option<u16> {
        self.view
            .borrow()
            .connection
            .as_ref()
            .map(|connection| connection.granted())
    }

    /// Returns how many requests the worker has not answered, or `None` without a connection.
    #[must_use]
    pub fn in_flight(&self) -> Option<usize> {
        let view = self.view.borrow();
        view.connection
            .as_ref()
            .map(|connection| connection.in_flight())
    }

    /// Asks the gate again after a refused login, and ends a pause before the next start. To be called when the PIN or
    /// the gate's decision may have changed.
    pub fn retry_login(&self) {
        self.retry.notify_one();
    }

    /// Drains: lets requests in flight finish, ends the worker and waits until it is gone. New requests fail at once.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let mut state = self.state.clone();
        // An error means that the supervising task has ended, and its worker too.
        drop(state.wait_for(|state| *state == TokenState::Stopped).await);
    }

    /// Returns the connection of a logged-in worker. Waits while a worker is being started; fails in every other state.
    async fn connection(&self, deadline: Instant) -> Result<Arc<Connection>, HsmError> {
        let mut view = self.view.clone();
        let settled = view.wait_for(|view| match view.state {
            TokenState::Starting | TokenState::Restarting { .. } => false,
            TokenState::AwaitingToken { .. }
            | TokenState::LoginRefused { .. }
            | TokenState::Ready { .. }
            | TokenState::Misconfigured { .. }
            | TokenState::Stopped => true,
        });
        let view = match timeout_at(deadline.into(), settled).await {
            Ok(Ok(view)) => view.clone(),
            Ok(Err(_ended)) => {
                return Err(HsmError::Unavailable {
                    why: TokenState::Stopped.to_string(),
                });
            }
            Err(_elapsed) => {
                return Err(HsmError::Unavailable {
                    why: self.state.borrow().to_string(),
                });
            }
        };
        match (view.connection, view.state) {
            (Some(connection), _) => Ok(connection),
            (None, TokenState::LoginRefused { why }) => Err(HsmError::LoginRefused { why }),
            (None, TokenState::Misconfigured { why }) => Err(HsmError::Misconfigured { why }),
            (None, state) => Err(HsmError::Unavailable {
                why: state.to_string(),
            }),
        }
    }
}
