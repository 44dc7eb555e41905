//! Signs probes for a while, one at a time in each session.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join_all;
use hsm::{Curve, Key, KeyAlgorithm, MlDsa, Token};

use crate::{
    issuance::{
        Probe, SignError, Signature, SignatureAlgorithm, Signer, SigningInput, signature::Signing,
    },
    signers::mechanism,
};

/// Deadline of one signature, beyond the time that is measured.
const SIGN_WITHIN: Duration = Duration::from_secs(60);

/// How long each signature took.
pub(super) struct Latencies {
    /// Sorted.
    latencies: Vec<Duration>,
    took: Duration,
}

impl Latencies {
    pub(super) fn signatures(&self) -> u64 {
        u64::try_from(self.latencies.len()).unwrap_or(u64::MAX)
    }

    /// Returns the number of signatures per second.
    pub(super) fn rate(&self) -> f64 {
        let count = u32::try_from(self.latencies.len()).unwrap_or(u32::MAX);
        f64::from(count) / self.took.as_secs_f64()
    }

    /// Returns the shortest latency that so large a part of the signatures did not exceed.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        quantile(&self.latencies, part)
    }
}

fn quantile(sorted: &[Duration], part: f64) -> Duration {
    let reached = (1..=sorted.len()).find(|count| {
        let share = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        share(*count) >= part * share(sorted.len())
    });
    let place = reached.and_then(|count| sorted.get(count - 1));
    place.copied().unwrap_or_default()
}

/// Returns an algorithm for each mechanism that this program uses with the key, if the token claims it or claims none. Hashes
/// are left out: hashing is no work of the token.
pub(super) fn algorithms(key: &Key) -> Vec<SignatureAlgorithm> {
    use SignatureAlgorithm as Algorithm;
    let all: &[Algorithm] = match key.algorithm() {
        KeyAlgorithm::Rsa { .. } => &[Algorithm::RsaPkcs1Sha256, Algorithm::RsaPssSha256],
        KeyAlgorithm::Ec(Curve::P256) => &[Algorithm::EcdsaP256Sha256],
        KeyAlgorithm::Ec(Curve::P384) => &[Algorithm::EcdsaP384Sha384],
        KeyAlgorithm::Ec(Curve::P521) => &[Algorithm::EcdsaP521Sha512],
        KeyAlgorithm::Ed25519 => &[Algorithm::Ed25519],
        KeyAlgorithm::MlDsa(MlDsa::MlDsa44) => &[Algorithm::MlDsa44],
        KeyAlgorithm::MlDsa(MlDsa::MlDsa65) => &[Algorithm::MlDsa65],
        KeyAlgorithm::MlDsa(MlDsa::MlDsa87) => &[Algorithm::MlDsa87],
    };
    let claimed = key.mechanisms();
    let is_claimed = |algorithm: &Algorithm| {
        let mechanism = mechanism(*algorithm);
        claimed.is_empty()
            || claimed.contains(&mechanism)
            || mechanism.in_token().is_some_and(|it| claimed.contains(&it))
    };
    all.iter().copied().filter(is_claimed).collect()
}

/// One key of a worker. Nothing counts or verifies its signatures.
struct WorkerKey<'a> {
    worker: &'a Token,
    key: &'a Key,
    deadline: Instant,
}

impl Signer for WorkerKey<'_> {
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a> {
        let Self {
            worker,
            key,
            deadline,
        } = self;
        Box::pin(async move {
            let mechanism = mechanism(input.algorithm());
            worker
                .sign_message(key, mechanism, input.payload(), input.message(), *deadline)
                .await
                .map(Signature::from_octets)
                .map_err(SignError::passing)
        })
    }
}

/// Signs probes for `duration`, in as many sessions at a time.
///
/// # Errors
/// A signature failed.
pub(super) async fn measure(
    worker: &Token,
    key: &Key,
    algorithm: SignatureAlgorithm,
    sessions: u16,
    duration: Duration,
) -> anyhow::Result<Latencies> {
    let started = Instant::now();
    let signer = WorkerKey {
        worker,
        key,
        deadline: started + duration + SIGN_WITHIN,
    };
    let one_session = async || {
        let mut latencies = Vec::new();
        while started.elapsed() < duration {
            let mut random = [0; 32];
            aws_lc_rs::rand::fill(&mut random).context("no random octets")?;
            let probe = Probe::new(algorithm, random);
            let before = Instant::now();
            probe.sign(&signer).await?;
            latencies.push(before.elapsed());
        }
        Ok::<_, anyhow::Error>(latencies)
    };
    let each = try_join_all((0..sessions).map(|_| one_session())).await?;
    let mut latencies: Vec<_> = each.into_iter().flatten().collect();
    latencies.sort_unstable();
    Ok(Latencies {
        latencies,
        took: started.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_shortest_latency_that_so_many_signatures_did_not_exceed() {
        let all: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        for (part, milliseconds) in [(0.5, 100), (0.99, 198), (1.0, 200), (0.001, 1)] {
            assert_eq!(quantile(&all, part), Duration::from_millis(milliseconds));
        }
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
