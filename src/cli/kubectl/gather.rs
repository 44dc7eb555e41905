//! Reads what the commands depend on: a request with its issuer, and an issuer with its requests.

use anyhow::{bail, ensure};
use k8s_openapi::api::{
    certificates::{
        v1::{self, CertificateSigningRequest},
        v1beta1,
    },
    coordination::v1::Lease,
    events::v1::Event,
};
use kube::{Api, api::ListParams};

use super::{
    cluster::Cluster,
    read::{Gap, Read},
    snapshot::{SeenCertificate, SeenEvent, SeenIssuer, SeenRequest, Snapshot},
    target::{IssuerTarget, RequestTarget},
};
use crate::{
    api::{
        IssuerName,
        certificate::{Certificate, REVISION_ANNOTATION},
        certificate_request::CertificateRequest,
        issuer::{PKCS11ClusterIssuer, PKCS11Issuer},
    },
    ownership::{ListedReplica, replica_selector},
    reconcile::Request as _,
};

/// Namespace of the Events about cluster-scoped objects.
const EVENTS_OF_CLUSTER: &str = "default";
const STATE: &str = "the state of the request";
const WHY: &str = "what the controller said in Events";

/// An issuer's requests, and what else their state depends on.
pub(super) struct OfIssuer {
    /// The requests that could be read.
    pub(super) requests: Vec<SeenRequest>,
    /// Events about those that are Kubernetes CSRs.
    pub(super) events: Vec<SeenEvent>,
    /// The replicas; `None` if it is not known which installation answers the issuer.
    pub(super) replicas: Option<Read<Vec<ListedReplica>>>,
    /// What could not be read, the replicas aside.
    pub(super) gaps: Vec<Gap>,
}

/// Reads a request and everything that its answer depends on.
///
/// # Errors
/// The cluster cannot be used, or there is no such request, or the user may not read it.
pub(super) async fn of_request(cluster: &Cluster, target: &str) -> anyhow::Result<Snapshot> {
    let place = cluster.namespace.as_str();
    let target = RequestTarget::parse(target)?;
    let (certificate, request) = match target {
        RequestTarget::SigningRequest(name) => (None, signing_request(cluster, name).await?),
        RequestTarget::PodRequest(name) => (None, pod_request(cluster, name).await?),
        RequestTarget::Certificate(name) => of_certificate(cluster, name).await?,
        RequestTarget::CertificateRequest(name) => (None, request(cluster, name).await?),
        RequestTarget::Either(name) => match request(cluster, name).await? {
            Read::Missing => of_certificate(cluster, name).await?,
            found @ (Read::Found(_) | Read::Unknown(_)) => (None, found),
        },
    };
    let (uid, request) = match request {
        Read::Found((uid, request)) => (uid, Read::Found(request)),
        Read::Missing => (None, Read::Missing),
        Read::Unknown(gap) => (None, Read::Unknown(gap)),
    };
    match (&certificate, &request) {
        (None | Some(Read::Missing), Read::Missing) => match target {
            RequestTarget::SigningRequest(name) => {
                bail!("there is no CertificateSigningRequest {name}")
            }
            RequestTarget::Either(name) => bail!(
                "namespace {place} has neither a CertificateRequest nor a Certificate {name}; give --namespace, or csr/{name} \
                 for a Kubernetes CSR"
            ),
            RequestTarget::Certificate(name)
            | RequestTarget::CertificateRequest(name)
            | RequestTarget::PodRequest(name) => {
                bail!("namespace {place} has no such object {name}; give --namespace")
            }
        },
        (None, Read::Unknown(gap))
        | (Some(Read::Unknown(gap)), Read::Missing | Read::Unknown(_)) => {
            bail!("{gap}")
        }
        (_, _) => {}
    }
    let certificate = match (certificate, request.found()) {
        (Some(read), _) => Some(read),
        (None, Some(found)) => match &found.certificate {
            Some(name) => {
                let part = "what the Certificate says";
                let api = Api::<Certificate>::namespaced(cluster.client.clone(), place);
                let read = cluster.get(&api, Some(place), name, part).await?;
                Some(read.map(|one| SeenCertificate::of(&one)))
            }
            None => None,
        },
        (None, None) => None,
    };
    let name = match (&request, &certificate) {
        (Read::Found(request), _) => request.issuer.clone(),
        (_, Some(Read::Found(certificate))) => certificate.issuer.clone(),
        (_, _) => None,
    };
    let issuer = match &name {
        Some(name) => Some(read_issuer(cluster, name).await?),
        None => None,
    };
    let replicas = match issuer.as_ref().and_then(Read::found) {
        Some(issuer) => replicas(cluster, issuer).await?,
        None => None,
    };
    let events = match (&uid, request.found()) {
        (Some(uid), Some(request)) => {
            let namespace = request.namespace.as_deref().unwrap_or(EVENTS_OF_CLUSTER);
            events(cluster, namespace, &format!("regarding.uid={uid}")).await?
        }
        (_, _) => Read::Missing,
    };
    Ok(Snapshot {
        certificate,
        request,
        issuer,
        events,
        replicas,
    })
}

