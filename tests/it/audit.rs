//! Tests `pkcs11-issuer audit` as a process, on logs of the program, and its exports with programs of others.

mod commands;
mod foreign;
mod key;
