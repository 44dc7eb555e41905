//! Checks of what the chart installs: service account, workload, PIN record and issuers. They only read.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{PodTemplateSpec, Secret, ServiceAccount},
    events::v1::Event,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};

use super::{
    check::{CheckId, CheckState},
    findings::Findings,
    reviews::Account,
    rights::Feature,
};
use crate::{
    api::{
        IssuerName,
        issuer::{IssuerKind, PKCS11ClusterIssuer, PKCS11Issuer, condition_type},
    },
    cli::version::VERSION,
    pins::store::PIN_STATE_SECRET,
    telemetry::ErrorChain,
};

/// Label of everything that the chart installs.
const OF_CHART: &str = "app.kubernetes.io/name=pkcs11-issuer";
/// Most Events in the evidence.
const MOST_EVENTS: u32 = 500;
/// Label with the version that the chart installs.
const CHART_VERSION: &str = "app.kubernetes.io/version";

/// The Deployment or DaemonSet of the controller.
pub(super) struct Workload {
    name: String,
    labels: BTreeMap<String, String>,
    template: PodTemplateSpec,
    wanted: i32,
    ready: i32,
}

/// Checks the service account.
pub(super) async fn account(findings: &mut Findings, client: &Client, account: &Account) {
    let id = CheckId::ServiceAccountPresent;
    if !findings.want(&[id]) {
        return;
    }
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &account.namespace);
    match accounts.get_metadata_opt(&account.name).await {
        Ok(Some(_)) => findings.add(id, CheckState::Ok, "", account.user()),
        Ok(None) => findings.add(
            id,
            CheckState::Fail,
            "",
            format_args!("there is no {}", account.user()),
        ),
        Err(why) => findings.skip(&[id], "", ErrorChain(&why)),
    }
}

/// Checks that the PIN record exists. Its content is not read.
pub(super) async fn pin_state(findings: &mut Findings, client: &Client, namespace: &str) {
    let id = CheckId::PinStatePresent;
    if !findings.want(&[id]) {
        return;
    }
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    match secrets.get_metadata_opt(PIN_STATE_SECRET).await {
        Ok(Some(_)) => findings.add(id, CheckState::Ok, "", "the Secret is there"),
        Ok(None) => findings.add(
            id,
            CheckState::Fail,
            "",
            format_args!("there is no Secret {namespace}/{PIN_STATE_SECRET}, so no PIN is tried"),
        ),
        Err(why) => findings.skip(&[id], "", ErrorChain(&why)),
    }
}

/// Finds the workload of the controller and checks it.
pub(super) async fn workload(
    findings: &mut Findings,
    client: &Client,
    namespace: &str,
) -> Option<Workload> {
    let ids = [
        CheckId::WorkloadPresent,
        CheckId::WorkloadVersion,
        CheckId::WorkloadReady,
    ];
    let found = match find(client, namespace).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let why =
                format_args!("no Deployment or DaemonSet in {namespace} has the label {OF_CHART}");
            findings.add(ids[0], CheckState::Fail, "", why);
            findings.skip_after(&ids[1..], "", ids[0]);
            return None;
        }
        Err(why) => {
            findings.skip(&ids, "", ErrorChain(&why));
            return None;
        }
    };
    findings.add(ids[0], CheckState::Ok, "", &found.name);
    let version = found.version();
    match version.trim_start_matches('v') == VERSION {
        true => findings.add(
            ids[1],
            CheckState::Ok,
            "",
            format_args!("{version}, as this program"),
        ),
        false => findings.add(
            ids[1],
            CheckState::Warn,
            "",
            format_args!("it runs {version}, and this program is {VERSION}"),
        ),
    }
    let Workload { ready, wanted, .. } = &found;
    let state = match (*ready, *wanted) {
        (0, 1..) => CheckState::Fail,
        (ready, wanted) if ready < wanted => CheckState::Warn,
        _ => CheckState::Ok,
    };
    findings.add(
        ids[2],
        state,
        "",
        format_args!("{ready} of {wanted} pods are ready"),
    );
    Some(found)
}

async fn find(client: &Client, namespace: &str) -> kube::Result<Option<Workload>> {
    let of_chart = ListParams::default().labels(OF_CHART);
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    if let Some(found) = deployments.list(&of_chart).await?.items.pop() {
        let (name, labels) = (found.name_any(), found.labels().clone());
        let (spec, status) = (found.spec, found.status.unwrap_or_default());
        return Ok(Some(Workload {
            name: format!("Deployment {name}"),
            labels,
            template: spec.template,
            wanted: spec.replicas.unwrap_or(1),
            ready: status.ready_replicas.unwrap_or_default(),
        }));
    }
    let sets = Api::<DaemonSet>::namespaced(client.clone(), namespace);
    let found = sets.list(&of_chart).await?.items.pop();
    Ok(found.map(|found| {
        let (name, labels) = (found.name_any(), found.labels().clone());
        let (spec, status) = (found.spec, found.status.unwrap_or_default());
        Workload {
            name: format!("DaemonSet {name}"),
            labels,
            template: spec.template,
            wanted: status.desired_number_scheduled,
            ready: status.number_ready,
        }
    }))
}

