//! The commands that change something: they say what they will do, ask on a terminal, and do it with the user's own rights.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};

use super::{
    cluster::{Cluster, gap},
    gather,
    read::Read,
    reissue::{self, ReissueRecord, RenewalOutcome},
    revoke::{self, ReleaseRecord, RevokeRecord, ToRevoke},
    text,
};
use crate::{
    api::{certificate::Certificate, revocation::CertificateRevocation},
    args::{ReissueAsked, RevokeAsked},
    cli::output::print,
    message::shown,
    pipeline::now,
    reconcile::request_renewal,
};

/// Name of these commands in `metadata.managedFields`.
const MANAGER: &str = "kubectl-pkcs11-issuer";
/// Reason and message of the condition that makes cert-manager renew a Certificate.
const RENEWAL: (&str, &str) = (
    "Reissue",
    "kubectl pkcs11-issuer reissue asked for a new certificate",
);

/// Revokes a certificate.
pub(super) async fn revoke(asked: &RevokeAsked) -> anyhow::Result<bool> {
    let cluster = Cluster::connect(&asked.cluster).await?;
    if let Some(hold) = &asked.release {
        return release(asked, hold, &cluster).await;
    }
    let reason = asked.reason.as_deref().context("give --reason")?;
    if let Some(date) = asked.invalidity_date {
        ensure!(
            date <= now(),
            "--invalidity-date {date} is in the future; give since when the certificate is invalid"
        );
    }
    let read;
    let (what, issuer) = if let Some(target) = &asked.request {
        read = gather::of_request(&cluster, target).await?;
        let request = read.request.found();
        let request = request.context("the Certificate has no CertificateRequest")?;
        let issuer = request.issuer.clone();
        let issuer =
            issuer.with_context(|| format!("{request} names no issuer of this controller"))?;
        (ToRevoke::Request(request), issuer)
    } else {
        let issuer = asked.issuer.as_deref().context("give --issuer")?;
        let issuer = gather::issuer(&cluster, issuer).await?.name;
        match (&asked.certificate, &asked.serial) {
            (Some(file), _) => {
                let proof = asked.proof.as_deref().map(text_of).transpose()?;
                (ToRevoke::Certificate(text_of(file)?, proof), issuer)
            }
            (None, Some(serial)) => (ToRevoke::Serial(serial.clone()), issuer),
            (None, None) => bail!("give a request, --certificate or --serial"),
        }
    };
    let place = cluster.namespace.as_str();
    let (date, renew) = (asked.invalidity_date, asked.renew);
    let (object, revokes) = revoke::object(&what, &issuer, place, reason, date, renew)?;
    if !asked.dry_run {
        let way_back = match reason {
            "CertificateHold" => "--release can take it back",
            _ => "this is final",
        };
        confirm(
            asked.yes,
            &format!("Revoke {revokes}? Reason: {reason}; {way_back}."),
        )?;
    }
    let params = PostParams {
        dry_run: asked.dry_run,
        field_manager: Some(MANAGER.to_owned()),
    };
    let api = Api::<CertificateRevocation>::namespaced(cluster.client.clone(), place);
    let created = api.create(&params, &object).await;
    let object = created.or_else(|error| {
        let part = "the revocation was not created";
        Err(anyhow!(
            "{}",
            gap::<CertificateRevocation>(error, "create", Some(place), part)?
        ))
    })?;
    let record = RevokeRecord {
        revokes,
        dry_run: asked.dry_run,
        object,
    };
    print(asked.cluster.output, &record, || text::revoked(&record))?;
    Ok(true)
}

