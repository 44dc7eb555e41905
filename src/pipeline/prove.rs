//! Proves that an issuer can sign: its certificate, its profile, its key, and a probe signature that verifies.

use std::sync::Arc;

use hsm::{HsmError, TokenInfo, TokenState};
use jiff::{SignedDuration, Timestamp};

use super::{
    IssuerName, PodRules, Publish, ReadyIssuer,
    key::{KeySpecError, Wanted},
};
use crate::{
    api::issuer::{CaField, IssuerSpec, PodCertificatesSpec},
    config,
    duration::GoDuration,
    issuance::{
        ChainError, Issuer, IssuerChain, IssuerError, Limits, Probe, ProbeError, Profile,
        ProfileError, Rules, pattern::PatternError, pod::PodIdentityError,
    },
    metrics::Metrics,
    signers::ConfiguredToken,
    telemetry::Chain,
};

/// The API server takes no shorter one (`PodCertificateRequest`, `spec.maxExpirationSeconds`).
const SHORTEST_FOR_PODS: SignedDuration = SignedDuration::from_hours(1);

/// The certificates of an issuer in PEM as found, not looked into.
#[derive(Debug, PartialEq, Eq)]
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

/// Why an issuer cannot sign, its certificates being at hand.
#[derive(Debug, thiserror::Error)]
pub enum NotProven {
    /// A certificate that cannot issue.
    #[error("the issuing certificate is not fit")]
    Certificate(#[source] ChainError),
    /// A profile that contradicts itself or its grant.
    #[error("spec.profile is not sound")]
    Profile(#[source] ProfileError),
    /// A signature algorithm that the key cannot do.
    #[error("no signature algorithm")]
    Algorithm(#[source] IssuerError),
    /// `ca: Root` or `appendRootToKubernetesCSR` without a root.
    #[error(
        "spec.ca is Root, or appendRootToKubernetesCSR is set, and no root certificate is given; add it under rootKey, to the chain, or choose another value"
    )]
    RootMissing,
    /// A key that cannot be looked for.
    #[error("spec.key cannot be used")]
    KeySpec(#[source] KeySpecError),
    /// No pod can be named so.
    #[error("spec.podCertificates cannot be used")]
    Pods(#[source] PodIdentityError),
    /// Kubernetes takes no pod certificate of less than an hour.
    #[error("spec.podCertificates needs a spec.profile.validity.max of an hour or more")]
    PodsTooShort,
    /// The token or the key on it.
    #[error("token {token:?}, {place}")]
    Token {
        /// The token.
        token: String,
        /// What was looked for.
        place: String,
        /// What went wrong.
        source: HsmError,
    },
    /// The key did not prove itself.
    #[error("the probe signature failed")]
    Probe(#[source] ProbeError),
    /// The operating system gave no random octets.
    #[error("no random octets for a probe signature")]
    Random,
}

/// Goes through everything that a signature will need, at the time `now`. Waits for the token no longer than a
/// signature would.
///
/// # Errors
/// The first thing that is missing.
pub async fn prove(
    spec: &IssuerSpec,
    name: &IssuerName,
    pem: &ChainPem,
    token: &ConfiguredToken,
    metrics: &Arc<Metrics>,
    now: Timestamp,
) -> Result<Proven, NotProven> {
    let Checked {
        chain,
        wanted,
        rules,
        pods,
    } = check(spec, pem, now)?;
    let key = token
        .find_key(name.scope(), &name.to_string(), wanted.selector(), metrics)
        .await
        .map_err(|source| NotProven::Token {
            token: spec.token.clone(),
            place: wanted.described().to_owned(),
            source,
        })?;
    let profile = profile(rules, key.limits()).map_err(NotProven::Profile)?;
    let issuer = Issuer::new(chain, profile, spec.signature_algorithm.explicit())
        .map_err(NotProven::Algorithm)?;
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| NotProven::Random)?;
    let probe = Probe::new(issuer.algorithm(), random);
    probe
        .prove(
            &key.for_requests_of(""),
            issuer.chain().issuing().public_key(),
        )
        .await
        .map_err(NotProven::Probe)?;
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
        pods,
    };
    Ok(Proven {
        ready: Arc::new(ready),
        token: described,
    })
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
    let chain =
        IssuerChain::parse(&pem.chain, pem.root.as_deref()).map_err(NotProven::Certificate)?;
    chain.check_at(now).map_err(NotProven::Certificate)?;
    let root_needed = spec.ca == CaField::Root || spec.append_root_to_kubernetes_csr;
    if root_needed && !chain.has_root() {
        return Err(NotProven::RootMissing);
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
        allow_ca: true,
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

/// What the issuer's profile says, within what the grant of its key allows.
fn profile(rules: Rules, granted: &config::Limits) -> Result<Profile, ProfileError> {
    let allowed_dns = granted.allowed_dns.as_ref().map(|names| {
        names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()
    });
    let limits = Limits {
        allow_ca: granted.allow_ca,
        max_duration: granted.max_duration.map(GoDuration::signed),
        allowed_dns: allowed_dns
            .transpose()
            .map_err(|error: PatternError| ProfileError::new("sans.allowed.dns", error))?,
    };
    Profile::new(rules, limits)
}

impl NotProven {
    /// The reason of the `Ready` condition: stable, one word.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Certificate(ChainError::Expired { .. }) => "CertificateExpired",
            Self::Certificate(ChainError::NotYetValid { .. }) => "CertificateNotYetValid",
            Self::Certificate(_) => "CertificateInvalid",
            Self::Algorithm(_) => "AlgorithmUnsupported",
            Self::Profile(_) => "ProfileInvalid",
            Self::RootMissing => "RootMissing",
            Self::Pods(_) | Self::PodsTooShort => "PodCertificatesInvalid",
            Self::KeySpec(_) => "KeyInvalid",
            Self::Token { source, .. } => token_reason(source),
            Self::Probe(ProbeError::KeyMismatch(_)) => "KeyMismatch",
            Self::Probe(ProbeError::Sign(_)) => "ProbeFailed",
            Self::Random => "Internal",
        }
    }

    /// What to do, with every cause.
    #[must_use]
    pub fn message(&self) -> String {
        let mut text = Chain(self).to_string();
        if let Self::Token { source, .. } = self {
            text.push_str(&listed(source));
        }
        text
    }
}

fn token_reason(error: &HsmError) -> &'static str {
    match error {
        HsmError::Overloaded
        | HsmError::TimedOut
        | HsmError::WorkerLost { .. }
        | HsmError::Unavailable { .. }
        | HsmError::TokenFailed(_) => "TokenUnavailable",
        HsmError::LoginRefused { .. } => "LoginRefused",
        HsmError::Misconfigured { .. } => "TokenMisconfigured",
        HsmError::KeyNotFound { differing } if differing.is_empty() => "KeyNotFound",
        HsmError::KeyNotFound { .. } => "KeyMismatch",
        HsmError::SeveralKeys { .. } => "KeyAmbiguous",
        HsmError::AlwaysAuthenticate(_) | HsmError::KeyType(_) => "KeyUnusable",
        HsmError::MechanismRefused { .. } | HsmError::TokenRefused(_) => "TokenRefused",
        HsmError::BadRequest { .. } | HsmError::WrongAnswer => "Internal",
    }
}

/// The keys that an error is about; the caller has left out those that no grant covers.
fn listed(error: &HsmError) -> String {
    let (what, keys) = if let HsmError::KeyNotFound { differing } = error {
        ("; these have another public key: ", differing)
    } else if let HsmError::SeveralKeys { matching } = error {
        ("; name one of them by label and idHex: ", matching)
    } else {
        return String::new();
    };
    if keys.is_empty() {
        return String::new();
    }
    let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
    format!("{what}{}", names.join(", "))
}
