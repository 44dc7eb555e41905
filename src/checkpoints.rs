//! Signs the checkpoints of the issuance log, and records the checkpoints of other replicas in it.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{self, sleep, timeout_at},
};
use tracing::{info, warn};

use crate::{
    audit::{
        IssuanceLog, KnownHeads, LogError, SignedHead, TreeHead,
        note::{VerifierKey, VerifierKeyError, signed_note},
    },
    config::{Checkpoints, Config},
    metrics::Metrics,
    ownership::Ownership,
    signers::{CheckpointKey, NoCheckpointKey, Tokens},
    telemetry::{ErrorChain, RepeatFilter},
};

/// Time between checkpoints without a signature, while lines are written.
const UNSIGNED_EVERY: Duration = Duration::from_secs(10);

/// Writes the checkpoints of one log.
///
/// *Guarantees*: an unavailable token delays only checkpoints; nothing else waits for them. A signature is written only if
/// it verifies under the key that is shown to people.
#[derive(Debug)]
pub struct CheckpointWriter {
    signing: Option<Signing>,
    metrics: Arc<Metrics>,
    clock: fn() -> Timestamp,
    said: RepeatFilter,
}

/// What checkpoints are written for.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The log of this run.
    pub log: &'a IssuanceLog,
    /// The tokens, one of which has the key.
    pub tokens: &'a Tokens,
    /// Knows the checkpoints of other replicas.
    pub ownership: &'a Ownership,
}

/// The key, and the heads that the log knows.
#[derive(Debug)]
struct Signing {
    config: Checkpoints,
    cluster: String,
    metrics: Arc<Metrics>,
    key: Option<(CheckpointKey, VerifierKey)>,
    heads: Heads,
    /// Whether people have been told which key signs.
    shown: bool,
}

/// The heads that this log has recorded, and its own.
#[derive(Debug)]
struct Heads {
    known: KnownHeads,
    own: watch::Sender<Option<SignedHead>>,
}

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
enum CheckpointError {
    #[error(transparent)]
    NoKey(#[from] NoCheckpointKey),
    #[error("the public half of {key} on token {token:?} is not a key")]
    NotAKey {
        key: String,
        token: String,
        source: VerifierKeyError,
    },
    #[error("token {token:?} does not sign with {key}")]
    Sign {
        key: String,
        token: String,
        source: hsm::HsmError,
    },
    #[error(
        "the signature of {key} on token {token:?} does not verify under the public half that the token shows"
    )]
    Unverified { key: String, token: String },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl CheckpointWriter {
    /// Returns the writer, and where it shows its newest signed checkpoint; `None` if the configuration names no key, in
    /// which case a message says that checkpoints are not signed.
    #[must_use]
    pub fn new(
        config: &Config,
        metrics: &Arc<Metrics>,
        clock: fn() -> Timestamp,
    ) -> (Self, Option<watch::Receiver<Option<SignedHead>>>) {
        let (own, head) = watch::channel(None);
        let signing = config.checkpoints().map(|checkpoints| Signing {
            config: checkpoints.clone(),
            cluster: config.cluster().to_owned(),
            metrics: Arc::clone(metrics),
            key: None,
            heads: Heads {
                known: KnownHeads::default(),
                own,
            },
            shown: false,
        });
        if signing.is_none() {
            info!(
                "the checkpoints of the issuance log are not signed, so anybody who can rewrite the whole log can replace them; to sign them, name a key as audit.checkpoints in the configuration"
            );
        }
        let head = signing.is_some().then_some(head);
        let writer = Self {
            signing,
            metrics: Arc::clone(metrics),
            clock,
            said: RepeatFilter::default(),
        };
        (writer, head)
    }

    /// Writes checkpoints until the future is dropped.
    pub async fn run(&mut self, sources: Sources<'_>) {
        let every = self.signing.as_ref();
        let every = every.map_or(UNSIGNED_EVERY, |signing| signing.config.every());
        loop {
            self.round(sources).await;
            sleep(every).await;
        }
    }

    /// Records the end of the run, and writes a last checkpoint: signed before `deadline`, or without a signature.
    pub async fn finish(&mut self, sources: Sources<'_>, deadline: time::Instant) {
        let log = sources.log;
        if let Some(signing) = &mut self.signing {
            // *stopped* is the last leaf of a run, so new heads of others come before it. A failure recurs below.
            let recorded = signing.record(sources);
            timeout_at(deadline, recorded).await.ok();
        }
        log.stopping();
        let sealed = timeout_at(deadline, self.seal(sources)).await;
        if sealed != Ok(true) {
            log.checkpoint();
        }
    }

    /// Records new heads of others, and writes a checkpoint if one is due.
    async fn round(&mut self, sources: Sources<'_>) {
        if let Some(signing) = &mut self.signing
            && let Err(failure) = signing.record(sources).await
        {
            self.tell(Err(failure));
            return;
        }
        self.seal(sources).await;
    }

    /// Writes a checkpoint if one is due, and returns whether all lines are under one now.
    async fn seal(&mut self, sources: Sources<'_>) -> bool {
        let written = match &mut self.signing {
            Some(signing) => signing.seal(sources).await,
            None => {
                sources.log.checkpoint();
                Ok(())
            }
        };
        self.tell(written)
    }

    /// Counts the outcome, and logs a failure once a minute.
    fn tell(&mut self, written: Result<(), CheckpointError>) -> bool {
        match written {
            Ok(()) => {
                self.said.clear();
                self.metrics.log_checkpoint((self.clock)().as_second());
                true
            }
            Err(failure) => {
                self.metrics.log_checkpoint_failed();
                let text = ErrorChain(&failure).to_string();
                if self.said.is_news(&text, Instant::now()) {
                    warn!(error = text, "a checkpoint of the issuance log is late");
                }
                false
            }
        }
    }
}

