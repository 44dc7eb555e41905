//! A worker for one command: started, logged in if that is wanted, and ended, also after a signal.

use std::{
    fmt,
    num::{NonZeroU8, NonZeroU16},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use hsm::{LoginGate, Token, TokenInfo, TokenSpec, TokenState, WithoutLogin};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    find::{FoundToken, uri},
    pin,
    signals::Signals,
};
use crate::{
    args::LoginFlags,
    config::{PinSource, TokenConfig},
    message::shown,
    pins::{TokenPin, source::PinOrigin},
    telemetry::{self, LogFormat, Unread},
};

/// Default log filter, without RUST_LOG. The lines of workers and their libraries are shown as they come. `pins` warns about a
/// wait for another login.
const LOG: &str =
    "error,hsm=off,hsm::supervisor::survey=info,pkcs11_hsm_worker=info,pkcs11_issuer::pins=warn";
/// Exit code after a signal, the same as after every failure.
pub(super) const INTERRUPTED: i32 = 1;
/// Time limit for a worker to start and log in, on top of the time that one call may hang.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Time limit for a worker to end. It ends with this process in any case.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Time limit for an interrupted command to end its worker.
const INTERRUPTED_WITHIN: Duration = Duration::from_secs(6);
/// Most rejected logins in a row of a token that no configuration describes: the most that a configuration allows.
const MOST_REJECTED: NonZeroU8 = NonZeroU8::MIN.saturating_add(1);

/// Returns the time limit for a worker to start and log in.
pub(super) const fn start_within(hang_after: Duration) -> Duration {
    hang_after.saturating_add(START_WITHIN)
}

/// Prints one line of progress to stderr.
pub(super) fn progress(line: fmt::Arguments<'_>) {
    eprintln!("{}", shown(line));
}

/// A worker that was started.
pub(super) struct RunningWorker {
    pub(super) token: Token,
    pub(super) name: String,
    /// Where the user has described the token.
    pub(super) place: String,
    /// Where the PIN and the PIN record are; `None` for a token that is used without a login.
    pub(super) pin: Option<(String, PathBuf)>,
    pub(super) patience: Duration,
}

impl RunningWorker {
    /// Waits for the login. A worker that ends in the meantime is restarted.
    ///
    /// # Errors
    /// The token, the PIN or the configuration must be corrected first.
    pub(super) async fn ready(&self) -> anyhow::Result<TokenInfo> {
        let Self { name, place, .. } = self;
        let mut state = self.token.state();
        let deadline = Instant::now() + self.patience;
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                TokenState::Ready { info } => {
                    let done = match info.login_required && self.pin.is_some() {
                        true => "logged in to",
                        false => "found",
                    };
                    progress(format_args!(
                        "{done} token {name:?}: {} {}, serial {}",
                        info.manufacturer, info.model, info.serial
                    ));
                    return Ok(info);
                }
                TokenState::LoginRefused { why } => return Err(self.refused(&why)),
                TokenState::AwaitingToken { why } => bail!(
                    "token {name:?} was not found: {why}; connect it, or correct its label, serial or module in {place}"
                ),
                TokenState::Misconfigured { why } => {
                    bail!("token {name:?} cannot be used: {why}; correct {place}")
                }
                TokenState::Stopped => bail!("the HSM worker of token {name:?} was stopped"),
                TokenState::Starting => {}
                TokenState::Restarting { .. } => progress(format_args!("token {name:?}: {now}")),
            }
            match timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_ended)) => bail!("the HSM worker of token {name:?} was stopped"),
                Err(_elapsed) => bail!(
                    "token {name:?} is not ready after {} s ({}); check whether its device, its library or another login hangs",
                    self.patience.as_secs(),
                    *state.borrow()
                ),
            }
        }
    }

    /// Ends the worker.
    pub(super) async fn close(&self) {
        // A worker that is still running after that ends with this process, when its socket closes.
        drop(timeout(END_WITHIN, self.token.shutdown()).await);
    }

    fn refused(&self, why: &str) -> anyhow::Error {
        let name = &self.name;
        match &self.pin {
            Some((pin, record)) => anyhow!(
                "no login to token {name:?}: {why}; correct the PIN in {pin}, which is tried once; to clear the record of its tries, remove {}",
                record.display(),
            ),
            None => anyhow!("no login to token {name:?}: {why}"),
        }
    }
}

