//! Establishes whether an issuer of the cluster can sign: checks its token, its PIN and its certificates, then proves
//! its key.

use std::{sync::Arc, time::Instant};

use kube::core::{ParseExpressionError, Selector};

use super::material::{MaterialError, Reads};
use crate::{
    api::{
        IssuerName,
        issuer::{IssuerSpec, OnDelete, Reason},
    },
    config::Labels,
    issuance::IssuerChain,
    pins::source::PinSecret,
    pipeline::{Earlier, NotProven, Proven, SigningClaim, now, prove, prove::check_granted},
    reconcile::Context,
    revocation::CrlConflict,
    signers::ConfiguredToken,
    telemetry::ErrorChain,
};

/// Why an issuer cannot sign.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    /// The operator has no such token.
    #[error("the operator's configuration has no token {0:?}; name one that it has")]
    TokenUnknown(String),
    /// The token's PIN comes from its issuers.
    #[error("token {0:?} takes its PIN from its issuers; set spec.pinSecretRef")]
    PinRequired(String),
    /// The token's PIN comes from elsewhere.
    #[error("token {0:?} does not take its PIN from this issuer; remove spec.pinSecretRef")]
    PinNotTaken(String),
    /// Another issuer of the token names a different PIN Secret, but a token has one PIN.
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
    /// A namespaced issuer with a selector of namespaces.
    #[error("spec.namespaceSelector is for cluster issuers; remove it")]
    SelectorNotTaken,
    /// A selector that is not valid.
    #[error("spec.namespaceSelector cannot be used")]
    Selector(#[source] ParseExpressionError),
    /// The labels of the issuer's namespace, on which grants depend, cannot be read.
    #[error(
        "failed to read the labels of namespace {namespace}, on which a grant of the token depends"
    )]
    Namespace {
        /// The namespace.
        namespace: String,
        /// The cause.
        source: Arc<kube::Error>,
    },
    /// The certificate chain is missing or cannot be read.
    #[error("no issuing certificate")]
    Material(#[source] MaterialError),
    /// The operator has not enabled CRLs.
    #[error(
        "spec.crl is set, but this controller makes no CRLs; the operator has to set crl.enabled in the chart (--crl-address), or remove spec.crl"
    )]
    CrlDisabled,
    /// The operator has not enabled the revocation of deleted Certificates.
    #[error(
        "spec.crl.onDelete is Revoke, but this controller does not watch Certificates; the operator has to set crl.onDelete in the chart (--revoke-deleted-certificates), or remove onDelete"
    )]
    OnDeleteDisabled,
    /// Another issuer of the same CA says something else about its CRLs.
    #[error(transparent)]
    CrlConflict(CrlConflict),
    /// The grant, the certificates, the token or the key do not pass a check.
    #[error(transparent)]
    NotProven(#[from] Arc<NotProven>),
}

/// An issuer whose token is configured. If the issuer names a PIN Secret, the token knows the Secret.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The token that it names.
    pub token: Arc<ConfiguredToken>,
    labels: Labels,
}

/// Makes the checks that need no started token, and tells the token which PIN Secret the issuer names. Reads the labels of
/// namespaces as they are at `since` or later.
///
/// # Errors
/// The first thing that is missing.
pub(super) async fn prepare(
    spec: &IssuerSpec,
    name: &IssuerName,
    since: Instant,
    reads: &Reads,
    context: &Context,
) -> Result<Prepared, NotReady> {
    context
        .tokens
        .forget_issuer(&name.to_string(), Some(&spec.token));
    let token = context
        .tokens
        .get(&spec.token)
        .ok_or_else(|| NotReady::TokenUnknown(spec.token.clone()))?;
    let labels = match &name.namespace {
        // Labels are read at every look, so that a grant ends with the next look after the removal of its label.
        Some(namespace) if token.selects_namespaces() => {
            let read = reads.labels(&context.client, namespace, since).await;
            read.map_err(|source| NotReady::Namespace {
                namespace: namespace.clone(),
                source,
            })?
        }
        Some(_) | None => Labels::new(),
    };
    check_granted(name, &labels, token.config()).map_err(Arc::new)?;
    if spec.crl.is_some() && !context.register.is_enabled() {
        return Err(NotReady::CrlDisabled);
    }
    let crl = spec.crl.as_ref();
    if crl.is_some_and(|crl| crl.on_delete == OnDelete::Revoke) && !context.deleted.is_enabled() {
        return Err(NotReady::OnDeleteDisabled);
    }
    token.pin_may_have_changed();
    match (&spec.namespace_selector, &name.namespace) {
        (Some(_), Some(_)) => return Err(NotReady::SelectorNotTaken),
        (Some(selector), None) => {
            Selector::try_from(selector.clone()).map_err(NotReady::Selector)?;
        }
        (None, _) => {}
    }
    hand_over_pin(spec, name, namespace_of(name, context), &token)?;
    Ok(Prepared { token, labels })
}

