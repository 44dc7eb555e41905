//! Publishes the trust anchors of issuers: of those that serve pods as ClusterTrustBundles linked to their signer names, so
//! that a pod gets its certificate and its trust anchors from projected volumes alone, and of cluster issuers as ConfigMaps,
//! which trust-manager distributes.

mod anchors;
mod discovery;
mod place;

use std::time::Duration;

use jiff::SignedDuration;
use kube::{
    ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
    },
};
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use self::discovery::TrustBundles;
use self::{anchors::BundleAnchors, place::TrustPlace};
use super::{Context, call::is_missing};
use crate::{
    api::{FIELD_MANAGER, IssuerName, issuer::RetiringStatus},
    pipeline::now,
    telemetry::{ErrorChain, log_seldom},
};

/// How often bundles of deleted issuers are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// The longest lifetime that Kubernetes allows a pod's certificate (`spec.maxExpirationSeconds`).
const LONGEST: SignedDuration = SignedDuration::from_hours(91 * 24);

/// Failure to read or write a bundle.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    /// The API server refused, or did not answer.
    #[error("failed to {verb} {what}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// Kind and name of the bundle.
        what: String,
        /// The cause.
        source: kube::Error,
    },
    /// Somebody else's object has the name of a bundle.
    #[error("{0} is not ours; delete it, or rename the issuer")]
    Foreign(String),
    /// Another replica wrote the bundle at the same time.
    #[error("{0} has just been changed by another replica; trying again")]
    Conflict(String),
}

/// The trust anchors of an issuer from now on.
#[derive(Debug)]
pub(super) struct NewAnchors {
    /// Those of the CA that signs and of the next one, in PEM.
    pub(super) current: String,
    /// Those of former CAs, with their ends.
    pub(super) retiring: Vec<RetiringStatus>,
    /// How long any other anchor stays that the bundle has.
    pub(super) longest: SignedDuration,
    /// Whether the issuer serves pods.
    pub(super) serves_pods: bool,
}

/// Publishes the anchors of an issuer, wherever the operator wants it. A failure is logged and returned, and the next look at
/// the issuer tries again.
pub(super) async fn publish(
    anchors: &NewAnchors,
    name: &IssuerName,
    context: &Context,
) -> Option<String> {
    let mut unpublished = None;
    for place in TrustPlace::of(name, anchors.serves_pods, context) {
        let done = async {
            let before = place.api(context).get_opt(&place.name()).await;
            let before = before.map_err(|source| failed("read", &place, source))?;
            renew(&place, before.as_ref(), anchors, context).await
        };
        if let Err(error) = done.await {
            let error = ErrorChain(&error).to_string();
            log_seldom!(warn, &error, issuer = %name, error, "failed to publish trust anchors");
            unpublished = Some(error);
        }
    }
    unpublished
}