/// Starts the log of a command about tokens.
///
/// # Errors
/// RUST_LOG is not a filter.
pub(super) fn start_log() -> anyhow::Result<()> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| LOG.to_owned());
    telemetry::start(LogFormat::Text, &filter, Unread::Wait, None)?;
    Ok(())
}

/// Returns what a signal cancels. The process then has a few seconds to end its worker.
///
/// # Errors
/// The operating system refused the signal handlers.
pub(super) fn interrupts() -> anyhow::Result<CancellationToken> {
    let signals = Signals::take(INTERRUPTED).context("failed to wait for signals")?;
    Ok(signals.drain_within(INTERRUPTED_WITHIN))
}

/// How a command logs in to a token.
#[derive(Clone)]
pub(super) struct Login {
    gate: Arc<dyn LoginGate>,
    pin: Option<(String, PathBuf)>,
}

impl Login {
    /// Finds the PIN and its record, and asks for the PIN on the terminal if that was asked for.
    ///
    /// # Errors
    /// There is no such PIN, or no place for its record.
    pub(super) fn find(seen: &FoundToken, flags: &LoginFlags) -> anyhow::Result<Self> {
        let configured = seen.configured.as_ref();
        let name = name(seen);
        let origin = match (flags, configured.map(TokenConfig::pin)) {
            (LoginFlags { no_login: true, .. }, _) => None,
            (
                LoginFlags {
                    pin_file: Some(path),
                    ..
                },
                _,
            ) => Some(pin::given(path)?),
            (_, Some(PinSource::File { path, .. })) => Some(PinOrigin::File(path.clone())),
            (
                LoginFlags {
                    pin_record: Some(_),
                    ..
                },
                _,
            ) => Some(pin::prompt(&shown(&name))?),
            (_, _) => None,
        };
        let Some(origin) = origin else {
            return Ok(Self {
                gate: Arc::new(WithoutLogin),
                pin: None,
            });
        };
        let record = pin::record(configured, flags.pin_record.as_deref(), &origin)?;
        let most = configured.map_or(MOST_REJECTED, TokenConfig::max_rejected_logins);
        let pin = Some((origin.to_string(), record.clone()));
        let gate: TokenPin = pin::gate(origin, record, most)?;
        Ok(Self {
            gate: Arc::new(gate),
            pin,
        })
    }

    /// Returns whether a PIN is to be tried.
    pub(super) const fn is_made(&self) -> bool {
        self.pin.is_some()
    }
}

/// Starts a worker with this number of sessions, logs in, and does `work`. Ends the worker then, or when `stop` is
/// cancelled.
///
/// # Errors
/// The token, the PIN or the configuration must be corrected first, or `work` failed.
pub(super) async fn with<T>(
    seen: &FoundToken,
    login: Login,
    sessions: NonZeroU16,
    stop: &CancellationToken,
    work: impl AsyncFnOnce(&Token) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let info = match &seen.slot.token {
        Ok(token) => &token.info,
        Err(code) => bail!(
            "the token in {} cannot be read: {code}; see to it",
            seen.slot.slot
        ),
    };
    let (gate, pin) = (login.gate, login.pin);
    let spec = TokenSpec {
        name: name(seen),
        launch: seen.launch.clone(),
        token: uri(info).token().unwrap_or_default(),
        sessions: Some(sessions),
        hang_after: seen.hang_after,
    };
    let started = RunningWorker {
        name: spec.name.clone(),
        place: "the configuration or the flags".to_owned(),
        token: Token::start(spec, gate),
        pin,
        patience: start_within(seen.hang_after),
    };
    let done = async {
        let info = started.ready().await?;
        if started.pin.is_some() && !info.login_required {
            // Some of its keys may need the login.
            let deadline = std::time::Instant::now() + started.patience;
            started.token.log_in(deadline).await?;
        }
        work(&started.token).await
    };
    let done = tokio::select! {
        done = done => done,
        () = stop.cancelled() => Err(anyhow!("interrupted by a signal")),
    };
    started.close().await;
    done
}

/// Returns the name of the token in the configuration, or what it calls itself.
fn name(seen: &FoundToken) -> String {
    match (&seen.configured, &seen.slot.token) {
        (Some(token), _) => token.name().to_owned(),
        (None, Ok(token)) if !token.info.label.is_empty() => token.info.label.clone(),
        (None, Ok(token)) => token.info.serial.clone(),
        (None, Err(_)) => seen.slot.slot.to_string(),
    }
}
