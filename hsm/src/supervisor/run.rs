//! The supervising task: runs a token's workers, one after the other.

use std::{
    convert::Infallible,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::UnixStream,
    sync::{Notify, watch},
    time::{Instant as TokioInstant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::{
    LoginGate, LoginOutcome, LoginPermit, Tally, TokenSpec, TokenState, View,
    backoff::Backoff,
    end::WorkerEnd,
    journal::{self, Journal},
    process::{Process, Started},
    wanted::OnDemand,
};
use crate::{
    client::{Connection, Generation, GreetError, Greeting, HsmError, Lost, chain},
    protocol::{LoginAnswer, NoToken, TokenInfo},
};

/// Time on top of the hang limit in which the worker's own watchdog can act before the worker is killed from outside.
const MARGIN: Duration = Duration::from_secs(2);

/// Returns how long the supervisor waits for one answer, a login included, of a worker with this hang limit.
#[must_use]
pub const fn answered_within(hang_after: Duration) -> Duration {
    hang_after.saturating_add(MARGIN)
}

/// Time in which a worker must end by itself after its socket was closed.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// One token's supervising task.
pub(super) struct Supervision {
    pub(super) spec: TokenSpec,
    pub(super) gate: Arc<dyn LoginGate>,
    pub(super) view: watch::Sender<View>,
    pub(super) state: watch::Sender<TokenState>,
    pub(super) tally: watch::Sender<Tally>,
    pub(super) retry: Arc<Notify>,
    pub(super) on_demand: OnDemand,
    pub(super) stop: CancellationToken,
}

impl Supervision {
    /// Starts workers until told to stop.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        let mut journal = Journal::new(&self.spec);
        let mut generation = 0_u32;
        while !self.stop.is_cancelled() {
            generation = generation.wrapping_add(1);
            let started = Instant::now();
            let borne = backoff.bears_an_absence();
            let (end, had_signed) = self
                .one_worker(Generation(generation), borne, &mut journal)
                .await;
            self.tally.send_modify(|tally| tally.ended(&end));
            if end == WorkerEnd::Stopped {
                break;
            }
            let pause = backoff.pause(end.cause(had_signed), started.elapsed(), fastrand::f64());
            self.show(end.state(&self.spec.token, borne), None);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.retry.notified() => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.show(TokenState::Stopped, None);
    }

    /// Runs one worker from start to end. Returns why it ended and whether it had made a signature. `borne`: see
    /// [`WorkerEnd::state`].
    async fn one_worker(
        &self,
        generation: Generation,
        borne: bool,
        journal: &mut Journal<'_>,
    ) -> (WorkerEnd, bool) {
        let started = tokio::select! {
            started = Process::start(&self.spec.launch) => started,
            () = self.stop.cancelled() => return (WorkerEnd::Stopped, false),
        };
        let Started {
            process,
            socket,
            stderr,
        } = match started {
            Ok(started) => started,
            Err(end) => {
                journal.not_started(&end);
                return (end, false);
            }
        };
        self.tally.send_modify(Tally::started);
        let worker = process.to_string();
        journal.started(&worker);
        let lines = stderr.map(|lines| journal::follow(lines, &self.spec.name, &worker));
        let served = || journal.served(&worker);
        let (end, had_signed) = self.converse(socket, generation, served).await;
        // A request that comes from now on waits for the next worker or fails, as the state says.
        self.view.send_replace(View {
            state: end.state(&self.spec.token, borne),
            connection: None,
        });
        let status = process.end(PATIENCE).await;
        if let Some(lines) = lines {
            lines.end().await;
        }
        journal.ended(&end, &worker, &status);
        (end.with_status(status), had_signed)
    }

    /// Holds the whole conversation on one socket, which is closed when this returns.
    async fn converse(
        &self,
        socket: UnixStream,
        generation: Generation,
        served: impl FnOnce(),
    ) -> (WorkerEnd, bool) {
        let TokenSpec {
            token,
            sessions,
            hang_after,
            ..
        } = &self.spec;
        let greeting = Connection::greet(socket, generation, token.clone(), *sessions, *hang_after);
        let greeting = tokio::select! {
            greeting = timeout(answered_within(*hang_after), greeting) => greeting,
            () = self.stop.cancelled() => return (WorkerEnd::Stopped, false),
        };
        let end = match greeting {
            Err(_elapsed) => WorkerEnd::Unresponsive,
            Ok(Err(GreetError::Frame(error))) => WorkerEnd::Incomprehensible { why: chain(&error) },
            Ok(Err(error @ GreetError::AnotherQuestion)) => {
                WorkerEnd::Incomprehensible { why: chain(&error) }
            }
            Ok(Err(GreetError::Closed | GreetError::Io(_))) => WorkerEnd::crashed(),
            Ok(Ok(Greeting::NotFound(why))) => WorkerEnd::NoToken(why),
            Ok(Ok(Greeting::Ended(ending))) => WorkerEnd::Said(ending),
            Ok(Ok(Greeting::Found { connection, token })) => {
                let Err(end) = self.serve(&connection, token, served).await;
                connection.close();
                return (end, connection.has_signed());
            }
        };
        (end, false)
    }

    /// Logs in if the token requires it and the gate wants it, publishes the connection and watches it.
    async fn serve(
        &self,
        connection: &Arc<Connection>,
        token: TokenInfo,
        served: impl FnOnce(),
    ) -> Result<Infallible, WorkerEnd> {
        let info = match token.login_required && self.gate.logs_in() {
            true => self.log_in(connection, token).await?,
            false => self.log_in_as_before(connection, token).await?,
        };
        served();
        let state = TokenState::Ready { info: info.clone() };
        self.show(state, Some(Arc::clone(connection)));
        let watched = async {
            let end = self.watch_and_drain(connection).await;
            connection.close();
            end
        };
        let (end, ()) = tokio::join!(watched, self.answer_wanted_logins(connection, &info));
        end
    }

    /// Watches the worker. When told to stop, lets the requests in flight finish.
    async fn watch_and_drain(&self, connection: &Connection) -> Result<Infallible, WorkerEnd> {
        let end = self.watch(connection).await;
        if matches!(end, Err(WorkerEnd::Stopped)) {
            // No new request gets a connection. The state changes only when the worker has ended.
            self.view.send_replace(View {
                state: TokenState::Stopped,
                connection: None,
            });
            // Nothing more is sent. A request in flight is answered by its deadline, unless its call hangs.
            drop(timeout(answered_within(self.spec.hang_after), connection.drained()).await);
        }
        end
    }

    /// Watches the worker until it ends, hangs, or is told to stop.
    async fn watch(&self, connection: &Connection) -> Result<Infallible, WorkerEnd> {
        let grace = answered_within(self.spec.hang_after);
        let mut tick = interval(Duration::from_secs(1));
        loop {
            self.unless_over(connection, tick.tick()).await?;
            if connection.overdue(TokioInstant::now(), grace) {
                return Err(WorkerEnd::Unresponsive);
            }
        }
    }

    /// Asks the gate for permits until one login is accepted; uses each permit once.
    async fn log_in(
        &self,
        connection: &Connection,
        mut token: TokenInfo,
    ) -> Result<TokenInfo, WorkerEnd> {
        loop {
            let tried = self.ask_and_try(connection, &token).await?;
            let (Tried::Refused(why) | Tried::Not(why)) = &tried else {
                return Ok(token);
            };
            let state = TokenState::LoginRefused { why: why.clone() };
            self.show(state, None);
            self.unless_over(connection, self.retry.notified()).await?;
            if let Tried::Not(why) = tried {
                return Err(WorkerEnd::LoginNotTried { why });
            }
            let deadline = TokioInstant::now() + answered_within(self.spec.hang_after);
            token = match connection.describe(deadline).await {
                Ok(token) => token,
                Err(error) => return Err(unanswered(connection, error).await),
            };
        }
    }

    /// Asks the gate for one permit, and uses it.
    pub(super) async fn ask_and_try(
        &self,
        connection: &Connection,
        token: &TokenInfo,
    ) -> Result<Tried, WorkerEnd> {
        let asked = self.unless_over(connection, self.gate.permit(token));
        let permit = match asked.await {
            Ok(permit) => permit,
            Err(end) => {
                self.gate.withdraw(token).await;
                return Err(end);
            }
        };
        match permit {
            Err(refused) => Ok(Tried::Refused(refused.why)),
            // After a stop nobody needs the login, and it might hang.
            Ok(LoginPermit { version, .. }) if self.stop.is_cancelled() => {
                let outcome = LoginOutcome::NotTried;
                self.gate.record(token, &version, outcome).await;
                Err(WorkerEnd::Stopped)
            }
            Ok(permit) => self.try_login(connection, token, permit).await,
        }
    }

    /// Tries one `C_Login` and always records its outcome. A stop does not interrupt this, so that the record is
    /// complete.
    async fn try_login(
        &self,
        connection: &Connection,
        token: &TokenInfo,
        permit: LoginPermit,
    ) -> Result<Tried, WorkerEnd> {
        let LoginPermit { pin, version } = permit;
        let deadline = TokioInstant::now() + answered_within(self.spec.hang_after);
        let began = TokioInstant::now();
        let answer = connection.login(pin, deadline).await;
        let took = began.elapsed();
        self.tally
            .send_modify(|tally| tally.login(token, &answer, took));
        let (outcome, result) = match answer {
            Ok(LoginAnswer::Accepted) => {
                self.gate.answered(None);
                (LoginOutcome::Accepted, Ok(Tried::Accepted))
            }
            Ok(LoginAnswer::Rejected { locked, code }) => {
                self.gate.answered(Some(&code));
                let (name, message) = (&self.spec.name, "the token rejected the PIN");
                if token.login_required {
                    // The state that follows is logged as an error.
                    debug!(token = name, %code, locked, "{message}");
                } else {
                    error!(token = name, %code, locked, "{message}");
                }
                (
                    LoginOutcome::Rejected { locked },
                    Ok(Tried::Refused(format!(
                        "{code}{}",
                        token.pin.other_reason()
                    ))),
                )
            }
            Ok(LoginAnswer::NotTried { why }) => (LoginOutcome::NotTried, Ok(Tried::Not(why))),
            Ok(LoginAnswer::Failed(code)) => {
                let gone = WorkerEnd::NoToken(NoToken::Initialize(code));
                (LoginOutcome::NotTried, Err(gone))
            }
            Ok(LoginAnswer::Unclear(code)) => {
                let why = code.to_string();
                (LoginOutcome::Unknown, Err(WorkerEnd::LoginUnclear { why }))
            }
            Err(error) => (
                LoginOutcome::Unknown,
                Err(unanswered(connection, error).await),
            ),
        };
        self.gate.record(token, &version, outcome).await;
        result
    }

    /// Publishes a state and counts the transition. Logs it if the state has another name or a person must read the new
    /// reason.
    fn show(&self, state: TokenState, connection: Option<Arc<Connection>>) {
        self.view.send_replace(View {
            state: state.clone(),
            connection,
        });
        self.state.send_if_modified(|shown| {
            let changed = *shown != state;
            if changed {
                journal::transition(&self.spec, shown, &state);
                self.tally.send_modify(|tally| tally.entered(&state));
                *shown = state;
            }
            changed
        });
    }

    /// Waits for `wanted`, unless the connection ends or the supervisor is told to stop.
    pub(super) async fn unless_over<T>(
        &self,
        connection: &Connection,
        wanted: impl Future<Output = T>,
    ) -> Result<T, WorkerEnd> {
        tokio::select! {
            value = wanted => Ok(value),
            lost = connection.lost() => Err(ended(lost)),
            () = self.stop.cancelled() => Err(WorkerEnd::Stopped),
        }
    }
}

/// Outcome of one request for a login.
pub(super) enum Tried {
    Accepted,
    /// The gate or the token refused; another PIN may be accepted.
    Refused(String),
    /// The worker did not try the login, because the token's flags forbid it.
    Not(String),
}

fn ended(lost: Lost) -> WorkerEnd {
    match lost {
        Lost::Said(ending) => WorkerEnd::Said(ending),
        Lost::Closed | Lost::Broken(_) | Lost::ByUs => WorkerEnd::crashed(),
        Lost::Incomprehensible(why) => WorkerEnd::Incomprehensible { why },
    }
}

/// Returns why a request of the supervisor had no answer: the worker ended or hung, or the token failed.
pub(super) async fn unanswered(connection: &Connection, error: HsmError) -> WorkerEnd {
    match error {
        HsmError::WorkerLost { .. } => ended(connection.lost().await),
        HsmError::TimedOut | HsmError::Overloaded => WorkerEnd::Unresponsive,
        HsmError::WrongAnswer | HsmError::BadRequest { .. } => WorkerEnd::Incomprehensible {
            why: error.to_string(),
        },
        HsmError::Unavailable { .. }
        | HsmError::NotLoggedIn
        | HsmError::TokenFailed(_)
        | HsmError::LoginRefused { .. }
        | HsmError::Misconfigured { .. }
        | HsmError::KeyNotFound { .. }
        | HsmError::SeveralKeys { .. }
        | HsmError::TooManyKeys { .. }
        | HsmError::AlwaysAuthenticate(_)
        | HsmError::KeyType(_)
        | HsmError::KeyTypeUnknown(_)
        | HsmError::KeysHidden { .. }
        | HsmError::MechanismRefused { .. }
        | HsmError::TokenRefused(_) => WorkerEnd::LoginUnclear {
            why: error.to_string(),
        },
    }
}
