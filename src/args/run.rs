//! The flags of `run`, each with its environment variable and its default.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use clap::{ArgAction, Args as ClapArgs, ValueEnum};

use crate::{duration::GoDuration, ownership::LeaseDuration, telemetry::LogFormat};

/// Cluster resource namespace, if neither the flag nor the pod sets one.
pub(super) const DEFAULT_NAMESPACE: &str = "pkcs11-issuer-system";
const PROBE_INTERVALS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const UNDECIDED_AFTER: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(9999 * 3600);
/// The most issuers with metrics of their own. Each has at most seven series.
const MOST_ISSUER_METRICS: usize = 1000;
const DRAIN_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Flags of the controller. The configuration file says what the controller may use.
#[derive(Debug, ClapArgs)]
pub struct Run {
    /// The operator's configuration: modules, tokens and grants.
    #[arg(long, value_name = "FILE", env = "PKCS11_ISSUER_CONFIG")]
    pub config: PathBuf,

    /// The kubeconfig to use [default: KUBECONFIG, else the pod's own identity].
    #[arg(long, value_name = "FILE", env = "PKCS11_ISSUER_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the Secrets and ConfigMaps of cluster issuers, and of this controller's own objects
    /// [default: the pod's namespace, else pkcs11-issuer-system].
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "PKCS11_ISSUER_CLUSTER_RESOURCE_NAMESPACE"
    )]
    pub cluster_resource_namespace: Option<String>,

    /// Answer only issuers with this spec.class. Each installation in a cluster needs its own class; one may leave it empty.
    #[arg(long, value_name = "CLASS", env = "PKCS11_ISSUER_CLASS", default_value = "", value_parser = class)]
    pub class: String,

    /// Sign only approved requests. `false` signs every request that names one of this controller's issuers.
    #[arg(long, env = "PKCS11_ISSUER_ENFORCE_APPROVAL", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = true, default_missing_value = "true", num_args = 0..=1)]
    pub enforce_approval: bool,

    /// Write an Event about a request that nobody has approved or denied for this long, from 1s to 9999h. By default, no
    /// such Event is written, because people may take hours. The metrics count undecided requests in any case.
    #[arg(long, value_name = "DURATION", env = "PKCS11_ISSUER_UNDECIDED_AFTER", value_parser = undecided_after)]
    pub undecided_after: Option<Duration>,

    /// Answer cert-manager's CertificateRequests. With `auto`, the controller answers them as soon as the cluster has the
    /// kind, and is ready without it.
    #[arg(long, env = "PKCS11_ISSUER_CERTIFICATE_REQUESTS", value_name = "WHEN",
          default_value = "auto", default_missing_value = "true", num_args = 0..=1)]
    pub certificate_requests: Answering,

    /// Answer the CertificateSigningRequests of Kubernetes, too.
    #[arg(long, env = "PKCS11_ISSUER_CERTIFICATE_SIGNING_REQUESTS", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = true, default_missing_value = "true", num_args = 0..=1)]
    pub certificate_signing_requests: bool,

    /// Answer the PodCertificateRequests of issuers with spec.podCertificates, if this Kubernetes has them (1.36).
    #[arg(long, env = "PKCS11_ISSUER_POD_CERTIFICATE_REQUESTS", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = false, default_missing_value = "true", num_args = 0..=1)]
    pub pod_certificate_requests: bool,

    /// Publish the trust anchors of issuers with spec.podCertificates as ClusterTrustBundles, if this Kubernetes has
    /// them (1.33).
    #[arg(long, env = "PKCS11_ISSUER_CLUSTER_TRUST_BUNDLES", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = false, default_missing_value = "true", num_args = 0..=1)]
    pub cluster_trust_bundles: bool,

    /// Watch cert-manager's Certificates, and revoke the certificates of those that are deleted if their issuer says
    /// `spec.crl.onDelete: Revoke`. Needs rights on Certificates.
    #[arg(long, env = "PKCS11_ISSUER_REVOKE_DELETED_CERTIFICATES", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = false, default_missing_value = "true", num_args = 0..=1)]
    pub revoke_deleted_certificates: bool,
    /// Publish the trust anchors of each cluster issuer as the ConfigMap pkcs11-issuer-trust-ISSUER in this controller's
    /// namespace, for trust-manager.
    #[arg(long, env = "PKCS11_ISSUER_TRUST_CONFIG_MAPS", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = false, default_missing_value = "true", num_args = 0..=1)]
    pub trust_config_maps: bool,

    /// Let issuers have cert-manager's Certificates renewed (spec.reissue).
    #[arg(long, env = "PKCS11_ISSUER_REISSUE", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = false, default_missing_value = "true", num_args = 0..=1)]
    pub reissue: bool,

    /// Write Events, for people. No decision depends on them, and each costs the API server as much as a status write.
    #[arg(long, env = "PKCS11_ISSUER_EVENTS", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = true, default_missing_value = "true", num_args = 0..=1)]
    pub events: bool,

    /// Address of /livez and /readyz. The default listens on all IPv6 and IPv4 addresses.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PKCS11_ISSUER_HEALTH_ADDRESS",
        default_value = "[::]:8081"
    )]
    pub health_address: SocketAddr,

    /// Address of /metrics, as for --health-address.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PKCS11_ISSUER_METRICS_ADDRESS",
        default_value = "[::]:9402"
    )]
    pub metrics_address: SocketAddr,

    /// Address that serves CRLs over HTTP, as for --health-address, such as 0.0.0.0:8082. By default this controller makes no
    /// CRLs.
    #[arg(long, value_name = "ADDRESS", env = "PKCS11_ISSUER_CRL_ADDRESS")]
    pub crl_address: Option<SocketAddr>,

    /// How many issuers get metrics of their own, 0 to 1000, with their names as labels. The first ones that are seen get
    /// them; requests of the others are counted together.
    #[arg(
        long,
        value_name = "N",
        env = "PKCS11_ISSUER_ISSUER_METRICS",
        default_value = "0",
        value_parser = issuer_metrics
    )]
    pub issuer_metrics: usize,

    /// Address of /debug/state, which shows what the controller knows, without secrets. A port alone stands for that port of
    /// 127.0.0.1, which `kubectl port-forward` reaches. By default there is none.
    #[arg(long, value_name = "ADDRESS", env = "PKCS11_ISSUER_DEBUG_ADDRESS", value_parser = debug_address)]
    pub debug_address: Option<SocketAddr>,

    /// URL of a collector that takes OTLP over HTTP, such as http://collector:4318; the traces of requests go to /v1/traces
    /// below it [default: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, else OTEL_EXPORTER_OTLP_ENDPOINT, else no traces].
    #[arg(long, value_name = "URL", env = "PKCS11_ISSUER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// The HSM worker program [default: pkcs11-hsm-worker beside this program].
    #[arg(long, value_name = "PATH", env = "PKCS11_ISSUER_WORKER")]
    pub worker: Option<PathBuf>,

    /// Name of this replica, unique among all replicas [default: POD_NAME, else the host name].
    #[arg(long, value_name = "NAME", env = "PKCS11_ISSUER_IDENTITY")]
    pub identity: Option<String>,

    /// How long this replica's Lease is valid after its last renewal: whole seconds, 3s to 5m. The share of a lost replica
    /// moves to the others after this time.
    #[arg(
        long,
        value_name = "DURATION",
        env = "PKCS11_ISSUER_LEASE_DURATION",
        default_value = "15s"
    )]
    pub lease_duration: LeaseDuration,

    /// How long the process may take to end after SIGTERM or SIGINT, from 1s to 1h. In the first five eighths it finishes
    /// the requests in flight, in the rest it gives the Lease back. Then the process ends, even if something hangs. A second
    /// signal ends it at once.
    #[arg(
        long,
        value_name = "DURATION",
        env = "PKCS11_ISSUER_DRAIN_TIMEOUT",
        default_value = "20s",
        value_parser = drain_timeout
    )]
    pub drain_timeout: Duration,

    /// How many requests are processed at the same time.
    #[arg(
        long,
        value_name = "N",
        env = "PKCS11_ISSUER_CONCURRENCY",
        default_value = "32"
    )]
    pub concurrency: NonZeroUsize,

    /// How long a verified signature proves an issuer's key, from 1s to 24h. After that the token signs a probe, unless it
    /// has signed certificates in the meantime. Secrets, ConfigMaps and PINs are read once a minute in any case.
    #[arg(
        long,
        value_name = "DURATION",
        env = "PKCS11_ISSUER_PROBE_INTERVAL",
        default_value = "60s",
        value_parser = probe_interval
    )]
    pub probe_interval: Duration,

    /// Format of the log lines on stderr.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "PKCS11_ISSUER_LOG_FORMAT",
        default_value = "json"
    )]
    pub log_format: LogFormat,

    /// Filter of the log lines, in the syntax of RUST_LOG [default: RUST_LOG, else info].
    #[arg(long, value_name = "FILTER", env = "PKCS11_ISSUER_LOG_LEVEL")]
    pub log_level: Option<String>,
}

