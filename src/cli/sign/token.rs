//! One token, from the start of its worker to the login. The PIN comes from a file or a pipe; the PIN record is a file.

use std::{path::PathBuf, sync::Arc};

use anyhow::bail;

use crate::{
    args::Sign,
    cli::{
        issuer_file::IssuerFile,
        machine, pin,
        session::{RunningWorker, progress, start_within},
    },
    config::{Config, Library, PIN_RECORD, PinSource, TokenConfig},
    metrics::Metrics,
    pins::source::PinOrigin,
    signers::{ConfiguredToken, ReservedKey},
};

/// A token with a running worker.
pub(super) struct Opened {
    token: ConfiguredToken,
    started: RunningWorker,
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
        let gate = pin::gate(origin, record, token.max_rejected_logins())?;
        progress(format_args!("starting the HSM worker of token {named:?}"));
        let reserved = Arc::new(ReservedKey::new(config.checkpoints()));
        let token = ConfiguredToken::start(token, &worker, gate, &reserved, metrics);
        let started = RunningWorker {
            token: token.token().clone(),
            name: named.clone(),
            place: args.config.display().to_string(),
            pin,
            patience: start_within(token.config().hang_after()),
        };
        Ok(Self { token, started })
    }

    pub(super) const fn configured(&self) -> &ConfiguredToken {
        &self.token
    }

    /// Waits for the login.
    ///
    /// # Errors
    /// The token, the PIN or the configuration must be corrected first.
    pub(super) async fn logged_in(&self) -> anyhow::Result<()> {
        self.started.ready().await.map(drop)
    }

    /// Ends the worker.
    pub(super) async fn close(&self) {
        self.started.close().await;
    }
}

/// Returns the PIN and the PIN record of a token. If the configuration names a pinFile, its record also counts for a PIN of
/// the command line. Without a PIN, nothing is tried and nothing recorded.
fn pin_and_record(
    token: &TokenConfig,
    args: &Sign,
    given: Option<PinOrigin>,
) -> anyhow::Result<(PinOrigin, PathBuf)> {
    let from = match (token.pin(), given) {
        (_, Some(pin)) => {
            let record = record_of(token, args, &pin)?;
            return Ok((pin, record));
        }
        (PinSource::File { path, .. }, None) => {
            let pin = PinOrigin::File(path.clone());
            let record = record_of(token, args, &pin)?;
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

fn record_of(token: &TokenConfig, args: &Sign, pin: &PinOrigin) -> anyhow::Result<PathBuf> {
    pin::record(Some(token), args.pin_record.as_deref(), pin)
}