/// Retires the anchors of issuers that are deleted or no longer serve pods, and deletes bundles that have no anchor
/// left, until `stop`. Call it when every issuer is known.
pub(super) async fn sweep(context: &Context, stop: &CancellationToken) {
    if context.trust.is_none() && !context.settings.trust_config_maps {
        return;
    }
    loop {
        stop.run_until_cancelled(sweep_all(context)).await;
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn sweep_all(context: &Context) {
    let told = |error: &TrustError| {
        let error = ErrorChain(error).to_string();
        log_seldom!(warn, &error, error, "failed to sweep trust bundles");
    };
    if context.settings.trust_config_maps
        && let Err(error) = sweep_maps(context).await
    {
        told(&error);
    }
    let Some(bundles) = &context.trust else {
        return;
    };
    let Some(kind) = bundles.kind() else {
        bundles.discover(&context.client, &context.metrics).await;
        return;
    };
    if let Err(error) = sweep_bundles(&kind, context).await {
        told(&error);
        if is_missing(&error) {
            bundles.discover(&context.client, &context.metrics).await;
        }
    }
}

async fn sweep_maps(context: &Context) -> Result<(), TrustError> {
    for map in list(&TrustPlace::any_map(context), context).await? {
        let issuer = place::issuer_of_map(&map);
        let gone = issuer.is_none_or(|name| {
            let name = IssuerName {
                namespace: None,
                name: name.to_owned(),
            };
            context
                .stored
                .get(&name)
                .is_none_or(|stored| !stored.is_ours)
        });
        if gone && is_own(&map, context) {
            let place = TrustPlace::existing_map(&map);
            renew(&place, Some(&map), &NewAnchors::none(), context).await?;
        }
    }
    Ok(())
}

async fn sweep_bundles(kind: &ApiResource, context: &Context) -> Result<(), TrustError> {
    for bundle in list(&TrustPlace::any_bundle(kind), context).await? {
        let signer = bundle.data.pointer("/spec/signerName");
        let signer = signer.and_then(|name| name.as_str()).unwrap_or_default();
        let Some(issuer) = IssuerName::from_signer_name(signer) else {
            continue;
        };
        let gone = context
            .stored
            .get(&issuer)
            .is_none_or(|stored| stored.is_ours && !stored.serves_pods);
        if gone && is_own(&bundle, context) {
            let place = TrustPlace::bundle(kind, signer);
            renew(&place, Some(&bundle), &NewAnchors::none(), context).await?;
        }
    }
    Ok(())
}

async fn list(
    place: &TrustPlace,
    context: &Context,
) -> Result<impl IntoIterator<Item = DynamicObject>, TrustError> {
    let ours = ListParams::default().labels(place.labels());
    let list = place.api(context).list(&ours).await;
    list.map_err(|source| failed("list", place, source))
}

/// Returns whether no other replica owns this bundle.
fn is_own(bundle: &DynamicObject, context: &Context) -> bool {
    let uid = bundle.uid().unwrap_or_default();
    context.ownership.owns(None, &uid)
}

/// Brings one bundle up to date. Writes only if something has changed.
async fn renew(
    place: &TrustPlace,
    before: Option<&DynamicObject>,
    new: &NewAnchors,
    context: &Context,
) -> Result<(), TrustError> {
    if before.is_some_and(|before| !place.is_ours(before)) {
        return Err(TrustError::Foreign(place.to_string()));
    }
    let known = before.map(|object| place.read(object)).unwrap_or_default();
    let anchors = known.renewed(&new.current, &new.retiring, now(), new.longest.min(LONGEST));
    if before.is_some() && anchors == known {
        return Ok(());
    }
    let resource_version = before.and_then(kube::ResourceExt::resource_version);
    if anchors.is_empty() {
        let preconditions = Preconditions {
            resource_version,
            uid: None,
        };
        let params = DeleteParams::default().preconditions(preconditions);
        let deleted = place.api(context).delete(&place.name(), &params).await;
        deleted.map_err(|source| failed("delete", place, source))?;
        info!(bundle = %place, "deleted a trust bundle without trust anchors");
        return Ok(());
    }
    // A bundle that was created in the meantime is not overwritten: the API server changes no existing bundle without a
    // resourceVersion.
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let body = Patch::Apply(place.body(resource_version, &anchors));
    match place
        .api(context)
        .patch(&place.name(), &params, &body)
        .await
    {
        Ok(_) => {
            let retiring = anchors.retiring().len();
            info!(bundle = %place, retiring, "published trust anchors");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            Err(TrustError::Conflict(place.to_string()))
        }
        Err(source) => Err(failed("write", place, source)),
    }
}

impl NewAnchors {
    /// Those of an issuer that is gone.
    const fn none() -> Self {
        Self {
            current: String::new(),
            retiring: Vec::new(),
            longest: LONGEST,
            serves_pods: false,
        }
    }
}

fn failed(verb: &'static str, place: &TrustPlace, source: kube::Error) -> TrustError {
    TrustError::Api {
        verb,
        what: place.to_string(),
        source,
    }
}
