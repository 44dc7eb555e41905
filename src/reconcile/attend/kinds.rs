//! Starts the work on every kind of request that the operator enabled and that this cluster serves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future;
use k8s_openapi::api::certificates::{v1, v1beta1};
use kube::{Api, Client, api::ListParams};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    WokenRequests,
    asked::{Asked, AskedQueues},
    attend,
    drain::Ending,
};
use crate::{
    api::{GROUP, certificate_request::CertificateRequest},
    audit::RequestKind,
    metrics::Metrics,
    reconcile::{
        Context,
        call::{Trouble, WatchPause, is_right_or_kind_missing, serves},
        issuer::Woken,
        request::Request,
        trust,
    },
};

/// Pause before asking again whether the cluster serves a missing kind.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(4);

/// Kinds of requests to answer, and how many looks may be in progress.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredKinds {
    /// When to answer cert-manager's CertificateRequests.
    pub certificate_requests: CertificateRequests,
    /// Whether to answer Kubernetes CertificateSigningRequests.
    pub signing_requests: bool,
    /// Whether to answer PodCertificateRequests, if the cluster serves them.
    pub pod_certificates: bool,
    /// The most looks in progress for one kind of request and one token.
    pub concurrency: u16,
}

/// Policy on cert-manager's CertificateRequests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateRequests {
    /// Answers them as soon as the cluster serves the kind. The controller is ready without it.
    OnceServed,
    /// Answers them. The controller is not ready before the cluster serves the kind.
    Always,
    /// Does not answer them.
    Never,
}

/// Answers requests until `ending.stop` is cancelled, then drains until `ending.abandon` is cancelled.
///
/// Calls `ready` when it knows every request, of every kind, that existed at the start.
pub async fn answer(
    wanted: AnsweredKinds,
    mut woken: Woken,
    mut asked: AskedQueues,
    context: Arc<Context>,
    ready: impl FnOnce(),
    ending: Ending,
) {
    let stop = &ending.stop;
    let client = context.client.clone();
    let mut task = |kind| KindTask {
        woken: woken.take(kind),
        asked: asked.take(kind),
        concurrency: wanted.concurrency,
        context: Arc::clone(&context),
        known: CancellationToken::new(),
        ending: ending.clone(),
    };
    let requests = task(RequestKind::CertificateRequest);
    let signing = task(RequestKind::CertificateSigningRequest);
    let pods = task(RequestKind::PodCertificateRequest);
    let known = future::join3(
        requests.known.clone().cancelled_owned(),
        signing.known.clone().cancelled_owned(),
        pods.known.clone().cancelled_owned(),
    );
    let ready = async {
        if stop.run_until_cancelled(known).await.is_some() {
            ready();
        }
    };
    let requests = async {
        let optional = match wanted.certificate_requests {
            CertificateRequests::Never => return requests.known.cancel(),
            CertificateRequests::OnceServed => Some(requests.known.clone()),
            CertificateRequests::Always => None,
        };
        let fields = certificate_requests(&client, optional, &context.metrics);
        requests.run::<CertificateRequest>(fields).await;
    };
    let signing = async {
        if wanted.signing_requests {
            signing.run::<v1::CertificateSigningRequest>(every()).await;
        } else {
            signing.known.cancel();
        }
    };
    let pods = async {
        if !wanted.pod_certificates {
            return pods.known.cancel();
        }
        let served = pod_certificates(&client, &pods.known, &context.metrics);
        match stop.run_until_cancelled(served).await {
            Some(Served::V1) => pods.run::<v1::PodCertificateRequest>(every()).await,
            Some(Served::V1Beta1) => pods.run::<v1beta1::PodCertificateRequest>(every()).await,
            None => {}
        }
    };
    let sweep = async {
        if context.stored.are_known().await {
            trust::sweep(&context, stop).await;
        }
    };
    let sweep = stop.run_until_cancelled(sweep);
    tokio::join!(sweep, requests, signing, pods, ready);
}

/// The work on one kind of request.
struct KindTask {
    woken: WokenRequests,
    asked: Asked,
    concurrency: u16,
    context: Arc<Context>,
    /// Cancelled when every request is known.
    known: CancellationToken,
    ending: Ending,
}

impl KindTask {
    /// Waits for `fields`, the field selector, and until every issuer is known; then attends to the requests until the end.
    async fn run<R: Request>(self, fields: impl Future<Output = Option<String>>) {
        let Self {
            woken,
            asked,
            concurrency,
            context,
            known,
            ending,
        } = self;
        let found = async {
            let fields = fields.await;
            // Before every issuer is known, the status of a request would wrongly say that its issuer does not exist.
            context.stored.are_known().await.then_some(fields)
        };
        let found = ending.stop.run_until_cancelled(found).await;
        if let Some(fields) = found.flatten() {
            let attended = attend::<R>(fields, woken, asked, concurrency, context, known, ending);
            Box::pin(attended).await;
        }
    }
}

/// Returns no field selector, which selects every object of the kind.
async fn every() -> Option<String> {
    None
}

/// Returns a field selector for the issuer's group if the CRD has selectable fields (cert-manager 1.20 and later), else
/// `None`. Waits for cert-manager's CRDs; if they are missing, cancels `optional`, so that readiness does not wait for them.
async fn certificate_requests(
    client: &Client,
    optional: Option<CancellationToken>,
    metrics: &Arc<Metrics>,
) -> Option<String> {
    let selector = format!("spec.issuerRef.group={GROUP}");
    let api = Api::<CertificateRequest>::all(client.clone());
    let one = ListParams::default().fields(&selector).limit(1);
    let mut pause = WatchPause::new();
    let mut trouble = Trouble::of(RequestKind::CertificateRequest.as_str(), metrics);
    loop {
        match (api.list(&one).await, &optional) {
            (Ok(_), _) => return Some(selector),
            (Err(kube::Error::Api(status)), _) if status.code == 400 => {
                info!(
                    "this version of cert-manager cannot select requests by issuer; the controller filters them itself"
                );
                return None;
            }
            (Err(kube::Error::Api(status)), Some(known)) if status.code == 404 => {
                if !known.is_cancelled() {
                    info!(
                        "this cluster does not serve CertificateRequests yet; the controller answers them once cert-manager is installed"
                    );
                    known.cancel();
                }
                sleep(ASK_AGAIN_AFTER).await;
            }
            (Err(error), _) => {
                trouble.report(&error);
                sleep(pause.after(is_right_or_kind_missing(&error), Instant::now())).await;
            }
        }
    }
}

/// The newest version of PodCertificateRequests that both the cluster and the controller support.
enum Served {
    V1,
    V1Beta1,
}

/// Waits until the cluster serves PodCertificateRequests; until then, cancels `known`, so that readiness does not wait.
async fn pod_certificates(
    client: &Client,
    known: &CancellationToken,
    metrics: &Arc<Metrics>,
) -> Served {
    let mut trouble = Trouble::of(RequestKind::PodCertificateRequest.as_str(), metrics);
    loop {
        for (version, served) in [
            ("certificates.k8s.io/v1", Served::V1),
            ("certificates.k8s.io/v1beta1", Served::V1Beta1),
        ] {
            if serves(client, version, "podcertificaterequests", &mut trouble).await {
                return served;
            }
        }
        if !known.is_cancelled() {
            warn!(
                "this Kubernetes cluster does not serve PodCertificateRequests yet; the controller answers them once it does"
            );
            known.cancel();
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}