/// Takes a CertificateHold back.
async fn release(asked: &RevokeAsked, name: &str, cluster: &Cluster) -> anyhow::Result<bool> {
    let place = cluster.namespace.as_str();
    let api = Api::<CertificateRevocation>::namespaced(cluster.client.clone(), place);
    let part = "the hold is not taken back";
    let hold = match cluster.get(&api, Some(place), name, part).await? {
        Read::Found(found) => found,
        Read::Missing => bail!(
            "namespace {place} has no CertificateRevocation {name}; see kubectl get certificaterevocations -A"
        ),
        Read::Unknown(gap) => bail!("{gap}"),
    };
    let releases = revoke::held(&hold)?;
    if !asked.dry_run {
        confirm(asked.yes, &format!("Make valid again {releases}?"))?;
    }
    let params = PatchParams {
        dry_run: asked.dry_run,
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(serde_json::json!({"spec": {"release": true}}));
    let patched = api.patch(name, &params, &patch).await;
    let object = patched.or_else(|error| {
        Err(anyhow!(
            "{}",
            gap::<CertificateRevocation>(error, "patch", Some(place), part)?
        ))
    })?;
    let record = ReleaseRecord {
        releases,
        dry_run: asked.dry_run,
        object,
    };
    print(asked.cluster.output, &record, || text::released(&record))?;
    Ok(true)
}

/// Has the Certificates of an issuer renewed.
pub(super) async fn reissue(asked: &ReissueAsked) -> anyhow::Result<bool> {
    let cluster = Cluster::connect(&asked.cluster).await?;
    let issuer = gather::issuer(&cluster, &asked.issuer).await?;
    let client = cluster.client.clone();
    let place = asked
        .cluster
        .namespace
        .as_deref()
        .or(issuer.name.namespace.as_deref());
    let api: Api<Certificate> = match place {
        Some(place) => Api::namespaced(client.clone(), place),
        None => Api::all(client.clone()),
    };
    let selected = asked
        .selector
        .as_deref()
        .map(|labels| ListParams::default().labels(labels));
    let part = format!("the Certificates of {}", issuer.name);
    let own = |one: Certificate| reissue::is_of(&one, &issuer).then_some(one);
    let all = match cluster
        .list(&api, place, selected.unwrap_or_default(), &part, own)
        .await?
    {
        Read::Found(all) => all,
        Read::Missing => bail!("this cluster has no Certificates of cert-manager"),
        Read::Unknown(gap) => {
            bail!("{gap}; give --namespace if you may list those of one namespace")
        }
    };
    let mut record = ReissueRecord {
        issuer: issuer.name.to_string(),
        dry_run: asked.dry_run,
        certificates: all.iter().map(reissue::row).collect(),
    };
    let count = record.count(RenewalOutcome::Renewed);
    if !asked.dry_run && count > 0 {
        let question = format!("Have {count} Certificates of {} renewed?", issuer.name);
        confirm(asked.yes, &question)?;
        for (certificate, row) in all.iter().zip(&mut record.certificates) {
            if row.outcome != RenewalOutcome::Renewed {
                continue;
            }
            let (reason, message) = RENEWAL;
            if let Err(error) = request_renewal(certificate, reason, message, now(), &client).await
            {
                let part = "it is not renewed";
                let place = Some(row.namespace.as_str());
                row.error =
                    gap::<Certificate>(error, "update the status of", place, part)?.to_string();
                row.outcome = RenewalOutcome::NotWritten;
            }
            tokio::time::sleep(Duration::from_secs(1) / u32::from(asked.per_second)).await;
        }
    }
    print(asked.cluster.output, &record, || text::reissued(&record))?;
    let failed = record.count(RenewalOutcome::NotWritten);
    ensure!(
        failed == 0,
        "{failed} Certificates could not be written; the list says why"
    );
    Ok(count > 0)
}

/// Asks on the terminal, unless the answer was given.
fn confirm(yes: bool, question: &str) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    ensure!(
        io::stdin().is_terminal() && io::stderr().is_terminal(),
        "nobody can be asked, because stdin or stderr is not a terminal; give --yes, or --dry-run"
    );
    let mut stderr = io::stderr().lock();
    write!(stderr, "{}\nType yes to go on: ", shown(question))?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    ensure!(answer.trim() == "yes", "nothing was done");
    Ok(())
}

fn text_of(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}
