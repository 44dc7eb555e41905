//! Proves that an issuer can sign: its certificate, its profile, its key, and a probe signature that verifies.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use hsm::TokenInfo;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::{Keys, NotProven, PodRules, Publish, ReadyIssuer, aside::aside, key::KeyTarget};
use crate::{
    api::{
        IssuerName, bounds,
        issuer::{CaField, IssuerSpec, KeySpec, PodCertificatesSpec, RateLimit},
    },
    config::{Labels, TokenConfig},
    issuance::{
        Bundle, ChainError, Issuer, IssuerChain, Limits, Profile, Rules, crl::CrlRules,
        profile::CaLimits,
    },
    metrics::Metrics,
    signers::{
        ConfiguredToken,
        limiter::{Limit, Rate},
    },
};

/// The shortest validity that the API server accepts for pods (`PodCertificateRequest`, `spec.maxExpirationSeconds`).
const SHORTEST_FOR_PODS: SignedDuration = SignedDuration::from_hours(1);

/// Certificates of an issuer in PEM, as found and not parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPem {
    /// The issuing certificate and the certificates that follow it.
    pub chain: Vec<u8>,
    /// The root, if it is given separately.
    pub root: Option<Vec<u8>>,
}

/// Parsed certificates of an issuer. Issuers that name the same certificates share one value.
#[derive(Debug)]
pub struct ParsedChain {
    pem: ChainPem,
    parsed: Result<Parsed, Arc<ChainError>>,
}

#[derive(Debug)]
struct Parsed {
    bundle: Bundle,
    /// The chain that was used last, so that the issuers that share these certificates also share their chain.
    last: Mutex<Arc<IssuerChain>>,
}

impl ParsedChain {
    /// Parses the certificates, or keeps the reason why they cannot be used. Costs processor time.
    #[must_use]
    pub fn new(pem: ChainPem) -> Self {
        let parsed = Bundle::parse(&pem.chain, pem.root.as_deref()).map(|bundle| Parsed {
            last: Mutex::new(Arc::new(bundle.longest().clone())),
            bundle,
        });
        Self {
            pem,
            parsed: parsed.map_err(Arc::new),
        }
    }

    /// Does the same as [`new`](Self::new) on another thread.
    pub async fn parse(pem: ChainPem) -> Self {
        aside(|| Self::new(pem)).await
    }

    /// Returns whether the chain was parsed from this PEM.
    #[must_use]
    pub fn is_of(&self, pem: &ChainPem) -> bool {
        self.pem == *pem
    }

    /// Returns the chain that was used last, whether or not it is valid now; `None` if the certificates cannot be used.
    #[must_use]
    pub fn chain(&self) -> Option<Arc<IssuerChain>> {
        let parsed = self.parsed.as_ref().ok()?;
        Some(Arc::clone(&parsed.last.lock()))
    }

    /// Returns whether both were parsed from the same PEM.
    #[must_use]
    pub fn is_same_as(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || self.is_of(&other.pem)
    }

    /// Returns a chain that is valid at the time `now`.
    fn at(&self, now: Timestamp) -> Result<Arc<IssuerChain>, NotProven> {
        let parsed = self.parsed.as_ref();
        let Parsed { bundle, last } =
            parsed.map_err(|why| NotProven::Certificate(Arc::clone(why)))?;
        let valid = bundle.at(now);
        let chain = valid.map_err(|why| NotProven::Certificate(Arc::new(why)))?;
        let mut last = last.lock();
        if !last.is_same_as(&chain) {
            *last = Arc::new(chain);
        }
        Ok(Arc::clone(&last))
    }
}

/// Issuer that can sign, and its token's description of itself.
#[derive(Debug)]
pub struct Proven {
    /// The snapshot that requests are signed with.
    pub ready: Arc<ReadyIssuer>,
    /// The token's description; `None` if the token has become unavailable meanwhile.
    pub token: Option<TokenInfo>,
}

/// Result of an earlier look at the issuer.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// The snapshot from that look.
    pub ready: &'a Arc<ReadyIssuer>,
    /// Whether the snapshot was made from the present specification.
    pub of_this_spec: bool,
    /// A verified signature that is younger than this replaces a probe.
    pub counts_for: Duration,
}

/// Checks that a grant covers the issuer. This reads only the configuration, so an issuer without a grant is refused before
/// anything of it is read, parsed or looked for. `labels` are those of the issuer's namespace, for grants with a selector.
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
        scope: scope.to_string(),
    })
}

/// Issuer that claims that it can sign, with everything needed to prove it.
#[derive(Clone, Copy, Debug)]
pub struct SigningClaim<'a> {
    /// The specification.
    pub spec: &'a IssuerSpec,
    /// The key that it claims: `spec.key`, or that of `spec.next`.
    pub key: Option<&'a KeySpec>,
    /// The name.
    pub name: &'a IssuerName,
    /// The labels of its namespace, for grants with a selector.
    pub labels: &'a Labels,
    /// The certificates.
    pub chain: &'a Arc<ParsedChain>,
    /// Certificates of CAs that are trusted beside this one, each in PEM.
    pub beside: &'a Arc<[String]>,
    /// The token that the specification names.
    pub token: &'a ConfiguredToken,
}

