//! The sub-commands, one file each.

mod audit;
mod crds;
mod machine;
mod run;
mod sign;
mod signals;
mod version;

pub use self::{audit::audit, crds::crds, run::run, sign::sign, version::version};
