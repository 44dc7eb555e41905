//! The flags of `crl`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::run::DEFAULT_NAMESPACE;

/// What to do with certificate revocation lists.
#[derive(Debug, Subcommand)]
pub enum Crl {
    /// Merge published CRLs into the stored state, after a backup of the cluster was restored. The controller signs no CRL of a
    /// CA while its stored state is older than what was published (StateOlderThanPublished).
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportCrl),
}

/// Flags of `crl import`.
#[derive(Debug, ClapArgs)]
pub struct ImportCrl {
    /// The CA certificate, PEM, with which the CRLs are verified.
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,

    /// The kubeconfig to use [default: KUBECONFIG, else the pod's own identity].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The controller's namespace.
    #[arg(long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,

    /// Number of shards of the CA (spec.crl.shards), if nothing is stored of it any more [default: as stored, else 1].
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,

    /// Files with the newest published CRLs, DER or PEM, one of each shard.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  The newest published CRL is still at its URL, or in a cache:
    curl -o newest.crl http://pki.example/crl/0123456789abcdef0123456789abcdef/0.crl
    pkcs11-issuer crl import --certificate ca.pem newest.crl

Entries are only added: a certificate that is revoked in the stored state stays revoked. The next CRL gets a number above that
of every imported one. Entries that were imported stay on the CRL, because a CRL does not say when their certificates end.";
