//! Tests `pkcs11-issuer audit` as a process, on logs of the program, and its exports with third-party programs.

mod commands;
mod compare;
mod foreign;
mod key;