/// Whether to answer a kind of request that the cluster may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Answering {
    /// If the cluster has it.
    Auto,
    /// In any case; the controller is not ready without it.
    True,
    /// Not at all.
    False,
}

fn class(text: &str) -> Result<String, String> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let allowed = text.chars().all(|c| is_inner(c) || c == '-');
    let ends = !text.starts_with('-') && !text.ends_with('-');
    if text.len() <= 63 && allowed && ends {
        Ok(text.to_owned())
    } else {
        Err("write a DNS label: a-z, 0-9 and inner hyphens, at most 63 characters".to_owned())
    }
}

fn issuer_metrics(text: &str) -> Result<usize, String> {
    let most = text.parse().ok();
    most.filter(|most| *most <= MOST_ISSUER_METRICS)
        .ok_or_else(|| format!("write a number from 0 to {MOST_ISSUER_METRICS}"))
}

/// Parses an address, or a port of 127.0.0.1.
fn debug_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port| (Ipv4Addr::LOCALHOST, port).into());
    port.or_else(|_| text.parse())
        .map_err(|_| "write a port, or an address with a port: 6060 or 127.0.0.1:6060".to_owned())
}

fn probe_interval(text: &str) -> Result<Duration, String> {
    duration(text, PROBE_INTERVALS, "1s to 24h")
}

