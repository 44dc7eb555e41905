//! The flags of `completions` and `man`, and what both print: descriptions of the command line by the command line itself.

use std::{io, path::Path, path::PathBuf};

use clap::{Args as ClapArgs, CommandFactory as _};
use clap_complete::Shell;

use super::Args;

/// Flags of `completions`.
#[derive(Debug, ClapArgs)]
pub struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

impl Completions {
    /// Writes the script that completes our commands and flags in the shell.
    #[must_use]
    pub fn script(&self) -> String {
        let mut script = Vec::new();
        let mut command = Args::command();
        let name = command.get_name().to_owned();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        // clap_complete 4.6.12 spells the program's name in two ways in bash's script, if it has a hyphen, and then completes
        // nothing below the first word.
        String::from_utf8_lossy(&script).replace("pkcs11__subcmd__issuer", "pkcs11__issuer")
    }
}

/// Flags of `man`.
#[derive(Debug, ClapArgs)]
pub struct Man {
    /// Folder for the pages, which is made if it does not exist. Pages of the same name in it are replaced.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

impl Man {
    /// Writes one page for each command, in section 1, into the folder.
    ///
    /// # Errors
    /// A page cannot be written.
    pub fn write(folder: &Path) -> io::Result<()> {
        clap_mangen::generate_to(Args::command(), folder)
    }
}

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  # For this shell only:
  source <(pkcs11-issuer completions bash)

  # For good:
  mkdir -p ~/.local/share/bash-completion/completions
  pkcs11-issuer completions bash > ~/.local/share/bash-completion/completions/pkcs11-issuer
  pkcs11-issuer completions fish > pkcs11-issuer.fish
  pkcs11-issuer completions zsh > _pkcs11-issuer

The image has the scripts of bash, fish and zsh in /usr/local/share.";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer man ~/.local/share/man/man1

The image has the pages in /usr/local/share/man/man1.";
