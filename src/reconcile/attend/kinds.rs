//! Every kind of request that the operator wants answered and that this cluster has.

use std::{sync::Arc, time::Duration};

use futures::future;
use k8s_openapi::api::certificates::{v1, v1beta1};
use kube::{Api, Client, api::ListParams};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{WokenRequests, attend, drain::Ending};
use crate::{
    api::{GROUP, certificate_request::CertificateRequest},
    audit::RequestKind,
    reconcile::{
        Context,
        issuer::Woken,
        request::Request,
        trust::{self, TrustBundles},
    },
    telemetry::Chain,
};

const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What the operator wants answered besides CertificateRequests.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Kubernetes' CertificateSigningRequests.
    pub signing_requests: bool,
    /// Kubernetes' PodCertificateRequests, where the cluster has them.
    pub pod_certificates: bool,
    /// How many requests of a kind are worked on at the same time.
    pub concurrency: u16,
}

/// Answers requests until it is told to stop, and to the end of what has begun, unless that is abandoned. `ready` is called
/// when every request of every kind that was there at the start is known.
pub async fn answer(
    wanted: Wanted,
    mut woken: Woken,
    context: Arc<Context>,
    ready: impl FnOnce(),
    ending: Ending,
) {
    let stop = &ending.stop;
    let client = context.client.clone();
    let mut shift = |kind| Shift {
        woken: woken.take(kind),
        concurrency: wanted.concurrency,
        context: Arc::clone(&context),
        known: CancellationToken::new(),
        ending: ending.clone(),
    };
    let requests = shift(RequestKind::CertificateRequest);
    let signing = shift(RequestKind::CertificateSigningRequest);
    let pods = shift(RequestKind::PodCertificateRequest);
    let known = future::join3(
        requests.known.clone().cancelled_owned(),
        signing.known.clone().cancelled_owned(),
        pods.known.clone().cancelled_owned(),
    );
    let ready = async {
        tokio::select! {
            _ = known => ready(),
            () = stop.cancelled() => {}
        }
    };
    let signing = async {
        if wanted.signing_requests {
            signing.work::<v1::CertificateSigningRequest>(every()).await;
        } else {
            signing.known.cancel();
        }
    };
    let pods = async {
        let served = async {
            match wanted.pod_certificates {
                true => pod_certificates(&client).await,
                false => None,
            }
        };
        let served = tokio::select! {
            served = served => served,
            () = stop.cancelled() => None,
        };
        match served {
            Some(Served::V1) => {
                pods.work::<v1::PodCertificateRequest>(every()).await;
            }
            Some(Served::V1Beta1) => {
                pods.work::<v1beta1::PodCertificateRequest>(every()).await;
            }
            None => pods.known.cancel(),
        }
    };
    let sweep = async {
        let known = tokio::try_join!(
            context.stored.namespaced.wait_until_ready(),
            context.stored.cluster.wait_until_ready(),
        );
        if known.is_ok() {
            trust::sweep(&context, stop).await;
        }
    };
    let sweep = async {
        tokio::select! {
            () = sweep => {}
            () = stop.cancelled() => {}
        }
    };
    tokio::join!(
        sweep,
        requests.work::<CertificateRequest>(certificate_requests(&client)),
        signing,
        pods,
        ready
    );
}

/// What it takes to answer one kind.
struct Shift {
    woken: WokenRequests,
    concurrency: u16,
    context: Arc<Context>,
    /// Cancelled when every request is known.
    known: CancellationToken,
    ending: Ending,
}

impl Shift {
    /// Waits for what the API server is to be asked for and until every issuer is known, then watches until the end.
    async fn work<R: Request>(self, fields: impl Future<Output = Option<String>>) {
        let Self {
            woken,
            concurrency,
            context,
            known,
            ending,
        } = self;
        let found = async {
            let fields = fields.await;
            // Before every issuer is known, a request would be told that its issuer is missing. An error means that
            // the watches have stopped, as they do with `stop`.
            let issuers = tokio::try_join!(
                context.stored.namespaced.wait_until_ready(),
                context.stored.cluster.wait_until_ready(),
            );
            issuers.ok().map(|_| fields)
        };
        let fields = tokio::select! {
            Some(fields) = found => fields,
            () = ending.stop.cancelled() => return,
            else => return,
        };
        attend::<R>(fields, woken, concurrency, context, known, ending).await;
    }
}

/// Returns no field selector: every object of the kind.
async fn every() -> Option<String> {
    None
}

/// Returns the field selector of the issuer's group where the CRD has selectable fields (cert-manager 1.20 and later), else
/// none. Waits for cert-manager's CRDs.
async fn certificate_requests(client: &Client) -> Option<String> {
    let selector = format!("spec.issuerRef.group={GROUP}");
    let api = Api::<CertificateRequest>::all(client.clone());
    loop {
        match api
            .list(&ListParams::default().fields(&selector).limit(1))
            .await
        {
            Ok(_) => return Some(selector),
            Err(kube::Error::Api(status)) if status.code == 400 => {
                info!("this cert-manager cannot select requests by issuer; filtering here");
                return None;
            }
            Err(error) => {
                warn!(error = %Chain(&error), "failed to list CertificateRequests; is cert-manager installed?");
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
        }
    }
}

/// The newest version of PodCertificateRequests that the cluster serves and we know.
enum Served {
    V1,
    V1Beta1,
}

async fn pod_certificates(client: &Client) -> Option<Served> {
    for (version, served) in [
        ("certificates.k8s.io/v1", Served::V1),
        ("certificates.k8s.io/v1beta1", Served::V1Beta1),
    ] {
        if serves(client, version, "podcertificaterequests").await {
            return Some(served);
        }
    }
    warn!("this Kubernetes has no PodCertificateRequests; none is answered");
    None
}

/// Where trust anchors are published: the newest version of ClusterTrustBundles that the cluster serves and we know.
pub async fn trust_bundles(client: &Client) -> Option<TrustBundles> {
    for version in ["v1", "v1beta1"] {
        let group = format!("certificates.k8s.io/{version}");
        if serves(client, &group, "clustertrustbundles").await {
            return Some(TrustBundles::of_version(version));
        }
    }
    warn!("this Kubernetes has no ClusterTrustBundles; none is published");
    None
}

/// Whether the API server serves a resource. Asks until it answers.
async fn serves(client: &Client, version: &str, resource: &str) -> bool {
    loop {
        match client.list_api_group_resources(version).await {
            Ok(list) => return list.resources.iter().any(|one| one.name == resource),
            Err(kube::Error::Api(status)) if status.code == 404 => return false,
            Err(error) => {
                warn!(error = %Chain(&error), version, "failed to ask what the API server serves");
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
        }
    }
}
