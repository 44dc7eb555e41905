//! `pkcs11-issuer audit compare`: what logs and a cluster say of certificates.

use std::{
    fmt::Debug,
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use k8s_openapi::{
    ByteString,
    api::certificates::{v1, v1beta1},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Resource},
};
use serde::de::DeserializeOwned;

use super::{code, files::Files, keys::keys};
use crate::{
    api::{GROUP, IssuerName, certificate_request::CertificateRequest},
    args::Compare,
    audit::{
        compare::{Comparison, LoggedCertificates, StoredCertificate},
        read::Assembler,
        verify::{LogReport, Verifier},
    },
    cli::{
        run::client::client,
        version::{COMMIT, VERSION},
    },
    issuance::pem,
    message::shown,
    metrics::Metrics,
};

/// Objects of one response of the API server.
const PAGE: u32 = 500;

/// Compares logs with a cluster and prints what they disagree on.
///
/// # Errors
/// A file could not be read, the cluster could not be asked, or stdout could not be written.
pub(super) async fn compare(args: &Compare) -> anyhow::Result<ExitCode> {
    let keys = keys(&args.keys)?;
    // Nobody asks a command for metrics.
    let metrics = Arc::new(Metrics::new(VERSION, COMMIT));
    let client = client(args.kubeconfig.as_deref(), &metrics).await?;
    // A certificate is in the log before it is in the cluster. So what is listed first is in files that are read afterwards.
    let stored = stored(&client).await?;
    let mut verifier = (!keys.is_empty()).then(|| Verifier::trusting(keys));
    let mut logged = LoggedCertificates::default();
    let mut assembler = Assembler::default();
    Files::once(&args.logs.files).each_line(|octets, place| {
        if let Some(verifier) = &mut verifier {
            verifier.take(octets, place);
        }
        assembler.take(octets, place, &mut |entry, _, _| logged.take(entry));
        Ok(())
    })?;
    assembler.finish(&mut |entry, _, _| logged.take(entry));
    let report = verifier.map(Verifier::finish);
    let is_proven = |run: &str, seq| {
        let mut runs = report.iter().flat_map(|report| &report.runs);
        runs.any(|report| report.run == run && report.proves(seq))
    };
    let comparison = logged.compare(&stored, is_proven);
    print(&comparison, report.as_ref()).context("failed to write to stdout")?;
    let sound = report.is_none_or(|report| report.faults.is_empty());
    Ok(code(sound && comparison.findings.is_empty()))
}

/// Returns the certificates in the statuses of requests to our issuers.
async fn stored(client: &Client) -> anyhow::Result<Vec<StoredCertificate>> {
    let mut all = Vec::new();
    list(client, &mut all, |request: &CertificateRequest| {
        let ours = request.spec.issuer_ref.group == GROUP;
        let pem = request.status.as_ref()?.certificate.as_ref()?;
        ours.then_some(pem.0.as_slice())
    })
    .await?;
    list(
        client,
        &mut all,
        |request: &v1::CertificateSigningRequest| {
            IssuerName::from_signer_name(&request.spec.signer_name)?;
            let ByteString(pem) = request.status.as_ref()?.certificate.as_ref()?;
            Some(pem.as_slice())
        },
    )
    .await?;
    // The version that the cluster serves; a cluster that serves both has the same objects in both.
    let before = all.len();
    list(client, &mut all, |request: &v1::PodCertificateRequest| {
        IssuerName::from_signer_name(&request.spec.signer_name)?;
        let pem = request.status.as_ref()?.certificate_chain.as_ref()?;
        Some(pem.as_bytes())
    })
    .await?;
    if all.len() == before {
        list(
            client,
            &mut all,
            |request: &v1beta1::PodCertificateRequest| {
                IssuerName::from_signer_name(&request.spec.signer_name)?;
                let pem = request.status.as_ref()?.certificate_chain.as_ref()?;
                Some(pem.as_bytes())
            },
        )
        .await?;
    }
    Ok(all)
}

/// Adds the certificates of one kind, page by page. A cluster without the kind has none.
async fn list<K>(
    client: &Client,
    all: &mut Vec<StoredCertificate>,
    certificate: impl Fn(&K) -> Option<&[u8]>,
) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let kind = K::kind(&());
    let api = Api::<K>::all(client.clone());
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = match api.list(&page).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            listed => listed.with_context(|| format!("failed to list {kind}s"))?,
        };
        for object in &listed.items {
            let Some(text) = certificate(object) else {
                continue;
            };
            let request = match object.namespace() {
                Some(namespace) => format!("{kind} {namespace}/{}", object.name_any()),
                None => format!("{kind} {}", object.name_any()),
            };
            // An unreadable certificate is in no log, so the comparison reports it.
            let first = pem::scan(text).ok();
            let first = first.and_then(|blocks| blocks.blocks.into_iter().next());
            all.push(StoredCertificate {
                request,
                uid: object.uid().unwrap_or_default(),
                der: first.map_or_else(|| text.to_vec(), |block| block.der),
            });
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

fn print(comparison: &Comparison, report: Option<&LogReport>) -> io::Result<()> {
    let Comparison {
        stored,
        signed,
        findings,
        interrupted,
        gone,
        unreadable,
        unproven,
    } = comparison;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{stored} certificates are in the cluster, {signed} were signed according to the log"
    )?;
    for (request, serial) in interrupted {
        let line = format_args!(
            "{request}: certificate {serial} has no published line, because its run has no end: it runs or was killed"
        );
        writeln!(out, "{}", shown(line))?;
    }
    for (request, serial) in gone {
        let line = format_args!(
            "{request}: certificate {serial} was published and is no longer in the cluster"
        );
        writeln!(out, "{}", shown(line))?;
    }
    for serial in unreadable {
        writeln!(
            out,
            "{}",
            shown(format_args!(
                "certificate {serial} is not in the files as a whole"
            ))
        )?;
    }
    match report {
        None => writeln!(
            out,
            "no audit key was given, so the lines of the log are taken as they are"
        )?,
        Some(report) => {
            for (request, serial) in unproven {
                let line = format_args!(
                    "{request}: the signed line of certificate {serial} is not proven by the given keys"
                );
                writeln!(out, "{}", shown(line))?;
            }
            for fault in &report.faults {
                writeln!(out, "FAULT {}", shown(fault))?;
            }
        }
    }
    for finding in findings {
        writeln!(out, "FAULT {}", shown(finding))?;
    }
    writeln!(
        out,
        "{}",
        match findings.len() + report.map_or(0, |report| report.faults.len()) {
            0 => "the log has every certificate of the cluster".to_owned(),
            1 => "1 disagreement was found".to_owned(),
            more => format!("{more} disagreements were found"),
        }
    )
}
