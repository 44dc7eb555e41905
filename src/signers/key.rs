//! A key on a token, and a [`Signer`] when it is a request's turn at that token.

use std::{sync::Arc, time::Instant};

use hsm::{HsmError, Key, Token};

use super::{
    SIGN_WITHIN, fault,
    mechanism::mechanism,
    turns::{Turn, Turns},
};
use crate::{
    issuance::{Fault, Limits, SignError, Signature, Signer, SigningInput},
    lanes::Lane,
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
    pub const fn token_name(&self) -> &Arc<str> {
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

    /// Waits for a turn at the token among the requests of all tenants; the empty tenant is the controller itself. The wait
    /// has no end of its own.
    ///
    /// *Guarantees*: turns go round the tenants, and each tenant's turns go round its issuers.
    ///
    /// # Errors
    /// The controller is stopping.
    pub async fn turn(&self, tenant: &Arc<str>) -> Result<KeyTurn<'_>, HsmError> {
        let lane = Lane {
            tenant: Arc::clone(tenant),
            issuer: Arc::clone(&self.issuer),
        };
        // While no worker stands, those who wait for it wait there, where its state is known.
        let places = self
            .token
            .credit()
            .map_or(WAITING_FOR_A_WORKER, usize::from);
        match self.turns.take(&lane, places).await {
            Some(turn) => Ok(KeyTurn {
                key: self,
                _turn: turn,
            }),
            None => Err(HsmError::Unavailable {
                why: "the controller is stopping".to_owned(),
            }),
        }
    }
}

/// A key whose turn it is.
///
/// *Guarantees*: a signature takes ten seconds at most, from when it is asked for.
#[derive(Debug)]
pub struct KeyTurn<'a> {
    key: &'a GrantedKey,
    _turn: Turn,
}

impl KeyTurn<'_> {
    async fn ask(&self, input: &SigningInput) -> Result<Vec<u8>, HsmError> {
        let key = self.key;
        let mechanism = mechanism(input.algorithm());
        let deadline = Instant::now() + SIGN_WITHIN;
        key.token
            .sign(&key.key, mechanism, input.payload(), deadline)
            .await
    }
}

impl Signer for KeyTurn<'_> {
    fn sign(&self, input: SigningInput) -> hsm::BoxFuture<'_, Result<Signature, SignError>> {
        Box::pin(async move {
            let started = Instant::now();
            let signed = self.ask(&input).await;
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
