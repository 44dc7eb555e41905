//! Proves that an issuer can sign: its certificate, its profile, its key, and a probe signature that verifies.

use std::{sync::Arc, time::Duration};

use hsm::{TokenInfo, TokenState};
use jiff::{SignedDuration, Timestamp};

use super::{
    IssuerName, NotProven, PodRules, Proof, Publish, ReadyIssuer, aside::aside, key::Wanted,
};
use crate::{
    api::{
        bounds,
        issuer::{CaField, IssuerSpec, PodCertificatesSpec, RateLimit},
    },
    config::{IssuerScope, Labels, TokenConfig},
    issuance::{
        Issuer, IssuerChain, Limits, Probe, ProbeError, Profile, Rules, SignError,
        profile::CaLimits,
    },
    metrics::Metrics,
    signers::{
        ConfiguredToken, GrantedKey, NoKey,
        limiter::{Limit, Rate},
    },
};

/// The API server takes no shorter one (`PodCertificateRequest`, `spec.maxExpirationSeconds`).
const SHORTEST_FOR_PODS: SignedDuration = SignedDuration::from_hours(1);

/// The certificates of an issuer in PEM as found, not looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPem {
    /// The issuing certificate and what follows it.
    pub chain: Vec<u8>,
    /// The root, where it is given apart.
    pub root: Option<Vec<u8>>,
}

/// An issuer that can sign, and what its token says of itself.
#[derive(Debug)]
pub struct Proven {
    /// The snapshot that requests are signed with.
    pub ready: Arc<ReadyIssuer>,
    /// The token, if it did not go away meanwhile.
    pub token: Option<TokenInfo>,
}

/// What is known from an earlier look at the issuer.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// The snapshot of then.
    pub ready: &'a ReadyIssuer,
    /// A signature that verified no longer ago stands in for a probe.
    pub counts_for: Duration,
}

/// Asks the operator's grants, and nothing else: before anything of an issuer that nobody lets sign is read, parsed or
/// looked for. `labels` are those of the issuer's namespace, for grants with a selector.
///
/// # Errors
/// [`NotProven::NotGranted`].
pub fn check_granted(
    name: &IssuerName,
    labels: &Labels,
    token: &TokenConfig,
) -> Result<(), NotProven> {
    let scope = name.scope(labels);
    if token.serves(scope) {
        return Ok(());
    }
    Err(NotProven::NotGranted {
        token: token.name().to_owned(),
        scope: match scope {
            IssuerScope::Cluster => "cluster issuers".to_owned(),
            IssuerScope::Namespace { name, .. } => format!("issuers in namespace {name}"),
        },
    })
}

/// Goes through everything that a signature will need, at the time `now`. `labels` are those of the issuer's namespace,
/// for grants with a selector. Waits for the token no longer than a
/// signature would. The token signs a probe, unless the very same key has proved itself `earlier` and lately.
///
/// What costs processor time is done on another thread.
///
/// # Errors
/// The first thing that is missing.
#[expect(
    clippy::too_many_arguments,
    reason = "each comes from another place: the object, its namespace, its certificates, its token, the last look"
)]
pub async fn prove(
    spec: &IssuerSpec,
    name: &IssuerName,
    labels: &Labels,
    pem: ChainPem,
    token: &ConfiguredToken,
    metrics: &Arc<Metrics>,
    earlier: Option<Earlier<'_>>,
    now: Timestamp,
) -> Result<Proven, NotProven> {
    let Checked {
        chain,
        wanted,
        rules,
        pods,
    } = {
        let spec = spec.clone();
        aside(move || check(&spec, &pem, now)).await?
    };
    let issuing = chain.issuing();
    let key = token
        .find_key(
            name.scope(labels),
            &name.to_string(),
            wanted.selector(),
            &issuing.sha256(),
            metrics,
        )
        .await
        .map_err(|why| {
            let token = spec.token.clone();
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
                NoKey::Unprotected(source) => NotProven::Unprotected { token, source },
            }
        })?;
    let profile = Profile::new(rules, key.limits().clone()).map_err(NotProven::Profile)?;
    let issuer = Issuer::new(chain, profile, spec.signature_algorithm.explicit())
        .map_err(NotProven::Algorithm)?;
    let lately = earlier.filter(|Earlier { ready, counts_for }| {
        ready.is_proved_with(&issuer, &key) && ready.proof.is_younger_than(*counts_for)
    });
    let proof = match lately {
        Some(Earlier { ready, .. }) => Arc::clone(&ready.proof),
        None => Arc::new(probe(&issuer, &key, now).await?),
    };
    let described = match &*token.token().state().borrow() {
        TokenState::Ready { info } => Some(info.clone()),
        TokenState::Starting
        | TokenState::AwaitingToken { .. }
        | TokenState::LoginRefused { .. }
        | TokenState::Misconfigured { .. }
        | TokenState::Restarting { .. }
        | TokenState::Stopped => None,
    };
    if let Some(token) = &described {
        wanted.check_token(token).map_err(NotProven::KeySpec)?;
    }
    let ready = ReadyIssuer {
        issuer: Arc::new(issuer),
        key,
        publish: Publish {
            ca: spec.ca,
            append_root: spec.append_root_to_kubernetes_csr,
        },
        serial: spec.profile.serial.source,
        limit: limit(spec),
        proof,
        pods,
    };
    Ok(Proven {
        ready: Arc::new(ready),
        token: described,
    })
}