/// A request and its UID.
type WithUid = (Option<String>, SeenRequest);

async fn request(cluster: &Cluster, name: &str) -> anyhow::Result<Read<WithUid>> {
    let place = cluster.namespace.as_str();
    let api = Api::<CertificateRequest>::namespaced(cluster.client.clone(), place);
    let read = cluster.get(&api, Some(place), name, STATE).await?;
    Ok(read.map(|one| {
        let seen = SeenRequest::of_certificate_request(&one);
        (one.metadata.uid, seen)
    }))
}

async fn signing_request(cluster: &Cluster, name: &str) -> anyhow::Result<Read<WithUid>> {
    let api = Api::<CertificateSigningRequest>::all(cluster.client.clone());
    let read = cluster.get(&api, None, name, STATE).await?;
    Ok(read.map(|one| {
        let seen = SeenRequest::of_signing_request(&one);
        (one.metadata.uid, seen)
    }))
}

/// Reads one version of a pod's request.
macro_rules! read_pod_request {
    ($version:ident, $cluster:expr, $name:expr) => {{
        let place = $cluster.namespace.as_str();
        let api =
            Api::<$version::PodCertificateRequest>::namespaced($cluster.client.clone(), place);
        let read = $cluster.get(&api, Some(place), $name, STATE).await?;
        read.map(|one| {
            let status = one.status.as_ref();
            let conditions = status.and_then(|status| status.conditions.as_deref());
            let seen = SeenRequest::of_pod_request(&one, &one.spec.signer_name, conditions);
            (one.metadata.uid.clone(), seen)
        })
    }};
}

/// Reads a pod's request, in the version that the cluster serves.
async fn pod_request(cluster: &Cluster, name: &str) -> anyhow::Result<Read<WithUid>> {
    Ok(match read_pod_request!(v1, cluster, name) {
        Read::Missing => read_pod_request!(v1beta1, cluster, name),
        read @ (Read::Found(_) | Read::Unknown(_)) => read,
    })
}

/// Reads a Certificate and its newest request.
async fn of_certificate(
    cluster: &Cluster,
    name: &str,
) -> anyhow::Result<(Option<Read<SeenCertificate>>, Read<WithUid>)> {
    let place = cluster.namespace.as_str();
    let api = Api::<Certificate>::namespaced(cluster.client.clone(), place);
    let part = "what the Certificate says";
    let read = cluster.get(&api, Some(place), name, part).await?;
    let read = read.map(|one| SeenCertificate::of(&one));
    let api = Api::<CertificateRequest>::namespaced(cluster.client.clone(), place);
    let part = "the requests of the Certificate";
    let own = |request: CertificateRequest| {
        (request.certificate_name() == Some(name)).then(|| {
            let annotations = request.metadata.annotations.as_ref();
            let revision = annotations.and_then(|all| all.get(REVISION_ANNOTATION)?.parse().ok());
            let created = request.metadata.creation_timestamp.as_ref().map(|at| at.0);
            let revision: u64 = revision.unwrap_or_default();
            let seen = SeenRequest::of_certificate_request(&request);
            (revision, created, request.metadata.uid, seen)
        })
    };
    let all = cluster
        .list(&api, Some(place), ListParams::default(), part, own)
        .await?;
    let newest = match all {
        Read::Found(all) => {
            let newest = all
                .into_iter()
                .max_by_key(|(revision, created, ..)| (*revision, *created));
            newest.map_or(Read::Missing, |(.., uid, seen)| Read::Found((uid, seen)))
        }
        Read::Missing => Read::Missing,
        Read::Unknown(gap) => Read::Unknown(gap),
    };
    Ok((Some(read), newest))
}

/// Reads the issuer that a user names.
///
/// # Errors
/// The cluster cannot be used, or there is no such issuer, or the user may not read it.
pub(super) async fn issuer(cluster: &Cluster, target: &str) -> anyhow::Result<SeenIssuer> {
    let namespaced = |name: &str| IssuerName {
        namespace: Some(cluster.namespace.clone()),
        name: name.to_owned(),
    };
    let of_cluster = |name: &str| IssuerName {
        namespace: None,
        name: name.to_owned(),
    };
    let names = match IssuerTarget::parse(target)? {
        IssuerTarget::Either(name) => vec![of_cluster(name), namespaced(name)],
        IssuerTarget::Cluster(name) => vec![of_cluster(name)],
        IssuerTarget::Namespaced(name) => vec![namespaced(name)],
    };
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    for name in &names {
        match read_issuer(cluster, name).await? {
            Read::Found(issuer) => found.push(issuer),
            Read::Missing => {}
            Read::Unknown(gap) => gaps.push(gap.to_string()),
        }
    }
    ensure!(
        found.len() < 2,
        "there is a PKCS11ClusterIssuer and a PKCS11Issuer {target}; give one of p11ci/{target} and p11i/{target}"
    );
    match found.pop() {
        Some(issuer) => Ok(issuer),
        None if gaps.is_empty() => bail!(
            "there is no {}; see kubectl get pkcs11clusterissuers,pkcs11issuers -A",
            names
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" and no ")
        ),
        None => bail!("{}", gaps.join("; ")),
    }
}

