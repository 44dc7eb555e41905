//! `pkcs11-issuer sign` as a process, with a real token: what it writes, where, and how it ends.

mod case;
mod interrupted;
mod keys;
mod mistakes;
mod output;
mod pins;
mod refusals;
