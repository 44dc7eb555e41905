//! Runs a real Kubernetes control plane with cert-manager, for tests, demo and benchmarks.
//!
//! [`ControlPlane`] runs etcd and kube-apiserver as plain processes in a folder of its own. [`CertManager`] adds
//! cert-manager: its CRDs, its webhook configurations, the RBAC that its chart renders, its controllers and its webhook. Its
//! program is assembled from cert-manager's own packages (`tests/tools/cert-manager`), because the main packages of its
//! release are not available as Go modules.
//!
//! Only the harness is an administrator: every process under test gets a kubeconfig with the identity that it has in
//! production ([`ControlPlane::service_account`]), so a missing RBAC rule fails a test. The API server's audit log has all
//! requests of every identity ([`ControlPlane::audit_log`]).
//!
//! There is no kubelet, so Pods do not run. Nothing is garbage collected, and a deleted namespace stays `Terminating`,
//! until [`ControllerManager`] runs. With a [`Scheduler`] and [`Kwok`] in addition, workloads get Pods, and simulated Nodes
//! report them as running. [`ApproverPolicy`] and [`TrustManager`] add two other projects of cert-manager,
//! [`install_monitors`] adds three kinds of the Prometheus operator. `tests/tools/build kwok approver-policy trust-manager
//! prometheus-operator` builds the programs and the CRDs that these need.
//!
//! Starting takes seconds, so tests may share a control plane in a `static`; each test then uses a namespace of its own.
//! A `static` is never dropped: the kernel kills its processes when the tests end, and the next control plane removes
//! the folder. A [`kube::Client`] belongs to the runtime that created it, so each test creates its own.
//!
//! `make tools` builds the programs (see `tests/tools/README.md`).
//!
//! ```no_run
//! use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let plane = ControlPlane::start(Options::default()).await?;
//! let cert_manager = CertManager::start(&plane, CertManagerOptions::default()).await?;
//! plane.apply("{apiVersion: v1, kind: Namespace, metadata: {name: payments}}").await?;
//! let writes = plane.audit_log()?.writes().on("namespaces").by("admin");
//! assert_eq!(writes.len(), 2); // the harness created the namespace `cert-manager` before
//! # Ok(())
//! # }
//! ```

mod approver_policy;
mod audit;
mod authority;
mod cert_manager;
mod chart;
mod component;
mod controller_manager;
mod folder;
mod kubeconfig;
mod kwok;
mod monitors;
mod otel_collector;
mod plane;
mod poll;
mod ports;
mod process;
mod scheduler;
mod stored;
mod tools;
mod trust_manager;

pub use approver_policy::ApproverPolicy;
pub use audit::{AuditEvent, AuditLog, ObjectRef, ResponseStatus, User};
pub use cert_manager::{CertManager, CertManagerOptions, install_cert_manager_kinds};
pub use chart::{Chart, helm};
pub use controller_manager::ControllerManager;
pub use kwok::Kwok;
pub use monitors::install_monitors;
pub use otel_collector::OtelCollector;
pub use plane::{ControlPlane, Options};
pub use poll::until;
pub use process::{Process, Program};
pub use rustix::process::Signal;
pub use scheduler::Scheduler;
pub use stored::Stored;
pub use tools::Tools;
pub use trust_manager::TrustManager;
