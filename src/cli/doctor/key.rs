//! Checks of an issuer's key on its token, and a probe signature with it.

use std::{sync::Arc, time::Instant};

use super::{
    check::{CheckId, FailedCheck},
    findings::Findings,
    issuer::{ExaminedIssuer, GivenIssuer, failed},
    pin::OpenToken,
};
use crate::{
    metrics::Metrics,
    pipeline::{self, Keys, NotProven, ParsedChain, SigningClaim, now},
};

/// Checks of the key, each after the one before it.
pub(super) const KEY: [CheckId; 9] = [
    CheckId::KeyFound,
    CheckId::KeyMatches,
    CheckId::KeyUnambiguous,
    CheckId::KeyUsable,
    CheckId::CertificateGranted,
    CheckId::KeyProtected,
    CheckId::ProfileGranted,
    CheckId::KeyAlgorithm,
    CheckId::ProbeSignature,
];

/// Has the token prove the issuer's key as the controller does: finds it, checks how it is protected, and verifies a signature
/// over a probe.
pub(super) async fn prove(
    findings: &mut Findings,
    issuer: &ExaminedIssuer,
    chain: &Arc<ParsedChain>,
    token: &OpenToken,
    metrics: &Arc<Metrics>,
) {
    let GivenIssuer { name, labels, spec } = &issuer.given;
    let claim = SigningClaim {
        spec,
        key: spec.key.as_ref(),
        name,
        labels,
        chain,
        beside: &Arc::default(),
        token: token.token(),
    };
    let keys = Keys::default();
    let proven = pipeline::prove(claim, None, &keys, Instant::now(), metrics, now());
    let (proven, told) = match proven.await {
        Ok(proven) => {
            let key = proven.ready.key.key();
            (Ok(()), format!("key {}, {}", key.name(), key.algorithm()))
        }
        Err(why) => (
            Err(FailedCheck::new(of_key(&why), why.message())),
            String::new(),
        ),
    };
    let ended = findings.chain(&KEY, &issuer.subject, proven, told);
    // Nothing depends on it.
    ended.ok();
}

/// Returns the check of the key that failed. The specification was accepted before, so that only the grant of the key can
/// contradict it.
fn of_key(why: &NotProven) -> CheckId {
    let id = failed(why);
    if id == CheckId::SpecValid {
        CheckId::ProfileGranted
    } else if KEY.contains(&id) {
        id
    } else {
        CheckId::KeyFound
    }
}
