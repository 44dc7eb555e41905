//! A key on a token as a [`Signer`], with the queue in which it is waited for.

use std::{sync::Arc, time::Instant};

use hsm::{HsmError, Key, Token};

use super::{
    SIGN_WITHIN, fault,
    mechanism::mechanism,
    turns::{Lane, NoTurn, Turn, Turns},
};
use crate::{
    issuance::{Fault, Limits, SignError, Signature, Signer, SigningInput},
    metrics::{Metrics, SignOutcome},
};

/// Turns at a token without a worker.
const WAITING_FOR_A_WORKER: usize = 8;

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
    pub(super) metrics: Arc<Metrics>,
}

impl GrantedKey {
    /// The key as the token describes it.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The same key for the issuer of this name among all those that queue for the token.
    #[must_use]
    pub fn for_issuer(&self, issuer: &str) -> Self {
        Self {
            issuer: issuer.into(),
            ..self.clone()
        }
    }

    /// Its `CKA_ID`.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// How far its grant goes.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether both are one key, found on one run of one worker.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        // The turns are those of one running token, whatever it is called.
        Arc::ptr_eq(&self.turns, &other.turns) && self.key.is_same_as(&other.key)
    }

    /// The issuer that it is for, by its name among all issuers.
    #[must_use]
    pub const fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// Name of the token it lies on.
    #[must_use]
    pub fn token_name(&self) -> &str {
        &self.token_name
    }

    /// Random octets of the token that the key lies on.
    ///
    /// # Errors
    /// As [`Token::random`]; [`HsmError::WrongAnswer`] if there are not as many as asked for.
    pub async fn random<const N: usize>(&self) -> Result<[u8; N], HsmError> {
        let len = u16::try_from(N).map_err(|_| HsmError::WrongAnswer)?;
        let octets = self.token.random(len, Instant::now() + SIGN_WITHIN).await?;
        octets.try_into().map_err(|_| HsmError::WrongAnswer)
    }

    /// The key for the requests of one namespace, which take turns with those of others.
    #[must_use]
    pub fn for_requests_of<'a>(&'a self, namespace: &'a str) -> QueuedKey<'a> {
        QueuedKey {
            key: self,
            namespace,
            still_due: &|| true,
        }
    }
}

/// A key and the queue in which one namespace's requests wait for it.
///
/// *Guarantees*: one deadline of ten seconds covers the queue and the token; a full queue is an error at once; what is
/// no longer due when its turn comes costs the token nothing.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct QueuedKey<'a> {
    key: &'a GrantedKey,
    namespace: &'a str,
    still_due: &'a (dyn Fn() -> bool + Sync),
}

/// The request was waiting for its turn, and has become another replica's.
#[derive(Debug, thiserror::Error)]
#[error("another replica signs for this request now")]
struct NoLongerDue;

impl<'a> QueuedKey<'a> {
    /// The same for a request that may cease to be due while it waits.
    #[must_use]
    pub fn as_long_as(self, still_due: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { still_due, ..self }
    }

    async fn turn(&self, deadline: Instant) -> Result<Turn, HsmError> {
        let key = self.key;
        let lane = Lane {
            issuer: Arc::clone(&key.issuer),
            namespace: self.namespace.to_owned(),
        };
        // While no worker stands, those who wait for it wait there, where its state is known.
        let places = key.token.credit().map_or(WAITING_FOR_A_WORKER, usize::from);
        let turn = key.turns.take(lane, places, deadline).await;
        turn.map_err(|why| match why {
            NoTurn::Overloaded => HsmError::Overloaded,
            NoTurn::TimedOut => HsmError::TimedOut,
        })
    }

    async fn ask(&self, input: &SigningInput, deadline: Instant) -> Result<Vec<u8>, HsmError> {
        let key = self.key;
        let mechanism = mechanism(input.algorithm());
        key.token
            .sign(&key.key, mechanism, input.payload(), deadline)
            .await
    }
}

impl Signer for QueuedKey<'_> {
    fn sign(&self, input: SigningInput) -> hsm::BoxFuture<'_, Result<Signature, SignError>> {
        Box::pin(async move {
            let started = Instant::now();
            let deadline = started + SIGN_WITHIN;
            let signed = match self.turn(deadline).await {
                Ok(_) if !(self.still_due)() => return Err(SignError::passing(NoLongerDue)),
                Ok(_turn) => self.ask(&input, deadline).await,
                Err(why) => Err(why),
            };
            self.key.metrics.signed(
                &self.key.token_name,
                outcome(signed.as_ref().err()),
                started.elapsed(),
            );
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

fn outcome(error: Option<&HsmError>) -> SignOutcome {
    match error {
        None => SignOutcome::Signed,
        Some(HsmError::TimedOut) => SignOutcome::TimedOut,
        Some(HsmError::Overloaded) => SignOutcome::Overloaded,
        Some(_) => SignOutcome::Failed,
    }
}
