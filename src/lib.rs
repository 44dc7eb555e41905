//! The external issuer for cert-manager whose CA keys never leave an HSM.

pub mod args;
pub mod audit;
pub mod cli;
pub mod config;
pub mod duration;
pub mod metrics;
pub mod server;
pub mod telemetry;
