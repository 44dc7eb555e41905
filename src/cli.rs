//! The sub-commands, one file each.

mod audit;
mod crds;
mod crl;
mod doctor;
mod issuer_file;
mod machine;
mod man;
mod output;
mod revoke_proof;
mod run;
mod sign;
mod signals;
mod token;
mod version;

pub use self::{
    audit::audit, crds::crds, crl::crl, doctor::doctor, man::man, revoke_proof::revoke_proof,
    run::run, sign::sign, token::token, version::version,
};
