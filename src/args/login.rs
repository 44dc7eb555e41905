//! The flags of commands that may log in to a token.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// How to log in. Without any of these flags, the PIN comes from the pinFile of the token in the configuration; without one,
/// there is no login.
#[derive(Debug, ClapArgs)]
pub struct LoginFlags {
    /// File with the token's PIN; /dev/fd/N reads it from a descriptor, so that no file contains it. The PIN record is beside
    /// this file, unless the configuration names a pinFile.
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,

    /// File of the PIN record, if the configuration names no pinFile. Without --pin-file, the PIN is asked for on the
    /// terminal.
    #[arg(long, value_name = "FILE")]
    pub pin_record: Option<PathBuf>,

    /// Do not log in: show only what the token shows to everybody.
    #[arg(long, conflicts_with_all = ["pin_file", "pin_record"])]
    pub no_login: bool,
}
