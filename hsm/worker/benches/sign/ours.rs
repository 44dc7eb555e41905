//! Signatures through `hsm::Token`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{digest, signature::UnparsedPublicKey};
use hsm::{Key, Mechanism, Token};

use crate::{DIGEST, Failed, percentiles, soon};

/// Requests in flight, as many as in a busy controller.
const IN_FLIGHT: usize = 64;
const MESSAGE: &[u8] = b"to be signed";

/// Check of a signature before its release.
#[derive(Clone)]
pub(crate) enum Release {
    AsItIs,
    /// The signature is verified, as in the controller.
    Verified(Arc<UnparsedPublicKey<Vec<u8>>>),
}

impl Release {
    fn check(&self, signature: &[u8]) -> Result<(), Failed> {
        match self {
            Self::AsItIs => Ok(()),
            Self::Verified(key) => key
                .verify(MESSAGE, signature)
                .map_err(|_| "a signature does not verify".into()),
        }
    }
}

/// Returns signatures per second with 64 requests in flight.
pub(crate) async fn rate(
    hsm: &Token,
    key: &Key,
    mechanism: Mechanism,
    release: &Release,
    length: Duration,
) -> Result<f64, Failed> {
    let digest = digest::digest(&digest::SHA256, MESSAGE);
    let started = Instant::now();
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (hsm, key, release) = (hsm.clone(), key.clone(), release.clone());
            tokio::spawn(async move {
                let mut made = 0_u32;
                while started.elapsed() < length {
                    let signature = hsm.sign(&key, mechanism, digest.as_ref(), soon()).await?;
                    release.check(&signature)?;
                    made += 1;
                }
                Ok::<_, Failed>(made)
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += task.await??;
    }
    Ok(f64::from(made) / started.elapsed().as_secs_f64())
}

/// Returns p50 and p99 in microseconds with one request in flight.
pub(crate) async fn latency(
    hsm: &Token,
    key: &Key,
    mechanism: Mechanism,
    length: Duration,
) -> Result<(f64, f64), Failed> {
    let (hsm, key) = (hsm.clone(), key.clone());
    let asker = tokio::spawn(async move {
        let mut took = Vec::new();
        let started = Instant::now();
        while started.elapsed() < length {
            let before = Instant::now();
            hsm.sign(&key, mechanism, &DIGEST, soon()).await?;
            took.push(before.elapsed().as_secs_f64() * 1e6);
        }
        Ok::<_, hsm::HsmError>(took)
    });
    Ok(percentiles(&asker.await??))
}
