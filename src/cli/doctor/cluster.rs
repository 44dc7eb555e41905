//! Checks of the cluster: its API server, its clock, our CRDs and cert-manager. They only read.

use std::{sync::Arc, time::Duration};

use http::{Request, header::DATE};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt as _, client::Body};
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    check::{CheckId, CheckState, FailedCheck},
    findings::{Findings, after},
};
use crate::{
    api, args::Doctor, cli::run::client::client_of_user, metrics::Metrics, pipeline::now,
    telemetry::ErrorChain,
};

/// Checks of the connection, each after the one before it.
pub(super) const CONNECTION: [CheckId; 3] = [
    CheckId::ClusterConfig,
    CheckId::ClusterReachable,
    CheckId::ClusterVersion,
];
/// Time limit for the first answer.
const WITHIN: Duration = Duration::from_secs(15);
/// The oldest minor version of Kubernetes 1 that the chart accepts.
const OLDEST_MINOR: u32 = 29;
/// Differences of clocks above which certificates may begin in a verifier's future, and which somebody should look at. The Date
/// header has whole seconds.
const CLOCK_FAILS: SignedDuration = SignedDuration::from_secs(60);
const CLOCK_WARNS: SignedDuration = SignedDuration::from_secs(5);
/// The kind of cert-manager that the controller answers.
const CERTIFICATE_REQUESTS: &str = "certificaterequests.cert-manager.io";

/// What the API server says about itself.
#[derive(Debug, Deserialize)]
struct ServerVersion {
    major: String,
    minor: String,
    #[serde(rename = "gitVersion")]
    git_version: String,
}

/// Connects to the cluster of the flags or of the environment, and checks the connection.
///
/// # Errors
/// Why nothing else of the cluster can be checked.
pub(super) async fn connect(
    findings: &mut Findings,
    args: &Doctor,
    metrics: &Arc<Metrics>,
) -> Result<Client, String> {
    let (kubeconfig, context) = (args.kubeconfig.as_deref(), args.context.as_deref());
    let client = match client_of_user(kubeconfig, context, metrics).await {
        Ok(client) => client,
        Err(why) => {
            let why = ErrorChain(why.as_ref()).to_string();
            let named = kubeconfig.is_some()
                || context.is_some()
                || std::env::var_os("KUBECONFIG").is_some();
            if !named {
                // A machine without a cluster is not broken.
                findings.skip(&CONNECTION, "", &why);
                return Err(why);
            }
            let failed = FailedCheck::new(CheckId::ClusterConfig, why);
            let failed = findings.chain::<()>(&CONNECTION, "", Err(failed), "");
            return Err(failed.map_or_else(after, |()| String::new()));
        }
    };
    let asked = timeout(WITHIN, version(&client)).await;
    let asked = asked.unwrap_or_else(|_| Err("no answer within 15 s".to_owned()));
    let sent = now();
    let (answer, told) = match asked {
        Ok((version, date)) => {
            clock(findings, date, sent);
            let told = format!("Kubernetes {}", version.git_version);
            (supported(&version), told)
        }
        Err(why) => (
            Err(FailedCheck::new(CheckId::ClusterReachable, why)),
            String::new(),
        ),
    };
    match findings.chain(&CONNECTION, "", answer, told) {
        // The rest works with an older version as far as it goes.
        Ok(()) | Err(CheckId::ClusterVersion) => Ok(client),
        Err(id) => Err(after(id)),
    }
}

fn supported(version: &ServerVersion) -> Result<(), FailedCheck> {
    // Some providers append a +.
    let minor = version.minor.trim_end_matches('+').parse::<u32>();
    let is_old = version.major == "1" && minor.is_ok_and(|minor| minor < OLDEST_MINOR);
    match is_old {
        true => Err(FailedCheck::new(
            CheckId::ClusterVersion,
            format_args!(
                "Kubernetes {} is older than 1.{OLDEST_MINOR}",
                version.git_version
            ),
        )),
        false => Ok(()),
    }
}

async fn version(client: &Client) -> Result<(ServerVersion, Option<Timestamp>), String> {
    let request = Request::get("/version").body(Body::empty());
    let request = request.map_err(|why| why.to_string())?;
    let answer = client.send(request).await;
    let answer = answer.map_err(|why| ErrorChain(&why).to_string())?;
    let date = answer
        .headers()
        .get(DATE)
        .and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let body = body.map_err(|why| why.to_string())?.to_bytes();
    if !status.is_success() {
        return Err(format!("GET /version: HTTP status {status}"));
    }
    let version = serde_json::from_slice(&body);
    let version = version.map_err(|why| format!("GET /version is not of Kubernetes: {why}"))?;
    Ok((version, date))
}

