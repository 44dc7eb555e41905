//! The flags of `doctor`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{RecordFormat, run::DEFAULT_NAMESPACE};

/// Flags of `doctor`.
#[derive(Debug, ClapArgs)]
pub struct Doctor {
    /// The operator's configuration. Without it, libraries, tokens and keys are not checked.
    #[arg(long, value_name = "FILE", env = "PKCS11_ISSUER_CONFIG")]
    pub config: Option<PathBuf>,

    /// An issuer: a file in YAML or JSON, or in the cluster PKCS11ClusterIssuer/NAME or PKCS11Issuer/NAMESPACE/NAME. Without it,
    /// certificates, keys and CRLs are not checked.
    #[arg(long, value_name = "ISSUER")]
    pub issuer: Option<String>,

    /// The kubeconfig to use [default: KUBECONFIG, else the pod's own identity]. Without any, the cluster is not checked.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig [default: its current one].
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,

    /// The controller's namespace.
    #[arg(long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,

    /// The controller's service account.
    #[arg(long, value_name = "NAME", default_value = "pkcs11-issuer")]
    pub service_account: String,

    /// The service account of the approver, with its namespace.
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        default_value = "cert-manager/cert-manager"
    )]
    pub approver: String,

    /// Make only these checks: ids, or groups, separated by commas.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub only: Vec<String>,

    /// Leave out these checks: ids, or groups, separated by commas.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub skip: Vec<String>,

    /// Format of stdout.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: RecordFormat,

    /// Write what was found into this new folder, for support or an auditor. It has no PIN and no Secret.
    #[arg(long, value_name = "DIR")]
    pub evidence: Option<PathBuf>,

    /// The HSM worker program [default: pkcs11-hsm-worker beside this program].
    #[arg(long, value_name = "PATH", env = "PKCS11_ISSUER_WORKER")]
    pub worker: Option<PathBuf>,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  # On the HSM's node or in a pod, with everything that the configuration names:
  pkcs11-issuer doctor --config /etc/pkcs11-issuer/config.yaml

  # An issuer, up to a signature with its key:
  pkcs11-issuer doctor --config config.yaml --issuer issuer.yaml

  # The cluster of a kubeconfig, with an issuer of it:
  pkcs11-issuer doctor --kubeconfig ~/.kube/config --issuer PKCS11ClusterIssuer/issuing

  # Only what was wrong before, for a program:
  pkcs11-issuer doctor --config config.yaml --only library,token-present --output json

  # Without cluster and network, and with a folder for support:
  pkcs11-issuer doctor --config config.yaml --skip cluster,installation,crl,network --evidence /tmp/evidence

Exit codes: 0 no check failed, 3 a check failed, 1 doctor could not run.

doctor changes nothing but the PIN record, and spends no try of a PIN: it logs in only with a PIN that the record says was
accepted. Each check is explained in docs/doctor.md.";