async fn read_issuer(cluster: &Cluster, name: &IssuerName) -> anyhow::Result<Read<SeenIssuer>> {
    let part = format!("the state of {name}");
    let client = cluster.client.clone();
    let namespace = name.namespace.as_deref();
    if let Some(place) = namespace {
        let api = Api::<PKCS11Issuer>::namespaced(client, place);
        let read = cluster.get(&api, namespace, &name.name, &part).await?;
        Ok(read.map(|one| SeenIssuer::of(&one)))
    } else {
        let api = Api::<PKCS11ClusterIssuer>::all(client);
        let read = cluster.get(&api, None, &name.name, &part).await?;
        Ok(read.map(|one| SeenIssuer::of(&one)))
    }
}

/// Reads the replicas of the installation that answers an issuer.
async fn replicas(
    cluster: &Cluster,
    issuer: &SeenIssuer,
) -> anyhow::Result<Option<Read<Vec<ListedReplica>>>> {
    let Some(namespace) = issuer.status.installation.as_deref() else {
        return Ok(None);
    };
    let api = Api::<Lease>::namespaced(cluster.client.clone(), namespace);
    let selected = ListParams::default().labels(&replica_selector());
    let part = "which replicas live";
    let read = |lease: Lease| ListedReplica::read(&lease);
    let leases = cluster.list(&api, Some(namespace), selected, part, read);
    Ok(Some(leases.await?))
}

/// Reads the controller's Events, the newest first.
async fn events(
    cluster: &Cluster,
    namespace: &str,
    selected: &str,
) -> anyhow::Result<Read<Vec<SeenEvent>>> {
    let api = Api::<Event>::namespaced(cluster.client.clone(), namespace);
    let selected = ListParams::default().fields(selected);
    let read = |event: Event| SeenEvent::of(&event);
    let all = cluster
        .list(&api, Some(namespace), selected, WHY, read)
        .await?;
    Ok(all.map(|mut all| {
        all.sort_by_key(|event| std::cmp::Reverse(event.at));
        all
    }))
}

/// Reads the requests of an issuer: those of one namespace, or all that it may answer. If the user may not list them in the
/// whole cluster, those of their namespace.
///
/// # Errors
/// The cluster cannot be used.
pub(super) async fn requests_of(
    cluster: &Cluster,
    issuer: &SeenIssuer,
    only: Option<&str>,
) -> anyhow::Result<OfIssuer> {
    let mut gaps = Vec::new();
    let mut requests = Vec::new();
    let place = only.or(issuer.name.namespace.as_deref());
    let mut read = certificate_requests(cluster, issuer, place).await?;
    if let (Read::Unknown(gap), None) = (&read, place) {
        gaps.push(gap.clone());
        read = certificate_requests(cluster, issuer, Some(&cluster.namespace)).await?;
    }
    match read {
        Read::Found(found) => requests.extend(found),
        Read::Missing => {}
        Read::Unknown(gap) => gaps.push(gap),
    }
    let mut told = Vec::new();
    if only.is_none() {
        let api = Api::<CertificateSigningRequest>::all(cluster.client.clone());
        let part = format!("the Kubernetes CSRs of {}", issuer.name);
        let own = |request: CertificateSigningRequest| {
            (request.issuer().as_ref() == Some(&issuer.name))
                .then(|| SeenRequest::of_signing_request(&request))
        };
        match cluster
            .list(&api, None, ListParams::default(), &part, own)
            .await?
        {
            Read::Found(found) if !found.is_empty() => {
                requests.extend(found);
                let selected = "regarding.kind=CertificateSigningRequest";
                match events(cluster, EVENTS_OF_CLUSTER, selected).await? {
                    Read::Found(found) => told = found,
                    Read::Missing => {}
                    Read::Unknown(gap) => gaps.push(gap),
                }
            }
            Read::Found(_) | Read::Missing => {}
            Read::Unknown(gap) => gaps.push(gap),
        }
    }
    Ok(OfIssuer {
        requests,
        events: told,
        replicas: replicas(cluster, issuer).await?,
        gaps,
    })
}

async fn certificate_requests(
    cluster: &Cluster,
    issuer: &SeenIssuer,
    place: Option<&str>,
) -> anyhow::Result<Read<Vec<SeenRequest>>> {
    let client = cluster.client.clone();
    let api: Api<CertificateRequest> = match place {
        Some(place) => Api::namespaced(client, place),
        None => Api::all(client),
    };
    let part = match place {
        Some(_) => format!("the requests of {}", issuer.name),
        None => format!("the requests of {} in other namespaces", issuer.name),
    };
    let own = |request: CertificateRequest| {
        (request.issuer().as_ref() == Some(&issuer.name))
            .then(|| SeenRequest::of_certificate_request(&request))
    };
    cluster
        .list(&api, place, ListParams::default(), &part, own)
        .await
}
