//! Establishes whether an issuer can sign: token, PIN, certificate, key, and a probe signature that verifies.

use std::sync::Arc;

use hsm::{HsmError, TokenInfo, TokenState};

use super::{
    Context,
    issuers::{IssuerName, ReadyIssuer},
    key::{KeySpecError, Wanted},
    material::{self, MaterialError},
    now,
};
use crate::{
    api::{
        issuer::{CaField, IssuerSpec},
        profile::ProfileSpec,
    },
    config,
    duration::GoDuration,
    issuance::{
        ChainError, Issuer, IssuerChain, IssuerError, Limits, Probe, ProbeError, Profile,
        ProfileError, pattern::PatternError,
    },
    pins::source::PinSecret,
    signers::ConfiguredToken,
    telemetry::Chain,
};

/// An issuer that can sign, and what its token says of itself.
#[derive(Debug)]
pub struct Established {
    /// The snapshot that requests are signed with.
    pub ready: Arc<ReadyIssuer>,
    /// The token, if it did not go away meanwhile.
    pub token: Option<TokenInfo>,
}

/// Why an issuer cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The operator has no such token.
    #[error("the operator's configuration has no token {0:?}; name one that it has")]
    TokenUnknown(String),
    /// The token's PIN comes from its issuers.
    #[error("token {0:?} takes its PIN from its issuers; give spec.pinSecretRef")]
    PinRequired(String),
    /// The token's PIN comes from elsewhere.
    #[error("token {0:?} does not take its PIN from this issuer; remove spec.pinSecretRef")]
    PinNotTaken(String),
    /// A token has one PIN.
    #[error(
        "another issuer of token {token:?} takes the PIN from Secret {namespace}/{name}; name the same one"
    )]
    PinConflict {
        /// The token.
        token: String,
        /// Namespace of the other Secret.
        namespace: String,
        /// The other Secret.
        name: String,
    },
    /// No certificate.
    #[error("no issuing certificate")]
    Material(#[source] MaterialError),
    /// A certificate that cannot issue.
    #[error("the issuing certificate is not fit")]
    Certificate(#[source] ChainError),
    /// A profile that contradicts itself or its grant.
    #[error("spec.profile is not sound")]
    Profile(#[source] ProfileError),
    /// A signature algorithm that the key cannot do.
    #[error("no signature algorithm")]
    Algorithm(#[source] IssuerError),
    /// `ca: Root` without a root.
    #[error(
        "spec.ca is Root and no root certificate is given; add it under rootKey, to the chain, or choose another value"
    )]
    RootMissing,
    /// A key that cannot be looked for.
    #[error("spec.key cannot be used")]
    KeySpec(#[source] KeySpecError),
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

/// Goes through everything that a signature will need. Waits for the token no longer than a signature would.
///
/// # Errors
/// The first thing that is missing.
pub async fn establish(
    spec: &IssuerSpec,
    name: &IssuerName,
    context: &Context,
) -> Result<Established, NotReady> {
    let token = context
        .tokens
        .get(&spec.token)
        .ok_or_else(|| NotReady::TokenUnknown(spec.token.clone()))?;
    let namespace = name
        .namespace
        .as_deref()
        .unwrap_or(&context.cluster_resource_namespace);
    hand_over_pin(spec, name, namespace, token)?;
    let pem = material::read(&context.client, namespace, &spec.certificate)
        .await
        .map_err(NotReady::Material)?;
    let chain =
        IssuerChain::parse(&pem.chain, pem.root.as_deref()).map_err(NotReady::Certificate)?;
    chain.check_at(now()).map_err(NotReady::Certificate)?;
    if spec.ca == CaField::Root && !chain.has_root() {
        return Err(NotReady::RootMissing);
    }
    let wanted =
        Wanted::new(spec.key.as_ref(), chain.issuing().spki_der()).map_err(NotReady::KeySpec)?;
    let key = token
        .find_key(
            name.scope(),
            &name.to_string(),
            wanted.selector(),
            &context.metrics,
        )
        .await
        .map_err(|source| NotReady::Token {
            token: spec.token.clone(),
            place: wanted.described().to_owned(),
            source,
        })?;
    let profile = profile(spec.profile.clone(), key.limits()).map_err(NotReady::Profile)?;
    let issuer = Issuer::new(chain, profile, spec.signature_algorithm.explicit())
        .map_err(NotReady::Algorithm)?;
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| NotReady::Random)?;
    let probe = Probe::new(issuer.algorithm(), random);
    probe
        .prove(
            &key.for_requests_of(""),
            issuer.chain().issuing().public_key(),
        )
        .await
        .map_err(NotReady::Probe)?;
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
        wanted.check_token(token).map_err(NotReady::KeySpec)?;
    }
    let ready = ReadyIssuer {
        issuer: Arc::new(issuer),
        key,
        ca: spec.ca,
        serial: spec.profile.serial.source,
    };
    Ok(Established {
        ready: Arc::new(ready),
        token: described,
    })
}

fn hand_over_pin(
    spec: &IssuerSpec,
    name: &IssuerName,
    namespace: &str,
    token: &ConfiguredToken,
) -> Result<(), NotReady> {
    match (token.takes_pin_from(name.scope()), &spec.pin_secret_ref) {
        (false, None) => Ok(()),
        (false, Some(_)) => Err(NotReady::PinNotTaken(spec.token.clone())),
        (true, None) => Err(NotReady::PinRequired(spec.token.clone())),
        (true, Some(at)) => {
            let secret = PinSecret {
                namespace: namespace.to_owned(),
                name: at.name.clone(),
                key: at.key.clone(),
            };
            let agreed = token.name_pin_secret(&secret);
            agreed.map_err(|other| NotReady::PinConflict {
                token: spec.token.clone(),
                namespace: other.namespace,
                name: other.name,
            })
        }
    }
}

/// What the issuer's profile says, within what the grant of its key allows.
fn profile(spec: ProfileSpec, granted: &config::Limits) -> Result<Profile, ProfileError> {
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
    Profile::new(spec.try_into()?, limits)
}

impl NotReady {
    /// The reason of the `Ready` condition: stable, one word.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TokenUnknown(_) => "TokenUnknown",
            Self::PinRequired(_) => "PinRequired",
            Self::PinNotTaken(_) => "PinNotTaken",
            Self::PinConflict { .. } => "PinConflict",
            Self::Material(MaterialError::Api { .. }) => "CertificateUnreadable",
            Self::Material(_) => "CertificateMissing",
            Self::Certificate(ChainError::Expired { .. }) => "CertificateExpired",
            Self::Certificate(ChainError::NotYetValid { .. }) => "CertificateNotYetValid",
            Self::Certificate(_) => "CertificateInvalid",
            Self::Algorithm(_) => "AlgorithmUnsupported",
            Self::Profile(_) => "ProfileInvalid",
            Self::RootMissing => "RootMissing",
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
