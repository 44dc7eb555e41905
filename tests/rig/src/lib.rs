//! Runs the controller as in production, on a real control plane with a real token: for tests, demo and benchmarks.
//!
//! There are four parts, each usable alone, and [`Rig`] combines them:
//!
//! * [`Cluster`]: a control plane with cert-manager, our CRDs and the rights that our chart gives the controller;
//! * [`Authority`]: a token with a root and an issuing key, and the certificates that the root has signed;
//! * [`Controller`]: our program, under its own service account, never as an administrator;
//! * [`Requests`]: CertificateRequests of one namespace, created by one identity and approved by another; and
//!   [`SigningRequests`], the same for Kubernetes' own CSRs.
//!
//! Tests see the controller only from outside: through the API server, the log, the issuance log and the metrics. They
//! use no type of the program under test, so that they cannot share its mistakes.
//!
//! Tests may share a [`Rig`] in a `static`, each in a namespace of its own. [`Requests`] belong to the runtime that created
//! them, so each test creates its own.
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
//! assert_eq!(rig.controller().lines_of("default", "web")?.len(), 3); // signing, signed, published
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
pub use controller::{Controller, ControllerOptions, IMAGE_ENV};
pub use metrics::Metrics;
pub use programs::Programs;
pub use requests::{Requests, csr_for, csr_for_names, request_spec};
pub use rig::{Options, Rig};
pub use signing_requests::{SigningRequests, signing_request_spec};
pub use status::{Condition, Status};

use std::time::Duration;

/// The longest time that a test waits for anything. It is far longer than needed, for machines under load.
pub const PATIENCE: Duration = Duration::from_secs(60);
