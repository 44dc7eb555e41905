//! The controller as it runs in production, on a real control plane with a real token: for tests, demo and benchmarks.
//!
//! Four parts, each of use alone, and [`Rig`] with all of them:
//!
//! * [`Cluster`]: a control plane with cert-manager, our kinds and the rights that our chart gives the controller;
//! * [`Authority`]: a token with a root and an issuing key, and the certificates that the root has signed;
//! * [`Controller`]: our program, as the service account that the RBAC is for, never as an administrator;
//! * [`Requests`]: CertificateRequests of one namespace, made by one identity and approved by another, and
//!   [`SigningRequests`], which are Kubernetes' own.
//!
//! Everything is seen from outside: through the API server, the log, the issuance record and the metrics. No type of
//! the program under test is used, so that a test cannot share its mistakes.
//!
//! A [`Rig`] may live in a `static` and be shared by tests, each in a namespace of its own; [`Requests`] belong to the
//! runtime that made them, so each test asks for its own.
//!
//! ```no_run
//! use rig::{IssuerName, Options, Rig, csr_for, request_spec};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let rig = Rig::start(Options::default()).await?;
//! let issuing = IssuerName::cluster("issuing");
//! rig.cluster().apply_issuer(&issuing, &rig.authority().issuer_spec()).await?;
//! rig.cluster().issuer_is_ready(&issuing).await?;
//!
//! let requests = rig.cluster().requests("default").await?;
//! requests.create("web", request_spec(&issuing, &csr_for("web.example")?)).await?;
//! requests.approve("web").await?;
//! let issued = requests.reaches("web", "Issued").await?;
//! assert!(issued.certificate().is_some());
//! assert_eq!(rig.controller().record_of("default", "web")?.len(), 3); // signing, signed, published
//! # Ok(())
//! # }
//! ```

mod authority;
mod chart;
mod cluster;
mod controller;
mod metrics;
mod programs;
mod requests;
mod rig;
mod signing_requests;
mod status;

pub use authority::Authority;
pub use chart::{apply_rights, chart_path};
pub use cluster::{CONTROLLER, Cluster, IssuerName, NAMESPACE};
pub use controller::{Controller, ControllerOptions};
pub use metrics::Metrics;
pub use programs::Programs;
pub use requests::{Requests, csr_for, request_spec};
pub use rig::{Options, Rig};
pub use signing_requests::{SigningRequests, signing_request_spec};
pub use status::{Condition, Status};

use std::time::Duration;

/// How long anything may take: far longer than it does, for a machine under load.
pub const PATIENCE: Duration = Duration::from_secs(60);
