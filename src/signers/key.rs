//! A granted key on a token, and the [`Signer`] that a request gets for its turn at that token.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hsm::{HsmError, Key, Token};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::{
    SIGN_WITHIN, fault,
    measured::measured,
    mechanism::mechanism,
    turns::{Turn, Turns},
};
use crate::{
    issuance::{Fault, Limits, SignError, Signature, SignatureAlgorithm, Signer, SigningInput},
    lanes::Lane,
    metrics::{Metrics, SignOutcome, TimedStage, TokenFunction},
    trace::{self, WorkStage},
};

/// Number of turns at a token while it has no worker.
pub(super) const WAITING_FOR_A_WORKER: usize = 8;

/// A private key that a grant covers.
#[derive(Clone, Debug)]
pub struct GrantedKey {
    pub(super) token: Token,
    pub(super) token_name: Arc<str>,
    pub(super) issuer: Arc<str>,
    pub(super) turns: Arc<Turns>,
    pub(super) id: Vec<u8>,
    pub(super) key: Key,
    pub(super) limits: Limits,
    pub(super) revokes_any: bool,
    pub(super) grant_sha256: Option<Arc<str>>,
    pub(super) metrics: Arc<Metrics>,
}

impl GrantedKey {
    /// The key as the token describes it.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the same key for another issuer, which queues for the token under this name.
    #[must_use]
    pub fn for_issuer(&self, issuer: &str) -> Self {
        Self {
            issuer: issuer.into(),
            ..self.clone()
        }
    }

    /// `CKA_ID` of the key.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// Limits that the grant sets.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether revocations in the issuer's namespace may name any certificate of its CA.
    #[must_use]
    pub const fn revokes_any(&self) -> bool {
        self.revokes_any
    }

    /// SHA-256 of the JSON of the grant, hexadecimal; `None` for the default grant.
    #[must_use]
    pub fn grant_sha256(&self) -> Option<&str> {
        self.grant_sha256.as_deref()
    }

    /// Label and serial number of the token, as it reports them; `None` while it is not ready.
    #[must_use]
    pub fn token_label_and_serial(&self) -> Option<(String, String)> {
        let state = self.token.state();
        let state = state.borrow();
        let info = state.info()?;
        Some((info.label.clone(), info.serial.clone()))
    }

    /// Returns whether both are the same key, found by the same run of the same worker.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        // A running token has one `Turns`, so comparing the pointers compares the tokens.
        Arc::ptr_eq(&self.turns, &other.turns) && self.key.is_same_as(&other.key)
    }

    /// Name of the issuer that uses the key, unique among all issuers.
    #[must_use]
    pub const fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// Name of the token that holds the key.
    #[must_use]
    pub const fn token_name(&self) -> &Arc<str> {
        &self.token_name
    }

    /// Returns random octets from the token that holds the key.
    ///
    /// # Errors
    /// As [`Token::random`]; [`HsmError::WrongAnswer`] if the token returns another number of octets.
    pub async fn random<const N: usize>(&self) -> Result<[u8; N], HsmError> {
        let len = u16::try_from(N).map_err(|_| HsmError::WrongAnswer)?;
        let octets = self.token.random(len, Instant::now() + SIGN_WITHIN);
        let octets = self.measured(TokenFunction::Random, octets).await?;
        octets.try_into().map_err(|_| HsmError::WrongAnswer)
    }

    fn measured_key(&self) -> MeasuredKey<'_> {
        MeasuredKey {
            token: &self.token,
            token_name: &self.token_name,
            key: &self.key,
            metrics: &self.metrics,
        }
    }

    async fn measured<T>(
        &self,
        function: TokenFunction,
        call: impl Future<Output = Result<T, HsmError>>,
    ) -> Result<T, HsmError> {
        measured(&self.metrics, &self.token_name, function, call).await
    }

    /// Waits for a turn at the token. The requests of all tenants compete for it; the empty tenant stands for the controller
    /// itself. The wait has no deadline.
    ///
    /// *Guarantees*: tenants take turns in rotation, and so do the issuers of one tenant.
    ///
    /// # Errors
    /// The controller is stopping.
    pub async fn turn(&self, tenant: &Arc<str>) -> Result<KeyTurn<'_>, HsmError> {
        let lane = Lane {
            tenant: Arc::clone(tenant),
            issuer: Arc::clone(&self.issuer),
        };
        // Without a worker there is no credit. Let a few callers wait in `Token`, which knows the state of the worker.
        let credit = self
            .token
            .credit()
            .map_or(WAITING_FOR_A_WORKER, usize::from);
        let began = Instant::now();
        let turn = self.turns.take(&lane, credit).await;
        self.metrics.stage(TimedStage::Turn, began.elapsed());
        match turn {
            Some(turn) => Ok(KeyTurn {
                key: self,
                unverified: Mutex::default(),
                _turn: turn,
            }),
            None => Err(HsmError::Unavailable {
                why: "the controller is stopping".to_owned(),
            }),
        }
    }
}