/// Result of a look.
#[derive(Debug)]
pub(super) struct Found {
    /// The certificates as they are stored now; `None` if they were not read or cannot be used.
    pub chain: Option<Arc<IssuerChain>>,
    /// Whether the issuer can sign, or the first thing that is missing.
    pub proven: Result<Proven, NotReady>,
}

impl From<NotReady> for Found {
    /// Builds the result of a look that found no usable certificates.
    fn from(why: NotReady) -> Self {
        Self {
            chain: None,
            proven: Err(why),
        }
    }
}

/// Checks everything else that a signature needs, as it is at `since` or later. Waits for the token no longer than a
/// signature would.
pub(super) async fn establish(
    prepared: &Prepared,
    spec: &IssuerSpec,
    name: &IssuerName,
    earlier: Option<Earlier<'_>>,
    since: Instant,
    reads: &Reads,
    context: &Context,
) -> Found {
    let Prepared { token, labels } = prepared;
    let known = earlier.map(|earlier| earlier.ready.certificates());
    let (client, namespace) = (&context.client, namespace_of(name, context));
    let chain = reads.chain(client, namespace, &spec.certificate, since, known);
    let chain = match chain.await {
        Ok(chain) => chain,
        Err(why) => return NotReady::Material(why).into(),
    };
    let claim = SigningClaim {
        spec,
        name,
        labels,
        chain: &chain,
        token,
    };
    let proven = prove(claim, earlier, &reads.keys, since, &context.metrics, now());
    Found {
        proven: proven.await.map_err(NotReady::from),
        chain: chain.chain(),
    }
}

/// Returns the namespace of the objects that an issuer names.
pub(super) fn namespace_of<'a>(name: &'a IssuerName, context: &'a Context) -> &'a str {
    let own = name.namespace.as_deref();
    own.unwrap_or(&context.settings.cluster_resource_namespace)
}

fn hand_over_pin(
    spec: &IssuerSpec,
    name: &IssuerName,
    namespace: &str,
    token: &ConfiguredToken,
) -> Result<(), NotReady> {
    match (
        token.takes_pin_from(name.scope(&Labels::new())),
        &spec.pin_secret_ref,
    ) {
        (false, None) => Ok(()),
        (false, Some(_)) => Err(NotReady::PinNotTaken(spec.token.clone())),
        (true, None) => Err(NotReady::PinRequired(spec.token.clone())),
        (true, Some(at)) => {
            let secret = PinSecret {
                namespace: namespace.to_owned(),
                name: at.name.clone(),
                key: at.key.clone(),
            };
            let agreed = token.name_pin_secret(&name.to_string(), &secret);
            agreed.map_err(|other| NotReady::PinConflict {
                token: spec.token.clone(),
                namespace: other.namespace,
                name: other.name,
            })
        }
    }
}

impl NotReady {
    /// Returns the reason of the `Ready` condition.
    #[must_use]
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::TokenUnknown(_) => Reason::TokenUnknown,
            Self::PinRequired(_) => Reason::PinRequired,
            Self::PinNotTaken(_) => Reason::PinNotTaken,
            Self::PinConflict { .. } => Reason::PinConflict,
            Self::SelectorNotTaken | Self::Selector(_) => Reason::NamespaceSelectorInvalid,
            Self::Namespace { .. } => Reason::NamespaceUnreadable,
            Self::Material(MaterialError::Api { .. }) => Reason::CertificateUnreadable,
            Self::Material(_) => Reason::CertificateMissing,
            Self::CrlDisabled | Self::OnDeleteDisabled => Reason::CrlDisabled,
            Self::CrlConflict(_) => Reason::CrlConflict,
            Self::NotProven(why) => why.reason(),
        }
    }

    /// Returns the message of the `Ready` condition: what to do, with every cause.
    #[must_use]
    pub(super) fn message(&self) -> String {
        match self {
            Self::NotProven(why) => why.message(),
            Self::TokenUnknown(_)
            | Self::PinRequired(_)
            | Self::PinNotTaken(_)
            | Self::PinConflict { .. }
            | Self::SelectorNotTaken
            | Self::Selector(_)
            | Self::Namespace { .. }
            | Self::CrlDisabled
            | Self::OnDeleteDisabled
            | Self::CrlConflict(_)
            | Self::Material(_) => ErrorChain(self).to_string(),
        }
    }
}