/// Proves, at the time `now`, everything that a signature will need. Shares answers of `keys` that date from `since` or
/// later. Waits for the token no longer than a signature would. The token signs a probe, unless the same key was proved
/// recently.
///
/// Expensive computations run on another thread, and only if something has changed since `earlier`.
///
/// # Errors
/// The first requirement that is not met.
pub async fn prove(
    claim: SigningClaim<'_>,
    earlier: Option<Earlier<'_>>,
    keys: &Keys,
    since: Instant,
    metrics: &Arc<Metrics>,
    now: Timestamp,
) -> Result<Proven, Arc<NotProven>> {
    let SigningClaim {
        spec,
        name,
        chain: certificates,
        beside,
        token,
        ..
    } = claim;
    let same = earlier.filter(|earlier| {
        earlier.of_this_spec && earlier.ready.certificates.is_same_as(certificates)
    });
    let mut checked = None;
    let (chain, wanted) = match same {
        Some(Earlier { ready, .. }) => {
            let chain = certificates.at(now)?;
            (chain, Arc::clone(&ready.wanted))
        }
        None => {
            let new = check_aside(claim, now).await?;
            let parts = (Arc::clone(&new.chain), Arc::clone(&new.wanted));
            checked = Some(new);
            parts
        }
    };
    let key = keys
        .find(claim, &wanted, chain.issuing(), since, metrics)
        .await?;
    let kept = same.filter(|earlier| {
        earlier.ready.key.limits() == key.limits()
            && earlier.ready.issuer.chain().is_same_as(&chain)
    });
    let (issuer, pods) = match kept {
        Some(Earlier { ready, .. }) => (Arc::clone(&ready.issuer), ready.pods.clone()),
        None => {
            let Checked {
                rules, pods, crl, ..
            } = match checked {
                Some(checked) => checked,
                None => check_aside(claim, now).await?,
            };
            let profile = Profile::new(rules, key.limits().clone())
                .map_err(|why| Arc::new(NotProven::Profile(why)))?;
            let issuer = Issuer::new(chain, profile, spec.signature_algorithm.explicit())
                .map_err(|why| Arc::new(NotProven::Algorithm(why)))?;
            let issuer = match crl {
                Some(crl) => issuer
                    .with_crl(crl)
                    .map_err(|why| Arc::new(NotProven::Crl(why)))?,
                None => issuer,
            };
            (Arc::new(issuer), pods)
        }
    };
    let proof = keys.prove(&key, since, &issuer, earlier, now).await?;
    let described = described(token);
    if let Some(token) = &described {
        wanted
            .check_token(token)
            .map_err(|why| Arc::new(NotProven::KeySpec(why)))?;
    }
    let publish = Publish {
        ca: spec.ca,
        beside: Arc::clone(beside),
        append_root: spec.append_root_to_kubernetes_csr,
    };
    let ready = match kept {
        Some(Earlier { ready, .. })
            if ready.publish == publish
                && ready.key.is_same_as(&key)
                && ready.key.grant_sha256() == key.grant_sha256()
                && Arc::ptr_eq(&ready.proof, &proof) =>
        {
            Arc::clone(ready)
        }
        Some(_) | None => Arc::new(ReadyIssuer {
            issuer,
            certificates: Arc::clone(certificates),
            wanted,
            key: key.for_issuer(&name.to_string()),
            publish,
            serial: spec.profile.serial.source,
            limit: limit(spec),
            proof,
            profile_sha256: profile_sha256(spec).into(),
            pods,
        }),
    };
    Ok(Proven {
        ready,
        token: described,
    })
}

async fn check_aside(claim: SigningClaim<'_>, now: Timestamp) -> Result<Checked, Arc<NotProven>> {
    let (spec, key, chain) = (
        claim.spec.clone(),
        claim.key.cloned(),
        Arc::clone(claim.chain),
    );
    aside(move || check(&spec, key.as_ref(), &chain, now))
        .await
        .map_err(Arc::new)
}

/// Returns the token's description of itself, if the token is ready.
fn described(token: &ConfiguredToken) -> Option<TokenInfo> {
    token.token().state().borrow().info().cloned()
}

/// Returns the SHA-256 of the JSON of the profile with every default, hexadecimal.
fn profile_sha256(spec: &IssuerSpec) -> String {
    // A profile is made of strings, numbers and lists of them.
    let json = serde_json::to_vec(&spec.profile).unwrap_or_default();
    hex::encode(digest::digest(&digest::SHA256, &json))
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

/// Result of the checks that need no token.
#[derive(Debug)]
pub struct Checked {
    chain: Arc<IssuerChain>,
    wanted: Arc<KeyTarget>,
    rules: Rules,
    crl: Option<CrlRules>,
    pods: Option<PodRules>,
}

/// Does the part of the proof that needs no token: checks that the issuer's certificates can be used at the time `now`, that
/// `key` can be looked for, and that its profile does not contradict itself.
///
/// # Errors
/// The first check that fails.
pub fn check(
    spec: &IssuerSpec,
    key: Option<&KeySpec>,
    certificates: &ParsedChain,
    now: Timestamp,
) -> Result<Checked, NotProven> {
    bounds::check(spec).map_err(NotProven::OutOfBounds)?;
    let chain = certificates.at(now)?;
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
    let wanted = KeyTarget::new(key, chain.issuing().spki_der()).map_err(NotProven::KeySpec)?;
    let rules: Rules = spec
        .profile
        .clone()
        .try_into()
        .map_err(NotProven::Profile)?;
    // The grant's limits are known only once the key is found. They can only narrow the profile, so it must be valid without
    // them.
    let any = Limits {
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    };
    let profile = Profile::new(rules.clone(), any).map_err(NotProven::Profile)?;
    let crl = spec
        .crl
        .as_ref()
        .map(|crl| {
            let crl = CrlRules::try_from(crl)?;
            crl.check(&profile, chain.issuing()).map(|()| crl)
        })
        .transpose()
        .map_err(NotProven::Crl)?;
    let pods = spec
        .pod_certificates
        .as_ref()
        .map(|pods| pod_rules(pods, rules.validity.max));
    Ok(Checked {
        chain,
        wanted: Arc::new(wanted),
        rules,
        crl,
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

#[cfg(test)]
mod tests;
