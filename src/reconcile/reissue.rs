//! Has cert-manager renew the Certificates of issuers with `spec.reissue`, at their pace.
//!
//! A Certificate is judged by its request, which has the certificate. Its Secret, which also has the key, is never read.

mod plan;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{ByteString, NamespaceResourceScope};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde::de::DeserializeOwned;
use tracing::{debug, info};

use self::plan::{
    CertificateName, Judged, OutdatedCertificate, ReissuePlan, RenewalNeed, renewal_need,
};
use super::{
    Context,
    issuer::{Health, KnownHealth, Reissuing, ca_of},
    renewal::request_renewal,
};
use crate::{
    api::{
        GROUP, IssuerName,
        certificate::{Certificate, REVISION_ANNOTATION},
        certificate_request::{CertificateRequest, IssuerRef},
        issuer::{CaField, ReissueState, ReissueStatus},
    },
    issuance::outdated::{IssuedEarlier, Outdated},
    pipeline::{ReadyIssuer, now},
    telemetry::{ErrorChain, log_seldom},
};

/// How often the renewals go on.
const TICK: Duration = Duration::from_millis(500);
/// How often issuers with `spec.reissue` are looked for while there is none.
const IDLE: Duration = Duration::from_secs(5);
/// Objects per page of a list. Each page is held in memory as a whole.
const PAGE: u32 = 100;
/// The pause after the Certificates could not be read.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// Reason of the condition `Issuing` of a Certificate.
const REASON: &str = "Reissue";
/// Annotation of a CertificateRequest with the name of its Certificate.
const CERTIFICATE_NAME: &str = "cert-manager.io/certificate-name";

/// A re-issue, or the time before which none is tried.
enum Progress {
    Planned(ReissuePlan),
    Failed(Instant),
}

/// What a plan depends on: if it changes, the Certificates are judged anew.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Basis {
    uid: String,
    ca: String,
    profile_sha256: String,
    grant_sha256: Option<String>,
    /// The certificates that are published beside those of the CA.
    beside: Arc<[String]>,
}

/// Renews Certificates, for ever. Only the replica that owns an issuer does it.
pub async fn run_reissues(context: &Context) {
    if !context.stored.are_known().await {
        return;
    }
    let mut all = HashMap::<IssuerName, (Basis, Progress)>::new();
    loop {
        let pause = if all.is_empty() { IDLE } else { TICK };
        tokio::time::sleep(pause).await;
        let asked = context.stored.with_reissue();
        all.retain(|name, _| asked.iter().any(|one| one.name == *name));
        context
            .notes
            .reissues
            .lock()
            .retain(|name, _| asked.iter().any(|one| one.name == *name));
        for one in asked {
            if !context.ownership.owns(Some(&one.token), &one.uid) {
                all.remove(&one.name);
                continue;
            }
            let status = if context.settings.reissue {
                match ready(&one.name, &one.uid, context) {
                    Some(issuer) => advance(&one, &issuer, &mut all, context).await,
                    // The progress stays as it was while the issuer cannot sign.
                    None => continue,
                }
            } else {
                ReissueStatus {
                    state: ReissueState::NotAllowed,
                    message: "the operator of the controller has to set --reissue".to_owned(),
                    ..ReissueStatus::default()
                }
            };
            context.notes.reissues.lock().insert(one.name, status);
        }
    }
}

fn ready(name: &IssuerName, uid: &str, context: &Context) -> Option<Arc<ReadyIssuer>> {
    match context.issuers.get(name) {
        Some(KnownHealth {
            uid: of,
            health: Health::Ready(ready),
            ..
        }) if of == uid => Some(ready),
        Some(_) | None => None,
    }
}

/// Goes on with the re-issue of one issuer, and returns its progress.
async fn advance(
    one: &Reissuing,
    issuer: &ReadyIssuer,
    all: &mut HashMap<IssuerName, (Basis, Progress)>,
    context: &Context,
) -> ReissueStatus {
    let basis = Basis {
        uid: one.uid.clone(),
        ca: ca_of(issuer.issuer.chain()),
        profile_sha256: issuer.profile_sha256.to_string(),
        grant_sha256: issuer.key.grant_sha256().map(str::to_owned),
        beside: Arc::clone(&issuer.publish.beside),
    };
    let begun = Instant::now();
    let known = all.remove(&one.name).filter(|(of, _)| *of == basis);
    let progress = match known {
        Some((_, Progress::Planned(plan))) if !plan.is_over(begun) => Progress::Planned(plan),
        Some((_, Progress::Failed(until))) if until > begun => Progress::Failed(until),
        Some(_) | None => match plan(one, issuer, context).await {
            Ok(plan) => {
                let ReissueStatus {
                    total, left, stuck, ..
                } = plan.status(one.per_second);
                info!(issuer = %one.name, total, left, stuck, "judged the Certificates of an issuer");
                Progress::Planned(plan)
            }
            Err(error) => {
                let error = ErrorChain(&error).to_string();
                log_seldom!(warn, &error, issuer = %one.name, error, "failed to read Certificates; will try again");
                Progress::Failed(Instant::now() + AFTER_FAILURE)
            }
        },
    };
    let (progress, status) = match progress {
        Progress::Planned(mut plan) => {
            check(&mut plan, one.per_second, context).await;
            renew(&mut plan, one, context).await;
            let status = plan.status(one.per_second);
            (Progress::Planned(plan), status)
        }
        failed @ Progress::Failed(_) => {
            let status = ReissueStatus {
                state: ReissueState::Slowed,
                message: "the Certificates cannot be read; see the controller's log".to_owned(),
                ..ReissueStatus::default()
            };
            (failed, status)
        }
    };
    all.insert(one.name.clone(), (basis, progress));
    status
}

