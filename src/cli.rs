//! The sub-commands, one file each.

mod audit;
mod crds;
mod crl;
mod machine;
mod run;
mod sign;
mod signals;
mod version;

pub use self::{audit::audit, crds::crds, crl::crl, run::run, sign::sign, version::version};