/// Compares this machine's clock with the Date header of an answer that came at `received`.
fn clock(findings: &mut Findings, date: Option<Timestamp>, received: Timestamp) {
    let id = CheckId::ClockAgrees;
    let Some(date) = date else {
        findings.skip(&[id], "", "the API server's answer has no Date header");
        return;
    };
    let off = received.duration_since(date);
    let seconds = off.as_secs();
    let message = match seconds.is_negative() {
        true => format!("it is {} s behind the clock of the API server", -seconds),
        false => format!("it is {seconds} s ahead of the clock of the API server"),
    };
    let state = match off.abs() {
        off if off > CLOCK_FAILS => CheckState::Fail,
        off if off > CLOCK_WARNS => CheckState::Warn,
        _ => CheckState::Ok,
    };
    findings.add(id, state, "", message);
}

/// Checks our CRDs and those of cert-manager.
pub(super) async fn kinds(findings: &mut Findings, client: &Client) {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let ids = [CheckId::CrdsInstalled, CheckId::CrdsCurrent];
    let all = [
        CheckId::CrdsInstalled,
        CheckId::CrdsCurrent,
        CheckId::CertManagerInstalled,
        CheckId::CertManagerVersion,
    ];
    if !findings.want(&all) {
        return;
    }
    let mut checked = Ok(());
    for ours in api::crds() {
        let name = ours.name_any();
        match definitions.get_opt(&name).await {
            Ok(stored) => checked = checked.and_then(|()| compare(&ours, stored.as_ref())),
            Err(why) => {
                findings.skip(
                    &all,
                    "",
                    format_args!("failed to read {name}: {}", ErrorChain(&why)),
                );
                return;
            }
        }
    }
    findings
        .chain(&ids, "", checked, "as this version has them")
        .ok();
    cert_manager(findings, &definitions).await;
}

fn compare(
    ours: &CustomResourceDefinition,
    stored: Option<&CustomResourceDefinition>,
) -> Result<(), FailedCheck> {
    let name = ours.name_any();
    let Some(stored) = stored else {
        return Err(FailedCheck::new(
            CheckId::CrdsInstalled,
            format_args!("there is no {name}"),
        ));
    };
    for version in &ours.spec.versions {
        let same = stored
            .spec
            .versions
            .iter()
            .find(|it| it.name == version.name);
        let schema = same.filter(|it| it.served).map(|it| &it.schema);
        if schema != Some(&version.schema) {
            return Err(FailedCheck::new(
                CheckId::CrdsCurrent,
                format_args!(
                    "{name} has another schema of {} than this version",
                    version.name
                ),
            ));
        }
    }
    Ok(())
}

async fn cert_manager(findings: &mut Findings, definitions: &Api<CustomResourceDefinition>) {
    let ids = [CheckId::CertManagerInstalled, CheckId::CertManagerVersion];
    let stored = match definitions.get_opt(CERTIFICATE_REQUESTS).await {
        Ok(Some(stored)) => stored,
        Ok(None) => {
            // The controller works without it, for Kubernetes' own requests.
            let why = format_args!("there is no {CERTIFICATE_REQUESTS}");
            findings.add(ids[0], CheckState::Warn, "", why);
            findings.skip_after(&ids[1..], "", ids[0]);
            return;
        }
        Err(why) => {
            findings.skip(&ids, "", ErrorChain(&why));
            return;
        }
    };
    let version = stored
        .labels()
        .get("app.kubernetes.io/version")
        .cloned()
        .unwrap_or_default();
    let serves = stored
        .spec
        .versions
        .iter()
        .any(|it| it.name == "v1" && it.served);
    findings.add(
        ids[0],
        CheckState::Ok,
        "",
        format_args!("cert-manager {version}"),
    );
    match serves {
        true => findings.add(ids[1], CheckState::Ok, "", "it serves cert-manager.io/v1"),
        false => findings.add(
            ids[1],
            CheckState::Fail,
            "",
            "it does not serve cert-manager.io/v1",
        ),
    }
}
