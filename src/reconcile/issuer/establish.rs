//! Establishes whether an issuer of the cluster can sign: checks its token, its PIN and its certificates, then proves
//! its key.

use std::{sync::Arc, time::Instant};

use kube::core::Selector;

use super::{
    found_rollover::FoundRollover, material::Reads, not_ready::NotReady, rollover::SigningSide,
    seen::Seen,
};
use crate::{
    api::{
        IssuerName,
        issuer::{IssuerSpec, KeySpec, OnDelete},
    },
    config::Labels,
    issuance::IssuerChain,
    pins::source::PinSecret,
    pipeline::{Earlier, ParsedChain, Proven, SigningClaim, now, prove, prove::check_granted},
    reconcile::Context,
    signers::ConfiguredToken,
};

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
pub(in crate::reconcile) struct Found {
    /// The certificates of the key that signs, as they are stored now; `None` if they were not read or cannot be used.
    pub chain: Option<Arc<IssuerChain>>,
    /// Whether the issuer can sign, or the first thing that is missing.
    pub proven: Result<Proven, NotReady>,
    /// The present and the next CA; `None` if neither was looked at.
    pub rollover: Option<FoundRollover>,
}

impl From<NotReady> for Found {
    /// Builds the result of a look that found no usable certificates.
    fn from(why: NotReady) -> Self {
        Self {
            chain: None,
            proven: Err(why),
            rollover: None,
        }
    }
}

/// The results of earlier looks, of the present and of the next key.
#[derive(Clone, Debug, Default)]
pub(super) struct Earliers<'a>(pub Vec<Earlier<'a>>);

impl<'a> Earliers<'a> {
    fn certificates(&self) -> Vec<&'a Arc<ParsedChain>> {
        let all = self.0.iter();
        all.map(|earlier| earlier.ready.certificates()).collect()
    }

    /// Returns the result of the look that used these certificates, else the same issuing certificate.
    fn with(&self, certificates: &Arc<ParsedChain>) -> Option<Earlier<'a>> {
        let issuing = certificates.chain().map(|chain| chain.issuing().sha256());
        let all = || self.0.iter().copied();
        let same = all().find(|earlier| earlier.ready.certificates().is_same_as(certificates));
        same.or_else(|| {
            all().find(|earlier| Some(earlier.ready.issuer.chain().issuing().sha256()) == issuing)
        })
    }
}

/// Checks everything else that a signature needs, as it is at `since` or later. Waits for the token no longer than a
/// signature would. Until `spec.next` signs, its key is proved beside the present one.
pub(super) async fn establish(
    prepared: &Prepared,
    seen: Seen<'_>,
    name: &IssuerName,
    earlier: &Earliers<'_>,
    since: Instant,
    reads: &Reads,
    context: &Context,
) -> Found {
    let Prepared { token, labels } = prepared;
    let spec = seen.spec;
    let (client, namespace) = (&context.client, namespace_of(name, context));
    let known = earlier.certificates();
    let read = async |source| {
        let chain = reads.chain(client, namespace, source, since, &known);
        chain.await.map_err(NotReady::Material)
    };
    let present = read(&spec.certificate).await;
    let next = match &spec.next {
        Some(next) => Some((next, read(&next.certificate).await)),
        None => None,
    };
    let mut rollover = FoundRollover::new(&present, next.as_ref().map(|(_, chain)| chain));
    let side = rollover.signing(seen.status);
    let beside = rollover.beside(seen, now()).into();
    let prove = async |chain: Result<Arc<ParsedChain>, NotReady>, key: Option<&KeySpec>| {
        let chain = chain?;
        let claim = SigningClaim {
            spec,
            key,
            name,
            labels,
            chain: &chain,
            beside: &beside,
            token,
        };
        let earlier = earlier.with(&chain);
        let proven = prove(claim, earlier, &reads.keys, since, &context.metrics, now());
        proven.await.map_err(NotReady::from)
    };
    let (chain, proven) = match (side, next) {
        (SigningSide::Present, next) => {
            let proven = prove(present, spec.key.as_ref()).await;
            if let Some((next, chain)) = next
                && !rollover.is_same_ca()
            {
                rollover.proven = Some(prove(chain, next.key.as_ref()).await);
            }
            (rollover.present.clone(), proven)
        }
        (SigningSide::Next, Some((next, chain))) => {
            // The certificates of the former CA can be revoked until the last one has ended.
            if spec.crl.is_some() && !rollover.is_same_ca() {
                rollover.former = Some(prove(present, spec.key.as_ref()).await);
            }
            (rollover.next.clone(), prove(chain, next.key.as_ref()).await)
        }
        (SigningSide::Next, None) | (SigningSide::Undone, _) => {
            let why = present.err().unwrap_or(NotReady::RolloverUndone);
            (rollover.present.clone(), Err(why))
        }
    };
    Found {
        chain,
        proven,
        rollover: Some(rollover),
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