impl Workload {
    /// Returns the version that runs: the tag of the controller's image or, with a digest alone, the version of the chart.
    fn version(&self) -> String {
        let spec = self.template.spec.as_ref();
        let container = spec.and_then(|spec| {
            let runs = |args: &Vec<String>| args.first().is_some_and(|word| word == "run");
            spec.containers
                .iter()
                .find(|it| it.args.as_ref().is_some_and(runs))
        });
        let image = container
            .and_then(|it| it.image.as_deref())
            .unwrap_or_default();
        let (name, _digest) = image.split_once('@').unwrap_or((image, ""));
        let tag = name
            .rsplit('/')
            .next()
            .and_then(|name| name.split_once(':'));
        match tag {
            Some((_, tag)) => tag.to_owned(),
            None => self.labels.get(CHART_VERSION).cloned().unwrap_or_default(),
        }
    }

    /// Returns what the flags of the controller turn on.
    pub(super) fn features(&self) -> Vec<Feature> {
        let spec = self.template.spec.as_ref();
        let containers = spec.into_iter().flat_map(|spec| &spec.containers);
        let args: Vec<&str> = containers
            .flat_map(|it| it.args.iter().flatten())
            .map(String::as_str)
            .collect();
        let is_off = |flag: &str| args.contains(&&*format!("--{flag}=false"));
        let is_on = |flag: &str| {
            let (alone, value) = (format!("--{flag}"), format!("--{flag}="));
            args.iter()
                .any(|arg| *arg == alone || arg.starts_with(&value))
                && !is_off(flag)
        };
        let mut features = vec![Feature::Always];
        features.extend((!is_off("certificate-requests")).then_some(Feature::CertificateRequests));
        features
            .extend((!is_off("certificate-signing-requests")).then_some(Feature::SigningRequests));
        features.extend((!is_off("events")).then_some(Feature::Events));
        for (flag, feature) in [
            ("pod-certificate-requests", Feature::PodRequests),
            ("cluster-trust-bundles", Feature::TrustBundles),
            ("trust-config-maps", Feature::TrustConfigMaps),
            ("crl-address", Feature::Crls),
            ("crl-address", Feature::RevocationRenewals),
            ("revoke-deleted-certificates", Feature::RevokeDeleted),
            ("reissue", Feature::Reissue),
        ] {
            features.extend(is_on(flag).then_some(feature));
        }
        features
    }

    /// Returns what the evidence says about it. Values of the environment are left out.
    pub(super) fn evidence(&self) -> Value {
        let spec = self.template.spec.as_ref();
        let containers = spec.into_iter().flat_map(|spec| &spec.containers);
        let containers: Vec<_> = containers
            .map(|it| json!({"name": it.name, "image": it.image, "args": it.args}))
            .collect();
        json!({
            "name": self.name,
            "labels": self.labels,
            "containers": containers,
            "wanted": self.wanted,
            "ready": self.ready,
        })
    }
}

/// Checks that every issuer of the cluster is ready. Returns specifications and statuses for the evidence.
pub(super) async fn issuers(findings: &mut Findings, client: &Client) -> Vec<Value> {
    let id = CheckId::IssuersReady;
    let listed = async {
        let mut all = list::<PKCS11ClusterIssuer>(client).await?;
        all.extend(list::<PKCS11Issuer>(client).await?);
        Ok::<_, kube::Error>(all)
    };
    let all = match listed.await {
        Ok(all) => all,
        Err(why) => {
            findings.skip(&[id], "", ErrorChain(&why));
            return Vec::new();
        }
    };
    let not_ready = all
        .iter()
        .filter_map(|it| Some((&it.name, it.not_ready.as_ref()?)));
    let mut count = 0;
    for (name, why) in not_ready {
        count += 1;
        findings.add(id, CheckState::Fail, name, why);
    }
    if count == 0 {
        match all.len() {
            0 => findings.skip(&[id], "", "the cluster has no issuer"),
            all => findings.add(id, CheckState::Ok, "", format_args!("all {all}")),
        }
    }
    all.into_iter().map(|it| it.evidence).collect()
}

/// Returns the Events of the controller's namespace for the evidence, or why they cannot be read.
pub(super) async fn events(client: &Client, namespace: &str) -> Value {
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    match events.list(&ListParams::default().limit(MOST_EVENTS)).await {
        Ok(events) => events
            .iter()
            .map(|event| {
                json!({
                    "time": event.event_time,
                    "type": event.type_,
                    "reason": event.reason,
                    "regarding": event.regarding,
                    "note": event.note,
                })
            })
            .collect(),
        Err(why) => Value::from(ErrorChain(&why).to_string()),
    }
}

/// An issuer of the cluster.
struct ListedIssuer {
    name: String,
    /// Why it is not ready.
    not_ready: Option<String>,
    evidence: Value,
}

async fn list<K: IssuerKind>(client: &Client) -> kube::Result<Vec<ListedIssuer>> {
    let issuers = Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    Ok(issuers
        .into_iter()
        .map(|issuer| {
            let name = IssuerName {
                namespace: issuer.namespace(),
                name: issuer.name_any(),
            };
            let (name, status) = (name.to_string(), issuer.issuer_status());
            let conditions = status.into_iter().flat_map(|status| &status.conditions);
            let ready = conditions
                .into_iter()
                .find(|it| it.type_ == condition_type::READY);
            let not_ready = match ready {
                Some(ready) if ready.status == "True" => None,
                Some(ready) => Some(format!("{}: {}", ready.reason, ready.message)),
                None => Some("no controller has answered it yet".to_owned()),
            };
            ListedIssuer {
                not_ready,
                evidence: json!({"name": name, "spec": issuer.issuer_spec(), "status": status}),
                name,
            }
        })
        .collect())
}