fn limit(spec: &IssuerSpec) -> Limit {
    Limit {
        rate: spec.rate_limit.map(|RateLimit { per_second, burst }| Rate {
            per_second,
            burst: burst.unwrap_or(per_second),
        }),
        concurrent: spec.max_concurrent_signatures,
    }
}

/// Has the token sign one harmless message.
async fn probe(issuer: &Issuer, key: &GrantedKey, now: Timestamp) -> Result<Proof, NotProven> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| NotProven::Random)?;
    let own = Arc::from("");
    let turn = key.turn(&own).await;
    let turn = turn.map_err(|why| NotProven::Probe(ProbeError::Sign(SignError::passing(why))))?;
    Probe::new(issuer.algorithm(), random)
        .prove(&turn, issuer.chain().issuing().public_key())
        .await
        .map_err(NotProven::Probe)?;
    Ok(Proof::new(now))
}

/// What can be known of an issuer before its token is asked.
#[derive(Debug)]
pub struct Checked {
    chain: IssuerChain,
    wanted: Wanted,
    rules: Rules,
    pods: Option<PodRules>,
}

/// The part of the proof that costs the token nothing: the issuer's certificates are fit at the time `now`, its key can
/// be looked for, its profile does not contradict itself.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(spec: &IssuerSpec, pem: &ChainPem, now: Timestamp) -> Result<Checked, NotProven> {
    bounds::check(spec).map_err(NotProven::OutOfBounds)?;
    let chain =
        IssuerChain::parse(&pem.chain, pem.root.as_deref()).map_err(NotProven::Certificate)?;
    chain.check_at(now).map_err(NotProven::Certificate)?;
    let needs_root = if spec.ca == CaField::Root {
        Some("spec.ca is Root")
    } else if spec.append_root_to_kubernetes_csr {
        Some("spec.appendRootToKubernetesCSR is set")
    } else {
        None
    };
    if let Some(needs_root) = needs_root.filter(|_| !chain.has_root()) {
        return Err(NotProven::RootMissing(needs_root));
    }
    let wanted =
        Wanted::new(spec.key.as_ref(), chain.issuing().spki_der()).map_err(NotProven::KeySpec)?;
    let rules: Rules = spec
        .profile
        .clone()
        .try_into()
        .map_err(NotProven::Profile)?;
    // The grant of a key comes with the key, and may only narrow what is sound without it.
    let any = Limits {
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    };
    Profile::new(rules.clone(), any).map_err(NotProven::Profile)?;
    let pods = spec
        .pod_certificates
        .as_ref()
        .map(|pods| pod_rules(pods, rules.validity.max));
    Ok(Checked {
        chain,
        wanted,
        rules,
        pods: pods.transpose()?,
    })
}

fn pod_rules(spec: &PodCertificatesSpec, longest: SignedDuration) -> Result<PodRules, NotProven> {
    if longest < SHORTEST_FOR_PODS {
        return Err(NotProven::PodsTooShort);
    }
    Ok(PodRules {
        identity: spec.identity().map_err(NotProven::Pods)?,
        usages: spec.usages.clone(),
    })
}
