//! The external issuer for cert-manager whose CA keys never leave an HSM.
//!
//! Modules in reading order: certificates and profiles ([`issuance`]), the Kubernetes kinds ([`api`]), the tokens and the
//! replicas that use them ([`signers`], [`pins`], [`ownership`]), the steps from a request to a certificate ([`pipeline`]),
//! the Kubernetes controller around them ([`reconcile`]), and the process.

pub mod issuance;

pub mod api;
pub mod checkpoints;
pub mod ownership;
pub mod pins;
pub mod pipeline;
pub mod reconcile;
pub mod revocation;
pub mod signers;

pub mod audit;
pub mod message;
pub mod metrics;
pub mod server;
pub mod telemetry;
pub mod trace;

pub mod args;
pub mod cli;
pub mod config;
pub mod duration;
mod lanes;