fn undecided_after(text: &str) -> Result<Duration, String> {
    duration(text, UNDECIDED_AFTER, "1s to 9999h")
}

fn drain_timeout(text: &str) -> Result<Duration, String> {
    duration(text, DRAIN_TIMEOUTS, "1s to 1h")
}

fn duration(text: &str, range: RangeInclusive<Duration>, told: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration
        .unsigned()
        .filter(|duration| range.contains(duration))
        .ok_or_else(|| format!("write a duration from {told}"))
}

pub(super) const EXAMPLES: &str = "\
Examples:
  In a pod, with its own identity:
    pkcs11-issuer run --config /etc/pkcs11-issuer/config.yaml
  On a workstation, with readable logs:
    pkcs11-issuer run --config config.yaml --kubeconfig ~/.kube/config --log-format text
  Without an approver in the cluster:
    pkcs11-issuer run --config config.yaml --enforce-approval=false

The file names PKCS#11 libraries and tokens:
  modules:
    softhsm: {path: /usr/lib/softhsm/libsofthsm2.so}
  tokens:
    issuing: {module: softhsm, label: issuing, pinFile: /run/secrets/hsm/pin}";

impl Run {
    /// Returns the cluster resource namespace: the flag, else the pod's own namespace, else `pkcs11-issuer-system`.
    ///
    /// `pod_namespace` is the text of the service account's `namespace` file, if there is one.
    #[must_use]
    pub fn cluster_resource_namespace(&self, pod_namespace: Option<&str>) -> String {
        let pod = pod_namespace
            .map(str::trim)
            .filter(|namespace| !namespace.is_empty());
        self.cluster_resource_namespace
            .as_deref()
            .or(pod)
            .unwrap_or(DEFAULT_NAMESPACE)
            .to_owned()
    }

    /// Returns the log filter: the flag, else `rust_log` (the variable RUST_LOG), else `info`.
    #[must_use]
    pub fn log_filter(&self, rust_log: Option<&str>) -> String {
        self.log_level
            .as_deref()
            .or(rust_log)
            .unwrap_or("info")
            .to_owned()
    }
}

#[cfg(test)]
mod tests;
