//! The flags of `dev`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// Flags of `dev`.
#[derive(Debug, ClapArgs)]
pub struct Dev {
    /// Folder for everything, which must not exist yet. If `dev` has made it before, nothing is changed, and what is in it is
    /// printed again.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// SoftHSM's library [default: where Debian, Fedora or a build from source installs it].
    #[arg(long, value_name = "PATH")]
    pub module: Option<PathBuf>,

    /// The program of the key ceremony [default: pkcs11-ceremony beside this program].
    #[arg(long, value_name = "PATH")]
    pub ceremony: Option<PathBuf>,

    /// The HSM worker program [default: pkcs11-hsm-worker beside this program].
    #[arg(long, value_name = "PATH", env = "PKCS11_ISSUER_WORKER")]
    pub worker: Option<PathBuf>,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  pkcs11-issuer dev hsm

This is for trying things out. It protects nothing: the token is a folder, and its PIN lies beside it.

It runs softhsm2-util, pkcs11-ceremony and ssh-keygen. docs/quickstart.md goes on from here.";
