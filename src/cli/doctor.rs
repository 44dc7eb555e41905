//! `pkcs11-issuer doctor`: looks for what is wrong with an installation, and names it by a stable id.

mod check;
mod cluster;
mod crl;
mod evidence;
mod examine;
mod findings;
mod in_cluster;
mod installation;
mod issuer;
mod key;
mod library;
mod network;
mod pin;
mod reviews;
mod rights;
mod text;
mod token;

use std::{fmt, path::Path, process::ExitCode, sync::Arc};

use kube::Client;

use self::{
    check::{CheckGroup, CheckId, FailedCheck},
    evidence::Evidence,
    examine::Examination,
    findings::{Findings, Selection, after},
    issuer::ExaminedIssuer,
};
use super::{
    issuer_file::IssuerFile,
    machine,
    output::print,
    version::{COMMIT, PROGRAM, VERSION},
};
use crate::{
    args::Doctor,
    config::{Config, ConfigError},
    metrics::Metrics,
    pipeline::now,
    telemetry::{self, ErrorChain, LogFormat, Unread},
};

/// Default log filter, without RUST_LOG: the report says everything.
const LOG: &str = "off";
/// Exit code if a check failed.
const FAILED: u8 = 3;
const CONFIG: [CheckId; 2] = [CheckId::ConfigReadable, CheckId::ConfigValid];

/// Makes the checks and prints the report.
///
/// # Errors
/// A flag must be corrected, or the folder of the evidence or stdout cannot be written.
pub async fn doctor(args: &Doctor) -> anyhow::Result<ExitCode> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| LOG.to_owned());
    telemetry::start(LogFormat::Text, &filter, Unread::Wait, None)?;
    let approver = reviews::Account::parse(&args.approver)?;
    let mut findings = Findings::new(Selection::parse(&args.only, &args.skip)?);
    let evidence = args.evidence.as_deref().map(Evidence::create).transpose()?;
    let metrics = Arc::new(Metrics::new(VERSION, COMMIT));
    let client = client(&mut findings, args, &metrics).await;
    let config = config(&mut findings, args.config.as_deref());
    let issuer = issuer(&mut findings, args, &client).await;
    let mut tokens = Vec::new();
    if let Ok((config, _)) = &config {
        let examined = Examination {
            config,
            worker: machine::worker(args.worker.as_deref()),
            issuer: issuer.as_ref().ok(),
            metrics,
        };
        tokens = examined.run(&mut findings).await;
    }
    if let Ok(issuer) = &issuer {
        network::dns(&mut findings, &issuer.subject, &issuer.given).await;
        crl::crls(&mut findings, issuer, now()).await;
    }
    network::proxy(&mut findings);
    let cluster = match &client {
        Ok(client) => {
            let checkpoints = config
                .as_ref()
                .is_ok_and(|(config, _)| config.checkpoints().is_some());
            let installed = installed(&mut findings, args, client, &approver, checkpoints);
            Some(installed.await)
        }
        Err(why) => {
            findings.skip_rest(&of(&[CheckGroup::Cluster, CheckGroup::Installation]), why);
            None
        }
    };
    if let Err(absent) = &config {
        findings.skip_rest(&of(&NEED_CONFIG), absent);
        findings.skip_rest(&issuer::CONFIGURED, absent);
    }
    if let Err(absent) = &issuer {
        findings.skip_rest(&of(&NEED_ISSUER), absent);
        findings.skip_rest(&[CheckId::DnsResolves], absent);
    }
    let ended = findings.end();
    if let Some(evidence) = evidence {
        evidence.write("report.json", &ended)?;
        evidence.write("program.json", &PROGRAM)?;
        evidence.write("tokens.json", &tokens)?;
        let text = config.as_ref().ok().map(|(_, text)| text);
        if let Some(configuration) = text.and_then(|text| evidence::configuration(text)) {
            evidence.write("configuration.json", &configuration)?;
        }
        if let Ok(issuer) = &issuer {
            evidence.write("issuer.json", &issuer.given.spec)?;
        }
        if let Some(cluster) = &cluster {
            evidence.write("cluster.json", cluster)?;
        }
    }
    print(args.output, &ended, || text::report(&ended))?;
    Ok(match ended.has_failed() {
        true => ExitCode::from(FAILED),
        false => ExitCode::SUCCESS,
    })
}

