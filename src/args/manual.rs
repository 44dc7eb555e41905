//! The flags of `completions` and `man`, and what both print: descriptions of the command line by the command line itself.

use std::{fs, io, path::Path, path::PathBuf};

use clap::{Args as ClapArgs, Command, CommandFactory as _};
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
    /// Returns the script that completes our commands and flags in the shell.
    #[must_use]
    pub fn script(&self) -> String {
        self.script_of(Args::command())
    }

    /// Returns the script that completes the commands and flags of a program.
    #[must_use]
    pub fn script_of(&self, mut program: Command) -> String {
        let mut script = Vec::new();
        let name = program.get_name().to_owned();
        clap_complete::generate(self.shell, &mut program, &name, &mut script);
        // clap_complete 4.6.12 spells the program's name in two ways in bash's script, if it has a hyphen, and then completes
        // nothing below the first word.
        let (wrong, right) = (name.replace('-', "__subcmd__"), name.replace('-', "__"));
        String::from_utf8_lossy(&script).replace(&wrong, &right)
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

    /// Writes the pages of a program into the folder, which is made if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be made, or a page cannot be written.
    pub fn pages_of(&self, program: Command) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        clap_mangen::generate_to(program, &self.folder)
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
