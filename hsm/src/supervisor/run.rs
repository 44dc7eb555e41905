//! The life of a token's workers, one after the other.

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
use tracing::{info, warn};

use super::{
    Launch, LoginGate, LoginOutcome, LoginPermit, TokenSpec, TokenState, View,
    backoff::{Backoff, Cause},
    child::Child,
};
use crate::{
    client::{Connection, ConnectionError, Generation, Greeting, chain},
    protocol::{LoginAnswer, NoToken, TokenInfo},
};

/// What the worker's own watchdog gets on top of the hang limit before it is killed from outside.
const MARGIN: Duration = Duration::from_secs(2);
/// For a worker whose socket was closed to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// One token's supervising task.
pub(super) struct Supervision {
    pub(super) spec: TokenSpec,
    pub(super) gate: Arc<dyn LoginGate>,
    pub(super) view: watch::Sender<View>,
    pub(super) state: watch::Sender<TokenState>,
    pub(super) retry: Arc<Notify>,
    pub(super) stop: CancellationToken,
}

/// Why there is no worker any more.
enum End {
    /// Told to stop.
    Stopped,
    /// Another one follows.
    Because {
        /// Shown until it does.
        state: TokenState,
        /// How long to wait.
        cause: Cause,
    },
}

impl End {
    fn failed(why: impl Into<String>) -> Self {
        Self::Because {
            state: TokenState::Restarting { why: why.into() },
            cause: Cause::Failure,
        }
    }

    fn misconfigured(why: impl Into<String>) -> Self {
        Self::Because {
            state: TokenState::Misconfigured { why: why.into() },
            cause: Cause::Failure,
        }
    }

    fn absent(why: impl Into<String>) -> Self {
        Self::Because {
            state: TokenState::AwaitingToken { why: why.into() },
            cause: Cause::Absent,
        }
    }
}

impl Supervision {
    /// Starts workers until told to stop.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        let mut generation = 0_u32;
        while !self.stop.is_cancelled() {
            generation = generation.wrapping_add(1);
            let started = Instant::now();
            let End::Because { state, cause } = self.one_worker(Generation(generation)).await
            else {
                break;
            };
            let pause = backoff.pause(cause, started.elapsed(), fastrand::f64());
            self.show(state, None);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.retry.notified() => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.show(TokenState::Stopped, None);
    }

    /// From start to end of one worker process.
    async fn one_worker(&self, generation: Generation) -> End {
        let Launch::Child {
            program,
            module,
            env,
        } = &self.spec.launch;
        let (child, socket) = match Child::start(program, module, env).await {
            Ok(started) => started,
            Err(error) => {
                return End::misconfigured(format!(
                    "failed to start {}: {error}",
                    program.display()
                ));
            }
        };
        let pid = child.pid();
        info!(token = self.spec.name, pid, "started the HSM worker");
        let end = self.converse(socket, generation).await;
        let exit = child.end(PATIENCE).await;
        info!(token = self.spec.name, pid, exit, "the HSM worker ended");
        end
    }

    /// Everything said on one socket, which is closed when this returns.
    async fn converse(&self, socket: UnixStream, generation: Generation) -> End {
        let TokenSpec {
            token,
            sessions,
            hang_after,
            ..
        } = &self.spec;
        let greeting = Connection::greet(socket, generation, token.clone(), *sessions, *hang_after);
        let greeting = tokio::select! {
            greeting = timeout(*hang_after + MARGIN, greeting) => greeting,
            () = self.stop.cancelled() => return End::Stopped,
        };
        match greeting {
            Err(_elapsed) => End::failed("it did not answer the greeting"),
            Ok(Err(error @ ConnectionError::Frame(_))) => End::misconfigured(chain(&error)),
            Ok(Err(error)) => End::failed(chain(&error)),
            Ok(Ok(Greeting::NotFound(why))) => self.no_token(why),
            Ok(Ok(Greeting::Found { connection, token })) => {
                let Err(end) = self.serve(&connection, token).await;
                connection.close();
                end
            }
        }
    }

    /// Logs in, hands the connection out and watches it.
    async fn serve(
        &self,
        connection: &Arc<Connection>,
        token: TokenInfo,
    ) -> Result<Infallible, End> {
        let info = self.log_in(connection, token).await?;
        self.show(TokenState::Ready { info }, Some(Arc::clone(connection)));
        let end = self.watch(connection).await;
        if matches!(end, Err(End::Stopped)) {
            // No new request; the state says so only when the worker is gone.
            self.view.send_replace(View {
                state: TokenState::Stopped,
                connection: None,
            });
            // Nothing more is sent; what is in flight is answered by its deadline, or the call hangs.
            drop(timeout(self.spec.hang_after + MARGIN, connection.drained()).await);
        }
        end
    }