/// Groups of checks that need a configuration.
const NEED_CONFIG: [CheckGroup; 3] = [CheckGroup::Library, CheckGroup::Token, CheckGroup::Pin];
/// Groups of checks that need an issuer.
const NEED_ISSUER: [CheckGroup; 3] = [CheckGroup::Issuer, CheckGroup::Key, CheckGroup::Crl];

/// Why a part of the installation is not examined.
enum Absent {
    /// The flag that names it was not given.
    NotGiven(&'static str),
    Failed(CheckId),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGiven(flag) => write!(f, "{flag} was not given"),
            Self::Failed(id) => f.write_str(&after(*id)),
        }
    }
}

/// Returns the checks of groups.
fn of(groups: &[CheckGroup]) -> Vec<CheckId> {
    let all = CheckId::ALL.iter().copied();
    all.filter(|id| groups.contains(&id.group())).collect()
}

/// Reads the configuration. Returns it with its text.
fn config(findings: &mut Findings, path: Option<&Path>) -> Result<(Config, String), Absent> {
    let Some(path) = path else {
        let absent = Absent::NotGiven("--config");
        findings.skip(&CONFIG, "", &absent);
        return Err(absent);
    };
    let read = Config::read(path).and_then(|text| Ok((Config::parse(path, &text)?, text)));
    let read = read.map_err(|why| {
        let id = match why {
            ConfigError::Read { .. } => CheckId::ConfigReadable,
            ConfigError::Parse { .. } | ConfigError::Check { .. } => CheckId::ConfigValid,
        };
        FailedCheck::new(id, ErrorChain(&why))
    });
    let found = findings.chain(&CONFIG, "", read, path.display());
    found.map_err(Absent::Failed)
}

/// Reads the issuer and checks what needs no token.
async fn issuer(
    findings: &mut Findings,
    args: &Doctor,
    client: &Result<Client, String>,
) -> Result<ExaminedIssuer, Absent> {
    let id = CheckId::IssuerValid;
    let Some(given) = args.issuer.as_deref() else {
        return Err(Absent::NotGiven("--issuer"));
    };
    let read = match (in_cluster::parse(given), client) {
        (Some(name), Ok(client)) => in_cluster::read(client, name, &args.namespace).await,
        (Some(_), Err(why)) => {
            findings.skip(&[id], "", why);
            return Err(Absent::Failed(id));
        }
        (None, _) => {
            let read = IssuerFile::read(Path::new(given), None);
            let read = read.map_err(|why| FailedCheck::new(id, ErrorChain(why.as_ref())));
            read.map(issuer::of_file)
        }
    };
    let checked = read.and_then(|(issuer, pem)| {
        issuer::check_bounds(&issuer.spec)?;
        Ok((issuer, pem))
    });
    let (issuer, pem) = findings
        .chain(&[id], "", checked, given)
        .map_err(Absent::Failed)?;
    Ok(ExaminedIssuer::of(findings, issuer, pem))
}

/// Connects to the cluster, if a check or the issuer needs it.
async fn client(
    findings: &mut Findings,
    args: &Doctor,
    metrics: &Arc<Metrics>,
) -> Result<Client, String> {
    let names_one = args
        .issuer
        .as_deref()
        .is_some_and(|text| in_cluster::parse(text).is_some());
    if !names_one && !findings.want(&of(&[CheckGroup::Cluster, CheckGroup::Installation])) {
        return Err("no check needs the cluster".to_owned());
    }
    cluster::connect(findings, args, metrics).await
}

/// Checks what is installed in the cluster. Returns what the evidence says about it.
async fn installed(
    findings: &mut Findings,
    args: &Doctor,
    client: &Client,
    approver: &reviews::Account,
    checkpoints: bool,
) -> serde_json::Value {
    let account = reviews::Account {
        namespace: args.namespace.clone(),
        name: args.service_account.clone(),
    };
    cluster::kinds(findings, client).await;
    installation::account(findings, client, &account).await;
    installation::pin_state(findings, client, &args.namespace).await;
    let workload = installation::workload(findings, client, &args.namespace).await;
    let mut features = workload.as_ref().map_or_else(
        || vec![rights::Feature::Always],
        installation::Workload::features,
    );
    features.extend(checkpoints.then_some(rights::Feature::Checkpoints));
    let reviewer = reviews::Reviewer::new(client).await;
    reviews::controller(findings, &reviewer, &account, &features).await;
    reviews::approver(findings, &reviewer, approver).await;
    let issuers = installation::issuers(findings, client).await;
    serde_json::json!({
        "issuers": issuers,
        "workload": workload.map(|workload| workload.evidence()),
        "events": installation::events(client, &args.namespace).await,
    })
}
