//! The commands of the kubectl plugin: they act with the user's own rights, and say what they could not read.

mod change;
mod cluster;
mod explain;
mod gather;
mod pages;
mod read;
mod refused;
mod reissue;
mod requests;
mod revoke;
mod rollover;
mod snapshot;
mod status;
mod step;
mod target;
mod text;

use std::process::ExitCode;

use self::cluster::Cluster;
use super::output::print;
use crate::{
    args::{IssuerAsked, KubectlCommand, RequestAsked, RequestsAsked, RolloverCommand},
    pipeline::now,
};

/// Exit code if the answer is no.
const NO: u8 = 3;

/// Runs one of the commands.
///
/// # Errors
/// The cluster cannot be reached, or what the command is about does not exist or cannot be read.
pub async fn kubectl(command: &KubectlCommand) -> anyhow::Result<ExitCode> {
    let is_yes = match command {
        KubectlCommand::Status(asked) => show_status(asked).await?,
        KubectlCommand::Requests(asked) => list_requests(asked).await?,
        KubectlCommand::Explain(asked) => explain_request(asked).await?,
        KubectlCommand::WhyRefused(asked) => why_refused(asked).await?,
        KubectlCommand::Revoke(asked) => change::revoke(asked).await?,
        KubectlCommand::Reissue(asked) => change::reissue(asked).await?,
        KubectlCommand::Rollover(RolloverCommand::Status(asked)) => show_rollover(asked).await?,
    };
    Ok(match is_yes {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NO),
    })
}

async fn explain_request(asked: &RequestAsked) -> anyhow::Result<bool> {
    let cluster = Cluster::connect(&asked.cluster).await?;
    let snapshot = gather::of_request(&cluster, &asked.request).await?;
    let explained = explain::explain(&snapshot, now());
    print(asked.cluster.output, &explained, || {
        text::explained(&explained)
    })?;
    Ok(explained.is_done())
}

async fn why_refused(asked: &RequestAsked) -> anyhow::Result<bool> {
    let cluster = Cluster::connect(&asked.cluster).await?;
    let snapshot = gather::of_request(&cluster, &asked.request).await?;
    let record = refused::of(&snapshot)?;
    print(asked.cluster.output, &record, || text::refused(&record))?;
    Ok(record.is_refused)
}

async fn list_requests(asked: &RequestsAsked) -> anyhow::Result<bool> {
    let cluster = Cluster::connect(&asked.cluster).await?;
    let issuer = gather::issuer(&cluster, &asked.issuer).await?;
    let only = asked.cluster.namespace.as_deref();
    let read = gather::requests_of(&cluster, &issuer, only).await?;
    let record = requests::of(&issuer, &read, asked.limit, now());
    print(asked.cluster.output, &record, || text::requests(&record))?;
    Ok(true)
}

async fn show_status(asked: &IssuerAsked) -> anyhow::Result<bool> {
    let cluster = Cluster::connect(&asked.cluster).await?;
    let issuer = gather::issuer(&cluster, &asked.issuer).await?;
    let read = gather::requests_of(&cluster, &issuer, None).await?;
    let record = status::of(&issuer, &read, now());
    print(asked.cluster.output, &record, || text::status(&record))?;
    Ok(record.ready)
}

async fn show_rollover(asked: &IssuerAsked) -> anyhow::Result<bool> {
    let cluster = Cluster::connect(&asked.cluster).await?;
    let issuer = gather::issuer(&cluster, &asked.issuer).await?;
    let record = rollover::of(&issuer, now());
    print(asked.cluster.output, &record, || text::rollover(&record))?;
    Ok(record.in_progress)
}