    /// Until the worker ends, hangs, or is told to stop.
    async fn watch(&self, connection: &Connection) -> Result<Infallible, End> {
        let grace = self.spec.hang_after + MARGIN;
        let mut tick = interval(Duration::from_secs(1));
        loop {
            self.unless_over(connection, tick.tick()).await?;
            if connection.overdue(TokioInstant::now(), grace) {
                return Err(End::failed("it hung, and its own watchdog did not end it"));
            }
        }
    }

    /// Asks the gate until one login is accepted; each permit is used once.
    async fn log_in(
        &self,
        connection: &Connection,
        mut token: TokenInfo,
    ) -> Result<TokenInfo, End> {
        loop {
            let permit = self
                .unless_over(connection, self.gate.permit(&token))
                .await?;
            let why = match permit {
                Err(refused) => refused.why,
                Ok(permit) => match self.try_login(connection, &token, permit).await? {
                    None => return Ok(token),
                    Some(why) => why,
                },
            };
            self.show(TokenState::LoginRefused { why }, None);
            self.unless_over(connection, self.retry.notified()).await?;
            let deadline = TokioInstant::now() + self.spec.hang_after + MARGIN;
            token = connection
                .describe(deadline)
                .await
                .map_err(|error| End::failed(error.to_string()))?;
        }
    }

    /// One `C_Login`, its outcome recorded whatever happens; not interrupted by a stop, for the record's sake. `Some`: why there is no login now.
    async fn try_login(
        &self,
        connection: &Connection,
        token: &TokenInfo,
        permit: LoginPermit,
    ) -> Result<Option<String>, End> {
        let LoginPermit { pin, version } = permit;
        let deadline = TokioInstant::now() + self.spec.hang_after + MARGIN;
        let answer = connection.login(pin, deadline).await;
        let (outcome, result) = match answer {
            Ok(LoginAnswer::Accepted) => (LoginOutcome::Accepted, Ok(None)),
            Ok(LoginAnswer::Rejected { locked, code }) => {
                warn!(token = self.spec.name, %code, locked, "the token rejected the PIN");
                (
                    LoginOutcome::Rejected { locked },
                    Ok(Some(code.to_string())),
                )
            }
            Ok(LoginAnswer::NotTried { why }) => (LoginOutcome::NotTried, Ok(Some(why))),
            Ok(LoginAnswer::Unclear(code)) => {
                (LoginOutcome::Unknown, Err(End::failed(code.to_string())))
            }
            Err(error) => (LoginOutcome::Unknown, Err(End::failed(error.to_string()))),
        };
        self.gate.record(token, &version, outcome).await;
        result
    }

    fn no_token(&self, why: NoToken) -> End {
        let selector = &self.spec.token;
        match why {
            NoToken::Module { why } => {
                End::misconfigured(format!("failed to load the PKCS#11 module: {why}"))
            }
            NoToken::Initialize(code) => End::absent(code.to_string()),
            NoToken::Absent { seen } if seen.is_empty() => {
                End::absent(format!("no token with {selector}; the module shows none"))
            }
            NoToken::Absent { seen } => End::absent(format!(
                "no token with {selector}; the module shows {}",
                seen.join(", ")
            )),
            NoToken::Several { serials } => End::misconfigured(format!(
                "several tokens have {selector}; select one by its serial number: {}",
                serials.join(", ")
            )),
            NoToken::Sessions(code) => End::absent(code.to_string()),
        }
    }

    /// One log line per transition.
    fn show(&self, state: TokenState, connection: Option<Arc<Connection>>) {
        self.view.send_replace(View {
            state: state.clone(),
            connection,
        });
        self.state.send_if_modified(|shown| {
            let changed = *shown != state;
            if changed {
                info!(token = self.spec.name, from = shown.name(), to = state.name(), state = %state, "token");
                *shown = state;
            }
            changed
        });
    }

    /// Waits for `wanted`, unless the connection ends or all is told to stop.
    async fn unless_over<T>(
        &self,
        connection: &Connection,
        wanted: impl Future<Output = T>,
    ) -> Result<T, End> {
        tokio::select! {
            value = wanted => Ok(value),
            why = connection.lost() => Err(End::failed(why)),
            () = self.stop.cancelled() => Err(End::Stopped),
        }
    }
}