/// A key with a turn at its token.
///
/// *Guarantees*: a signature succeeds or fails within ten seconds of the call. On a slow token, a session takes it at once.
#[derive(Debug)]
pub struct KeyTurn<'a> {
    key: &'a GrantedKey,
    /// How long the token took for a signature that [`KeyTurn::verified`] has not counted yet.
    unverified: Mutex<Option<Duration>>,
    _turn: Turn,
}

impl KeyTurn<'_> {
    /// Counts the signature of this turn, if the token made one, by whether it verifies. `now` is the time of day.
    pub fn verified(&self, verifies: bool, now: Timestamp) {
        let Some(took) = self.unverified.lock().take() else {
            return;
        };
        let (metrics, token) = (&self.key.metrics, &self.key.token_name);
        if verifies {
            metrics.signed(token, SignOutcome::Signed, took);
            metrics.last_signature(token, now.as_second());
        } else {
            metrics.signed(token, SignOutcome::Unverified, took);
        }
    }
}

/// A key with its token, and where calls of the token are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeasuredKey<'a> {
    pub(super) token: &'a Token,
    pub(super) token_name: &'a str,
    pub(super) key: &'a Key,
    pub(super) metrics: &'a Metrics,
}

/// Asks the token for a signature. If the key needs a login, logs in and asks again. `payload` is the digest of
/// `message` for an algorithm with a pre-hash, else the message itself.
pub(super) async fn ask(
    key: MeasuredKey<'_>,
    algorithm: SignatureAlgorithm,
    payload: &[u8],
    message: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let MeasuredKey {
        token,
        token_name,
        key,
        metrics,
    } = key;
    let mechanism = mechanism(algorithm);
    let deadline = Instant::now() + SIGN_WITHIN;
    let sign = || {
        let signature = token.sign_message(key, mechanism, payload, message, deadline);
        measured(metrics, token_name, TokenFunction::Sign, signature)
    };
    let log_in = || token.log_in(deadline);
    match sign().await {
        // The token shows the key without a login but does not sign with it.
        Err(HsmError::NotLoggedIn) if log_in().await? => sign().await,
        signed => signed,
    }
}

impl Signer for KeyTurn<'_> {
    fn sign(&self, input: SigningInput) -> hsm::BoxFuture<'_, Result<Signature, SignError>> {
        Box::pin(async move {
            let started = Instant::now();
            let (payload, message) = (input.payload(), input.message());
            let signature = ask(self.key.measured_key(), input.algorithm(), payload, message);
            let signed = trace::stage(WorkStage::Token, signature).await;
            let elapsed = started.elapsed();
            match &signed {
                Ok(_) => {
                    self.key.turns.signed_in(elapsed);
                    *self.unverified.lock() = Some(elapsed);
                }
                Err(error) => {
                    let (metrics, token) = (&self.key.metrics, &self.key.token_name);
                    metrics.signed(token, outcome(error), elapsed);
                }
            }
            signed.map(Signature::from_octets).map_err(|error| {
                if fault(&error) == Fault::Issuer {
                    SignError::issuer(error)
                } else {
                    SignError::passing(error)
                }
            })
        })
    }
}

fn outcome(error: &HsmError) -> SignOutcome {
    if matches!(error, HsmError::TimedOut) {
        SignOutcome::TimedOut
    } else if matches!(error, HsmError::Overloaded) {
        SignOutcome::Overloaded
    } else {
        SignOutcome::Failed
    }
}
