//! One token, from the start of its worker to the login. The PIN comes from a file or a pipe; the PIN record is a file.

use std::{
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use hsm::TokenState;
use tokio::time::{Instant, timeout, timeout_at};

use super::progress;
use crate::{
    args::Sign,
    cli::{issuer_file::IssuerFile, machine},
    config::{Config, Library, PIN_RECORD, PinSource, TokenConfig},
    metrics::Metrics,
    pins::{
        TokenPin,
        source::PinOrigin,
        store::{FileStore, PinStore},
    },
    signers::ConfiguredToken,
};

/// Time limit for a worker to start and log in, on top of the time that one call may hang.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Time limit for a worker to end. It ends with this process in any case.
const END_WITHIN: Duration = Duration::from_secs(5);

/// A token with a running worker.
pub(super) struct Opened {
    token: ConfiguredToken,
    config: PathBuf,
    /// Where the PIN and the PIN record are; `None` for a token that is used without a login.
    pin: Option<(String, PathBuf)>,
    patience: Duration,
}

impl Opened {
    /// Starts the worker of the token that the issuer names. `pin` is the PIN of `--pin-file`.
    ///
    /// # Errors
    /// The configuration has no such token, or its PIN or PIN record cannot be used here.
    pub(super) fn start(
        config: &Config,
        args: &Sign,
        pin: Option<PinOrigin>,
        issuer: &IssuerFile,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let named = &issuer.spec.token;
        let Some(token) = config.token(named) else {
            let known: Vec<_> = config.tokens().map(TokenConfig::name).collect();
            bail!(
                "{} names token {named:?}, which is not in the configuration {}; name one of: {}",
                issuer.name,
                args.config.display(),
                known.join(", ")
            );
        };
        let (origin, record) = pin_and_record(token, args, pin)?;
        if issuer.spec.pin_secret_ref.is_some() && args.pin_file.is_none() {
            bail!(
                "token {named:?} takes its PIN from {origin}; remove spec.pinSecretRef from {}",
                issuer.name
            );
        }
        let worker = match &token.module().library {
            Library::Path { .. } => machine::worker(args.worker.as_deref())?,
            // The sidecar brings its own worker.
            Library::Socket(_) => PathBuf::new(),
        };
        let has_pin = !matches!(origin, PinOrigin::None);
        let pin = has_pin.then(|| (origin.to_string(), record.clone()));
        let gate = TokenPin::new(
            PinStore::File(FileStore::new(record)),
            origin,
            format!("{}/{}", machine::host_name()?, process::id()),
            u32::from(token.max_rejected_logins().get()),
        );
        progress(format_args!("starting the HSM worker of token {named:?}"));
        Ok(Self {
            token: ConfiguredToken::start(token, &worker, gate, metrics),
            config: args.config.clone(),
            pin,
            patience: token.hang_after() + START_WITHIN,
        })
    }

    pub(super) const fn configured(&self) -> &ConfiguredToken {
        &self.token
    }

    /// Waits for the login. A worker that ends in the meantime is restarted.
    ///
    /// # Errors
    /// The token, the PIN or the configuration must be corrected first.
    pub(super) async fn logged_in(&self) -> anyhow::Result<()> {
        let name = self.token.name();
        let config = self.config.display();
        let mut state = self.token.token().state();
        let deadline = Instant::now() + self.patience;
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                TokenState::Ready { info } => {
                    let done = match info.login_required {
                        true => "logged in to",
                        false => "found",
                    };
                    progress(format_args!(
                        "{done} token {name:?}: {} {}, serial {}",
                        info.manufacturer, info.model, info.serial
                    ));
                    return Ok(());
                }
                TokenState::LoginRefused { why } => return Err(self.refused(&why)),
                TokenState::AwaitingToken { why } => bail!(
                    "token {name:?} was not found: {why}; connect it, or correct its label, serial or module in {config}"
                ),
                TokenState::Misconfigured { why } => {
                    bail!("token {name:?} cannot be used: {why}; correct {config}")
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
        drop(timeout(END_WITHIN, self.token.token().shutdown()).await);
    }

    fn refused(&self, why: &str) -> anyhow::Error {
        let name = self.token.name();
        match &self.pin {
            Some((pin, record)) => anyhow!(
                "no login to token {name:?}: {why}; correct the PIN in {pin}, which is tried once; to clear the record of its tries, remove {}",
                record.display(),
            ),
            None => anyhow!("no login to token {name:?}: {why}"),
        }
    }
}

/// Returns the PIN of `--pin-file`. Reads it at once if the path is not a regular file, such as a pipe.
///
/// # Errors
/// The path cannot be read, or its content is not a PIN.
pub(super) fn given_pin(path: &Path) -> anyhow::Result<PinOrigin> {
    let path = std::path::absolute(path).context("--pin-file is not a path")?;
    Ok(PinOrigin::given(path)?)
}

/// Returns the PIN and the PIN record of a token. If the configuration names a pinFile, its record also counts for a PIN of
/// the command line. Without a PIN, nothing is tried and nothing recorded.
fn pin_and_record(
    token: &TokenConfig,
    args: &Sign,
    given: Option<PinOrigin>,
) -> anyhow::Result<(PinOrigin, PathBuf)> {
    let asked = args.pin_record.as_ref().map(std::path::absolute);
    let asked = asked.transpose().context("--pin-record is not a path")?;
    let from = match (token.pin(), given) {
        (PinSource::File { record, .. }, _) if asked.is_some() => bail!(
            "the configuration keeps the PIN record of token {:?} in {}; remove --pin-record",
            token.name(),
            record.display()
        ),
        (PinSource::File { path, record }, given) => {
            let pin = given.unwrap_or_else(|| PinOrigin::File(path.clone()));
            return Ok((pin, record.clone()));
        }
        (_, Some(pin)) => {
            let record = match (asked, &pin) {
                (Some(asked), _) => asked,
                (None, PinOrigin::File(path)) => path.with_file_name(PIN_RECORD),
                (None, _) => bail!(
                    "no PIN record can be kept beside {pin}; name a file for it with --pin-record"
                ),
            };
            return Ok((pin, record));
        }
        (PinSource::None, None) => {
            return Ok((PinOrigin::None, args.config.with_file_name(PIN_RECORD)));
        }
        (PinSource::Secret { name, .. }, None) => format!("Secret {name}"),
        (PinSource::ClusterIssuers, None) => "the Secrets of cluster issuers".to_owned(),
        (PinSource::IssuersIn(namespace), None) => {
            format!("the Secrets of issuers in {namespace}")
        }
    };
    bail!(
        "token {:?} takes its PIN from {from}, which only the controller reads; put the PIN into a file and name it with --pin-file",
        token.name()
    )
}
