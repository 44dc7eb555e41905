//! Tests `pkcs11-issuer sign` as a process with a real token: its output, its files and its exit codes.

pub(crate) mod case;
mod interrupted;
pub(crate) mod keys;
mod mistakes;
mod output;
mod pins;
mod refusals;
mod without_login;
