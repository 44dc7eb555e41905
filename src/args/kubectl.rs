//! The flags of `kubectl`, the commands of the kubectl plugin.

mod change;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

pub use self::change::{REVOCATION_REASONS, ReissueAsked, RevokeAsked};
use super::RecordFormat;

/// What to see of issuers and requests in a cluster.
#[derive(Debug, Subcommand)]
pub enum KubectlCommand {
    /// Show an issuer: token, key, chain, replicas, limits, CRLs, what ends when, and what to do.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(IssuerAsked),
    /// List the requests of an issuer, the waiting ones first, each with the step that holds it and why.
    #[command(after_help = REQUESTS_EXAMPLES)]
    Requests(RequestsAsked),
    /// Explain which step holds a request, and what to do next.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(RequestAsked),
    /// Explain why a request was refused: the word of the refusal, its meaning and its page.
    #[command(after_help = WHY_REFUSED_EXAMPLES)]
    WhyRefused(RequestAsked),
    /// Revoke a certificate: create the CertificateRevocation for it.
    #[command(after_help = change::REVOKE_EXAMPLES)]
    Revoke(Box<RevokeAsked>),
    /// Have cert-manager renew the Certificates of an issuer now.
    #[command(after_help = change::REISSUE_EXAMPLES)]
    Reissue(ReissueAsked),
    /// See how far an issuer is on its way to another key.
    #[command(subcommand, after_help = ROLLOVER_EXAMPLES)]
    Rollover(RolloverCommand),
}

/// What to see of rollovers.
#[derive(Debug, Subcommand)]
pub enum RolloverCommand {
    /// Show the steps of a rollover: which are done, and what the next one waits for.
    #[command(after_help = ROLLOVER_STATUS_EXAMPLES)]
    Status(IssuerAsked),
}

/// The cluster, and how to print what it says.
#[derive(Debug, ClapArgs)]
pub struct ClusterFlags {
    /// The kubeconfig to use [default: KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig [default: the current one].
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// The namespace of requests and of namespaced issuers [default: that of the context].
    #[arg(long, short, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Format of stdout.
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub output: RecordFormat,
}

/// Flags of `kubectl status` and `kubectl rollover status`.
#[derive(Debug, ClapArgs)]
pub struct IssuerAsked {
    /// The issuer: NAME, PKCS11ClusterIssuer/NAME or PKCS11Issuer/NAME. Short names (p11ci, p11i) do too.
    #[arg(value_name = "ISSUER")]
    pub issuer: String,

    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// Flags of `kubectl requests`.
#[derive(Debug, ClapArgs)]
pub struct RequestsAsked {
    /// The issuer: NAME, PKCS11ClusterIssuer/NAME or PKCS11Issuer/NAME. Short names (p11ci, p11i) do too.
    #[arg(long, value_name = "ISSUER")]
    pub issuer: String,

    /// Most requests to show.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,

    /// The cluster. With --namespace, only requests of that namespace are listed.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// Flags of `kubectl explain` and `kubectl why-refused`.
#[derive(Debug, ClapArgs)]
pub struct RequestAsked {
    /// The request: NAME of a CertificateRequest, else of a Certificate; or certificaterequest/NAME, certificate/NAME, csr/NAME for
    /// a Kubernetes CSR or pcr/NAME for a PodCertificateRequest. Short names (cr, cert) do too.
    #[arg(value_name = "REQUEST")]
    pub request: String,

    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  kubectl pkcs11-issuer status issuing
  kubectl pkcs11-issuer requests --issuer issuing
  kubectl pkcs11-issuer explain web -n shop

These are the commands of the kubectl plugin: the same program under the name kubectl-pkcs11_issuer, which docs/kubectl.md shows
how to install. They act with your own rights, and say what they could not read.";

const STATUS_EXAMPLES: &str = "\
Examples:
  kubectl pkcs11-issuer status issuing
  kubectl pkcs11-issuer status p11i/issuing -n payments -o yaml

The exit code is 3 if the issuer is not ready.";

const REQUESTS_EXAMPLES: &str = "\
Examples:
  kubectl pkcs11-issuer requests --issuer issuing
  kubectl pkcs11-issuer requests --issuer p11i/issuing -n payments --limit 10 -o json";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  # The newest request of a Certificate:
  kubectl pkcs11-issuer explain certificate/web -n shop

  # A CertificateRequest, a Kubernetes CSR, and the request of the kubelet for a pod:
  kubectl pkcs11-issuer explain web-1 -n shop
  kubectl pkcs11-issuer explain csr/node-7 -o json
  kubectl pkcs11-issuer explain podcertificaterequest/req-web-0-x7k2p -n shop

The exit code is 3 unless the request has its certificate, and that is valid.";

const WHY_REFUSED_EXAMPLES: &str = "\
Examples:
  kubectl pkcs11-issuer why-refused web-1 -n shop
  kubectl pkcs11-issuer why-refused csr/node-7 -o yaml

The exit code is 3 if the request is not refused.";

const ROLLOVER_EXAMPLES: &str = "\
Examples:
  kubectl pkcs11-issuer rollover status issuing

docs/rollover.md describes the steps.";

const ROLLOVER_STATUS_EXAMPLES: &str = "\
Examples:
  kubectl pkcs11-issuer rollover status issuing
  kubectl pkcs11-issuer rollover status p11i/issuing -n payments -o json

The exit code is 3 if the issuer has no rollover.";
