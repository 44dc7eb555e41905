//! `pkcs11-issuer crl import`: merges published CRLs into the stored state.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, bail};

use super::{
    run::client::client,
    version::{COMMIT, VERSION},
};
use crate::{
    args::{Crl, ImportCrl},
    issuance::{
        IssuerChain,
        crl::{CaId, ReadCrl, Shards},
    },
    metrics::Metrics,
    revocation::{Imported, import},
};

/// Runs one of the commands.
///
/// # Errors
/// A file cannot be read or is not a CRL of this CA, or the cluster refuses.
pub async fn crl(command: &Crl) -> anyhow::Result<()> {
    match command {
        Crl::Import(args) => import_crls(args).await,
    }
}

async fn import_crls(args: &ImportCrl) -> anyhow::Result<()> {
    let ImportCrl {
        certificate,
        kubeconfig,
        namespace,
        shards,
        files,
    } = args;
    let chain = IssuerChain::parse(&read(certificate)?, None)
        .with_context(|| format!("{} is not the certificate of a CA", certificate.display()))?;
    let issuing = chain.issuing();
    let mut crls = Vec::new();
    for file in files {
        let found = ReadCrl::parse_either(&read(file)?)
            .with_context(|| format!("{} is not a CRL", file.display()))?;
        for crl in found {
            crl.verify(issuing)
                .with_context(|| format!("the CRL in {} is not one of this CA", file.display()))?;
            crls.push(crl);
        }
    }
    if crls.is_empty() {
        bail!("the files have no CRL");
    }
    let shards = shards.map(Shards::try_from).transpose()?;
    let metrics = Arc::new(Metrics::new(VERSION, COMMIT));
    let client = client(kubeconfig.as_deref(), &metrics).await?;
    let ca = CaId::of(issuing);
    for Imported {
        shard,
        number,
        added,
        entries,
    } in import(client, namespace, &ca, shards, &crls).await?
    {
        println!(
            "CA {ca}, shard {shard}: CRL {number} imported, {added} entries added, {entries} in all"
        );
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("failed to read {}", file.display()))
}
