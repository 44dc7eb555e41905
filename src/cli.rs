//! The sub-commands, one file each.

mod crds;
mod machine;
mod run;
mod sign;
mod signals;
mod version;

pub use self::{crds::crds, run::run, sign::sign, version::version};
