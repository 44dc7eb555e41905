//! The key that signs the checkpoints of the issuance log, on one of the configured tokens.

use std::{sync::Arc, time::Instant};

use hsm::{Curve, HsmError, Key, KeyAlgorithm, KeySelector, Token};

use super::{
    ConfiguredToken, SIGN_WITHIN, TokenVersion,
    key::{MeasuredKey, WAITING_FOR_A_WORKER, ask},
    protection::{self, Unprotected},
    turns::Turns,
};
use crate::{
    audit::note::NotePublicKey, config::Checkpoints, issuance::SignatureAlgorithm, lanes::Lane,
    metrics::Metrics,
};

/// A key that signs checkpoints. It signs nothing else: no grant of its token covers it, and no issuer gets it on another
/// token ([`ReservedKey`](super::ReservedKey)).
#[derive(Clone, Debug)]
pub struct CheckpointKey {
    version: TokenVersion,
    token: Token,
    token_name: Arc<str>,
    metrics: Arc<Metrics>,
    turns: Arc<Turns>,
    key: Key,
    public: NotePublicKey,
}

/// Why checkpoints cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum NoCheckpointKey {
    /// The token failed, or it does not hold exactly one such key.
    #[error("the {key} for checkpoints cannot be used on token {token:?}")]
    Token {
        /// The key, for people.
        key: String,
        /// Name of the token in the configuration.
        token: String,
        /// What the token says.
        source: HsmError,
    },
    /// The configuration has no such token any more.
    #[error(
        "token {0:?} of audit.checkpoints is not in the configuration any more; add it, or change audit.checkpoints and restart the controller"
    )]
    TokenGone(String),
    /// The key is not protected as the operator requires.
    #[error(transparent)]
    Unprotected(Unprotected),
    /// Issuers may sign with the key.
    #[error(
        "{key} on token {token:?} is for checkpoints and is also granted by {grant}, so issuers could sign with it; give every grant of the token patterns that do not match this key"
    )]
    Granted {
        /// The key.
        key: String,
        /// Name of the token in the configuration.
        token: String,
        /// Place of the grant in the token's configuration.
        grant: String,
    },
    /// A key of another kind.
    #[error(
        "{key} is a key of the kind {algorithm}, which cannot sign checkpoints; use Ed25519 or P-256"
    )]
    Algorithm {
        /// The key.
        key: String,
        /// Its kind.
        algorithm: KeyAlgorithm,
    },
    /// The token does not show the public half, without which nobody can verify.
    #[error(
        "the token does not show the public half of {0}; store its public key object on the token, with the same CKA_ID"
    )]
    PublicHidden(String),
}

impl ConfiguredToken {
    /// Finds the key that signs checkpoints, with a login if one is needed.
    ///
    /// # Errors
    /// [`NoCheckpointKey`].
    pub async fn find_checkpoint_key(
        &self,
        wanted: &Checkpoints,
        metrics: &Arc<Metrics>,
    ) -> Result<CheckpointKey, NoCheckpointKey> {
        let selector = KeySelector {
            label: wanted.label().map(str::to_owned),
            id: wanted.id().map(<[u8]>::to_vec),
            public_key: None,
        };
        let token = &self.running.token;
        let find = || token.find_key(&selector, Instant::now() + SIGN_WITHIN);
        let found = self.find_with_login(metrics, find).await;
        let key = found.map_err(|source| NoCheckpointKey::Token {
            key: wanted.to_string(),
            token: self.name().to_owned(),
            source,
        })?;
        let name = key.name();
        if let Some(grant) = self.config.grant_of(Some(&name.label), Some(&name.id)) {
            return Err(NoCheckpointKey::Granted {
                key: name.to_string(),
                token: self.name().to_owned(),
                grant,
            });
        }
        let broken = protection::broken(&key.attributes(), self.config.key_rules());
        if !broken.is_empty() {
            return Err(NoCheckpointKey::Unprotected(Unprotected {
                key: name,
                broken,
            }));
        }
        let hidden = || NoCheckpointKey::PublicHidden(name.to_string());
        let octets = key.public().ok_or_else(hidden)?;
        let public = match key.algorithm() {
            KeyAlgorithm::Ed25519 => octets.try_into().map(NotePublicKey::Ed25519),
            KeyAlgorithm::Ec(Curve::P256) => octets.try_into().map(NotePublicKey::P256),
            algorithm @ (KeyAlgorithm::Rsa { .. }
            | KeyAlgorithm::Ec(Curve::P384 | Curve::P521)
            | KeyAlgorithm::MlDsa(_)) => {
                return Err(NoCheckpointKey::Algorithm {
                    key: name.to_string(),
                    algorithm,
                });
            }
        };
        Ok(CheckpointKey {
            version: self.version(),
            token: token.clone(),
            token_name: self.name().into(),
            metrics: Arc::clone(metrics),
            turns: Arc::clone(&self.running.turns),
            public: public.map_err(|_| hidden())?,
            key,
        })
    }
}

impl CheckpointKey {
    /// Returns the public half.
    #[must_use]
    pub const fn public(&self) -> NotePublicKey {
        self.public
    }

    /// Returns whether the key was found under the present configuration of the token.
    #[must_use]
    pub fn is_of(&self, token: &ConfiguredToken) -> bool {
        self.version == token.version()
    }

    /// Signs the text of a checkpoint. Waits for a turn at the token like a request of the controller itself. Once
    /// the controller gives no more turns, signs without one. ECDSA signatures are DER Ecdsa-Sig-Value. The caller verifies.
    ///
    /// # Errors
    /// As [`Token::sign_message`].
    pub async fn sign(&self, text: &str) -> Result<Vec<u8>, HsmError> {
        let lane = Lane {
            tenant: Arc::from(""),
            issuer: Arc::from("checkpoints of the issuance log"),
        };
        let credit = self.token.credit();
        let credit = credit.map_or(WAITING_FOR_A_WORKER, usize::from);
        let turn = self.turns.take(&lane, credit).await;
        let algorithm = match self.public {
            NotePublicKey::Ed25519(_) => SignatureAlgorithm::Ed25519,
            NotePublicKey::P256(_) => SignatureAlgorithm::EcdsaP256Sha256,
        };
        let digest = algorithm
            .pre_hash()
            .map(|hash| hash.digest(text.as_bytes()));
        let payload = digest.as_deref().unwrap_or(text.as_bytes());
        let key = MeasuredKey {
            token: &self.token,
            token_name: &self.token_name,
            key: &self.key,
            metrics: &self.metrics,
        };
        let signed = ask(key, algorithm, payload, text.as_bytes()).await;
        drop(turn);
        signed
    }
}
