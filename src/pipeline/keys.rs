//! The keys of issuers. Issuers with the same key share one look-up and one proof.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;

use super::{
    Earlier, NotProven, Proof, SigningClaim,
    key::KeyTarget,
    now,
    once::{Once, Same},
};
use crate::{
    config::Labels,
    issuance::{Issuer, IssuerCertificate, Probe, ProbeError, SignError, SignatureAlgorithm},
    metrics::Metrics,
    signers::{GrantedKey, NoKey, TokenVersion},
};

/// Keys that were found on tokens, and their proofs.
///
/// A thousand issuers with the same key cost its token one look-up and one probe if they are looked at together.
#[derive(Debug, Default)]
pub struct Keys {
    found: Once<Sought, Answer<GrantedKey>>,
    proved: Once<(Same<GrantedKey>, SignatureAlgorithm), Answer<Proof>>,
}

type Answer<T> = Result<Arc<T>, Arc<NotProven>>;

/// Question for a key, with everything that the answer depends on: equal questions have the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sought {
    token: TokenVersion,
    /// The issuer's namespace and its labels, because grants depend on both. `None` for cluster issuers.
    namespace: Option<(String, Labels)>,
    wanted: Arc<KeyTarget>,
    /// SHA-256 of the issuing certificate.
    certificate: [u8; 32],
}

impl Keys {
    /// Forgets all keys and proofs.
    pub fn clear(&self) {
        self.found.clear();
        self.proved.clear();
    }

    /// Finds the key that an issuer's specification selects. The answer dates from `since` or later.
    pub(super) async fn find(
        &self,
        claim: SigningClaim<'_>,
        wanted: &Arc<KeyTarget>,
        issuing: &IssuerCertificate,
        since: Instant,
        metrics: &Arc<Metrics>,
    ) -> Answer<GrantedKey> {
        let SigningClaim {
            name,
            labels,
            token,
            ..
        } = claim;
        let certificate = issuing.sha256();
        let namespace = name.namespace.clone();
        let sought = Sought {
            token: token.version(),
            namespace: namespace.map(|namespace| (namespace, labels.clone())),
            wanted: Arc::clone(wanted),
            certificate,
        };
        let (scope, issuer) = (name.scope(labels), name.to_string());
        let find = async {
            let found = token
                .find_key(scope, &issuer, wanted.selector(), &certificate, metrics)
                .await;
            found
                .map(Arc::new)
                .map_err(|why| Arc::new(not_found(why, token.name(), wanted, issuing)))
        };
        self.found.get(sought, since, find).await
    }

    /// Proves a key that was found, by a probe unless an earlier signature still counts as proof. The answer dates from
    /// `since` or later.
    pub(super) async fn prove(
        &self,
        key: &Arc<GrantedKey>,
        since: Instant,
        issuer: &Issuer,
        earlier: Option<Earlier<'_>>,
        now: Timestamp,
    ) -> Answer<Proof> {
        let prove = async {
            let known = earlier.filter(|earlier| earlier.ready.is_proved_with(issuer, key));
            match known {
                Some(Earlier {
                    ready, counts_for, ..
                }) => {
                    if !ready.proof.is_younger_than(counts_for) {
                        probe(issuer, key).await.map_err(Arc::new)?;
                        ready.proof.renew(now);
                    }
                    Ok(Arc::clone(&ready.proof))
                }
                None => {
                    probe(issuer, key).await.map_err(Arc::new)?;
                    Ok(Arc::new(Proof::new(now)))
                }
            }
        };
        // The question need not contain the issuing certificate, because the key was found for one certificate.
        let question = (Same(Arc::clone(key)), issuer.algorithm());
        self.proved.get(question, since, prove).await
    }
}

fn not_found(
    why: NoKey,
    token: &str,
    wanted: &KeyTarget,
    issuing: &IssuerCertificate,
) -> NotProven {
    let token = token.to_owned();
    match why {
        NoKey::Token(source) => NotProven::Token {
            token,
            place: wanted.described().to_owned(),
            source,
        },
        NoKey::Certificate(key) => NotProven::CertificateNotGranted {
            token,
            key,
            subject: issuing.subject_text(),
            sha256: issuing.sha256_hex(),
        },
        NoKey::Reserved(key) => NotProven::Reserved { token, key },
        NoKey::Unprotected(source) => NotProven::Unprotected { token, source },
    }
}

/// Has the token sign a probe and verifies the signature.
async fn probe(issuer: &Issuer, key: &GrantedKey) -> Result<(), NotProven> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| NotProven::Random)?;
    let own = Arc::from("");
    let turn = key.turn(&own).await;
    let turn = turn.map_err(|why| NotProven::Probe(ProbeError::Sign(SignError::passing(why))))?;
    let proved = Probe::new(issuer.algorithm(), random)
        .prove(&turn, issuer.chain().issuing().public_key())
        .await;
    turn.verified(!matches!(proved, Err(ProbeError::KeyMismatch(_))), now());
    proved.map_err(NotProven::Probe)
}