/// Reads all Certificates of an issuer and judges them by their requests.
async fn plan(
    one: &Reissuing,
    issuer: &ReadyIssuer,
    context: &Context,
) -> kube::Result<ReissuePlan> {
    let mut judged = Judged::new();
    for_each(one, context, |request: &CertificateRequest| {
        let judge = || {
            is_of(&request.spec.issuer_ref, &one.name).then_some(())?;
            let annotations = request.annotations();
            let name = CertificateName {
                namespace: request.namespace()?,
                name: annotations.get(CERTIFICATE_NAME)?.clone(),
            };
            let revision = annotations.get(REVISION_ANNOTATION)?.parse().ok()?;
            let status = request.status.as_ref()?;
            let chain = &status.certificate.as_ref()?.0;
            let mut earlier = IssuedEarlier::judge(chain, &issuer.issuer).ok()?;
            if lacks_root(status.ca.as_ref(), issuer) {
                earlier.outdated = earlier.outdated.or(Some(Outdated::LacksRoot));
            }
            Some(((name, revision), earlier))
        };
        judged.extend(judge());
    })
    .await?;
    let longest = issuer.issuer.profile().longest();
    let mut needs = Vec::<RenewalNeed>::new();
    for_each(one, context, |certificate: &Certificate| {
        if is_of(&certificate.spec.issuer_ref, &one.name) {
            needs.push(renewal_need(certificate, &judged, longest));
        }
    })
    .await?;
    Ok(ReissuePlan::new(needs, Instant::now()))
}

/// Returns whether the `ca` of a request lacks a certificate that new requests get there, as before a rollover.
fn lacks_root(ca: Option<&ByteString>, issuer: &ReadyIssuer) -> bool {
    let ca = ca
        .map(|ca| String::from_utf8_lossy(&ca.0))
        .unwrap_or_default();
    let publish = &issuer.publish;
    publish.ca != CaField::None && publish.beside.iter().any(|pem| !ca.contains(&**pem))
}

/// Calls a function with every object that may belong to an issuer, page by page.
async fn for_each<K>(
    one: &Reissuing,
    context: &Context,
    mut take: impl FnMut(&K),
) -> kube::Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api = match &one.name.namespace {
        Some(namespace) => Api::<K>::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    };
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        page.items.iter().for_each(&mut take);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Returns whether a reference in the issuer's namespace, or in any for a cluster issuer, means this issuer.
fn is_of(reference: &IssuerRef, name: &IssuerName) -> bool {
    reference.group == GROUP && reference.kind == name.kind() && reference.name == name.name
}

/// Finds out which renewals are over: as many as begin in the same time.
async fn check(plan: &mut ReissuePlan, per_second: u16, context: &Context) {
    for _ in 0..plan.count_in_progress().min(usize::from(per_second)) {
        let Some(candidate) = plan.oldest_in_progress() else {
            return;
        };
        match read(&candidate, context).await {
            Ok(Some(certificate)) if certificate.is_issuing() => plan.begun(candidate),
            Ok(Some(certificate)) if certificate.revision() == Some(candidate.revision) => {
                debug!(certificate = ?candidate.name, "a renewal has failed");
                plan.is_stuck();
            }
            Ok(Some(_) | None) => {}
            Err(_) => return plan.begun(candidate),
        }
    }
}

/// Begins the renewals that are due.
async fn renew(plan: &mut ReissuePlan, one: &Reissuing, context: &Context) {
    while let Some(candidate) = plan.next(one.per_second, Instant::now()) {
        let begun = Instant::now();
        match begin(&candidate, one, context).await {
            Ok(true) => {
                debug!(issuer = %one.name, certificate = ?candidate.name, "began a renewal");
                plan.begun(candidate);
            }
            Ok(false) => {}
            Err(error) => {
                let why = ErrorChain(&error).to_string();
                log_seldom!(warn, &why, issuer = %one.name, certificate = ?candidate.name, error = why, "failed to begin a renewal; pausing");
                return plan.failed(candidate, &crate::message::shown(why), Instant::now());
            }
        }
        plan.took(begun.elapsed(), Instant::now());
    }
}

/// Has cert-manager renew a Certificate, as `cmctl renew` does. Returns whether it was still to be renewed.
async fn begin(
    candidate: &OutdatedCertificate,
    one: &Reissuing,
    context: &Context,
) -> kube::Result<bool> {
    let Some(certificate) = read(candidate, context).await? else {
        return Ok(false);
    };
    if certificate.is_issuing() || certificate.revision() != Some(candidate.revision) {
        return Ok(false);
    }
    let message = format!("{} has its Certificates renewed", one.name);
    match request_renewal(&certificate, REASON, &message, now(), &context.client).await {
        Ok(()) => Ok(true),
        // Somebody has changed or deleted it meanwhile; the next plan looks at it again.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a Certificate; `None` if it is gone.
async fn read(
    candidate: &OutdatedCertificate,
    context: &Context,
) -> kube::Result<Option<Certificate>> {
    let CertificateName { namespace, name } = &candidate.name;
    let api = Api::<Certificate>::namespaced(context.client.clone(), namespace);
    let read = api.get_opt(name).await?;
    Ok(read.filter(|read| read.metadata.uid.as_ref() == Some(&candidate.uid)))
}
