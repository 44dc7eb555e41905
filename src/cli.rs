//! What each sub-command does, one file each.

mod crds;
mod machine;
mod run;
mod version;

pub use self::{crds::crds, run::run, version::version};
