//! The sub-commands, one file each.

mod audit;
mod certificate;
mod crds;
mod crl;
mod dev;
mod doctor;
mod find;
mod input;
mod issuer_file;
mod key;
mod kubectl;
mod machine;
mod man;
mod output;
mod pin;
mod revoke_proof;
mod run;
mod session;
mod sign;
mod signals;
mod token;
mod version;
mod words;

pub use self::{
    audit::audit, certificate::certificate, crds::crds, crl::crl, dev::dev, doctor::doctor,
    key::key, kubectl::kubectl, man::man, revoke_proof::revoke_proof, run::run, sign::sign,
    token::token, version::version,
};