impl Signing {
    /// Records new heads of others. Needs the key to verify them.
    async fn record(
        &mut self,
        Sources {
            log,
            tokens,
            ownership,
        }: Sources<'_>,
    ) -> Result<(), CheckpointError> {
        let (_, verifier) = self.key(tokens).await?;
        self.heads.record(log, &ownership.heads(), &verifier);
        Ok(())
    }

    /// Signs and writes a checkpoint if one is due.
    async fn seal(
        &mut self,
        Sources { log, tokens, .. }: Sources<'_>,
    ) -> Result<(), CheckpointError> {
        let Some(due) = log.unchecked() else {
            return Ok(());
        };
        let (key, verifier) = self.key(tokens).await?;
        let text = due.text();
        let signature = key
            .sign(&text)
            .await
            .map_err(|source| CheckpointError::Sign {
                key: self.config.to_string(),
                token: self.config.token().to_owned(),
                source,
            })?;
        let signed = verifier
            .verify(&text, &signature)
            .then(|| due.signed(&signed_note(&text, &verifier, &signature)))
            .flatten()
            .ok_or_else(|| CheckpointError::Unverified {
                key: self.config.to_string(),
                token: self.config.token().to_owned(),
            })?;
        if !mem::replace(&mut self.shown, true) {
            info!(
                verifier_key = %verifier,
                key = %self.config,
                token = self.config.token(),
                "the checkpoints of the issuance log are signed"
            );
        }
        self.heads.write(log, &due, signed).await?;
        Ok(())
    }

    /// Returns the key, which is looked for again after a change of the token's configuration.
    async fn key(
        &mut self,
        tokens: &Tokens,
    ) -> Result<(CheckpointKey, VerifierKey), CheckpointError> {
        let token = tokens
            .get(self.config.token())
            .ok_or_else(|| NoCheckpointKey::TokenGone(self.config.token().to_owned()))?;
        if let Some((key, verifier)) = self.key.as_ref().filter(|(key, _)| key.is_of(&token)) {
            return Ok((key.clone(), verifier.clone()));
        }
        let found = token.find_checkpoint_key(&self.config, &self.metrics);
        let key = found.await?;
        let verifier = VerifierKey::new(&self.cluster, key.public()).map_err(|source| {
            CheckpointError::NotAKey {
                key: self.config.to_string(),
                token: self.config.token().to_owned(),
                source,
            }
        })?;
        tokens.reserve(key.public());
        // People are told of another key.
        self.shown &= self
            .key
            .as_ref()
            .is_some_and(|(_, known)| *known == verifier);
        self.key = Some((key.clone(), verifier.clone()));
        Ok((key, verifier))
    }
}

impl Heads {
    /// Records the heads of other runs that the log does not have yet.
    fn record(&mut self, log: &IssuanceLog, seen: &[SignedHead], key: &VerifierKey) {
        let news = self.known.news(seen, &log.run(), key);
        log.heads(&news);
        self.known.learn(&news, seen, key);
    }

    /// Writes a signed checkpoint, and shows it to others only once every sink has it: they would miss it otherwise.
    async fn write(
        &self,
        log: &IssuanceLog,
        due: &TreeHead,
        signed: SignedHead,
    ) -> Result<(), LogError> {
        let position = log.write_checkpoint(due, signed.note());
        log.accepted(position).await?;
        self.own.send_replace(Some(signed));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
