//! Publishes the trust anchors of issuers that serve pods, as ClusterTrustBundles linked to their signer names. A pod
//! then gets its certificate and its trust anchors from projected volumes alone.

mod anchors;
mod discovery;

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::anchors::BundleAnchors;
pub use self::discovery::TrustBundles;
use super::{Context, trouble::is_missing};
use crate::{
    api::{FIELD_MANAGER, IssuerName},
    issuance::CaField,
    pipeline::{ReadyIssuer, now},
    telemetry::ErrorChain,
};

/// Label that marks our bundles, with the value [`MANAGER`].
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "pkcs11-issuer";
/// Annotation with the retiring anchors: JSON that maps the SHA-256 of an anchor's DER to the time of its removal.
const RETIRING: &str = "pkcs11-issuer.dev/retiring";
/// How often bundles of deleted issuers are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// The longest lifetime that Kubernetes allows a pod's certificate (`spec.maxExpirationSeconds`).
const LONGEST: SignedDuration = SignedDuration::from_hours(91 * 24);

/// Failure to read or write a bundle.
#[derive(Debug, thiserror::Error)]
#[error("failed to {verb} ClusterTrustBundle {name}")]
pub(super) struct TrustError {
    verb: &'static str,
    name: String,
    source: kube::Error,
}

/// Publishes the anchors of an issuer if it serves pods. A failure is logged, and the next look at the issuer tries
/// again.
pub(super) async fn publish(issuer: &ReadyIssuer, name: &IssuerName, context: &Context) {
    let kind = context.trust.as_ref().and_then(TrustBundles::kind);
    let (Some(kind), Some(_)) = (kind, &issuer.pods) else {
        return;
    };
    let chain = issuer.issuer.chain();
    let current = chain
        .ca_pem(CaField::Root)
        .or_else(|| chain.ca_pem(CaField::Issuing))
        .unwrap_or_default();
    let longest = issuer.issuer.profile().longest().min(LONGEST);
    let signer = name.signer_name();
    let done = async {
        let bundle = bundle_name(&signer);
        let before = api(&kind, context).get_opt(&bundle).await;
        let before = before.map_err(|source| failed("read", &bundle, source))?;
        renew(&kind, &signer, before.as_ref(), &current, longest, context).await
    };
    if let Err(error) = done.await {
        warn!(issuer = %name, error = %ErrorChain(&error), "failed to publish trust anchors");
    }
}

/// Retires the anchors of issuers that are deleted or no longer serve pods, and deletes bundles that have no anchor
/// left, until `stop`. Call it when every issuer is known.
pub(super) async fn sweep(context: &Context, stop: &CancellationToken) {
    let Some(bundles) = &context.trust else {
        return;
    };
    loop {
        let swept = async {
            let Some(kind) = bundles.kind() else {
                bundles.discover(&context.client, &context.metrics).await;
                return;
            };
            if let Err(error) = sweep_once(&kind, context).await {
                warn!(error = %ErrorChain(&error), "failed to sweep trust bundles");
                if is_missing(&error) {
                    bundles.discover(&context.client, &context.metrics).await;
                }
            }
        };
        stop.run_until_cancelled(swept).await;
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn sweep_once(kind: &ApiResource, context: &Context) -> Result<(), TrustError> {
    let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let list = api(kind, context).list(&ours).await;
    for bundle in list.map_err(|source| failed("list", "", source))? {
        let signer = bundle.data.pointer("/spec/signerName");
        let signer = signer.and_then(|name| name.as_str()).unwrap_or_default();
        match IssuerName::from_signer_name(signer) {
            // Another replica owns this bundle.
            Some(_)
                if !context
                    .ownership
                    .owns(None, &bundle.uid().unwrap_or_default()) => {}
            Some(issuer)
                if context
                    .stored
                    .get(&issuer)
                    .is_none_or(|stored| stored.is_ours && !stored.serves_pods) =>
            {
                renew(kind, signer, Some(&bundle), "", LONGEST, context).await?;
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

fn api(kind: &ApiResource, context: &Context) -> Api<DynamicObject> {
    Api::all_with(context.client.clone(), kind)
}

/// Brings one bundle up to date. Writes only if something has changed.
async fn renew(
    kind: &ApiResource,
    signer: &str,
    before: Option<&DynamicObject>,
    current: &str,
    longest: SignedDuration,
    context: &Context,
) -> Result<(), TrustError> {
    let name = bundle_name(signer);
    let known = before.map(read).unwrap_or_default();
    let anchors = known.renewed(current, now(), longest);
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
        let deleted = api(kind, context).delete(&name, &params).await;
        deleted.map_err(|source| failed("delete", &name, source))?;
        info!(
            bundle = name,
            "deleted a trust bundle without trust anchors"
        );
        return Ok(());
    }
    let body = json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "resourceVersion": resource_version,
            "labels": {MANAGED_BY: MANAGER},
            "annotations": {RETIRING: json!(anchors.retiring()).to_string()},
        },
        "spec": {"signerName": signer, "trustBundle": anchors.pem()},
    });
    // A bundle that was created in the meantime is not overwritten: the API server changes no existing bundle without a
    // resourceVersion.
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = api(kind, context)
        .patch(&name, &params, &Patch::Apply(body))
        .await;
    match written {
        Ok(_) => {
            info!(
                bundle = name,
                retiring = anchors.retiring().len(),
                "published trust anchors"
            );
            Ok(())
        }
        // Another writer was first; the next look sees the result.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(failed("write", &name, source)),
    }
}

fn read(bundle: &DynamicObject) -> BundleAnchors {
    let text = bundle.data.pointer("/spec/trustBundle");
    let retiring: BTreeMap<String, Timestamp> = bundle
        .annotations()
        .get(RETIRING)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    BundleAnchors::read(
        text.and_then(|text| text.as_str()).unwrap_or_default(),
        &retiring,
    )
}

/// Returns the name of a signer's bundle. It must begin with the signer's name, with colons for slashes.
fn bundle_name(signer: &str) -> String {
    format!("{}:trust-anchors", signer.replace('/', ":"))
}

fn failed(verb: &'static str, name: &str, source: kube::Error) -> TrustError {
    TrustError {
        verb,
        name: name.to_owned(),
        source,
    }
}
