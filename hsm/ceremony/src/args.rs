//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pkcs11_issuer::args::{Completions, Man};

/// Makes CA keys and certificates on a PKCS#11 token, exactly as several people have approved.
#[derive(Debug, Parser)]
#[command(name = "pkcs11-ceremony", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  pkcs11-ceremony plan --plan plan.yaml --approvers approvers.yaml --out ceremony
  pkcs11-ceremony approve --plan plan.yaml --approvers approvers.yaml --out ceremony --key ~/.ssh/id_ed25519
  pkcs11-ceremony execute --plan plan.yaml --approvers approvers.yaml --out ceremony \\
    --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin
  pkcs11-ceremony verify --plan plan.yaml --approvers approvers.yaml --out ceremony
  pkcs11-ceremony minutes --plan plan.yaml --approvers approvers.yaml --out ceremony --format html

Exit codes:
  0  done
  1  failed, or wrong usage; the message says what to do
  3  execute: the keys are made, and plan B waits for approvals or for the vendor's attestations

docs/ceremony.md describes plans and the day.";

const PLAN_EXAMPLES: &str = "\
Examples:
  pkcs11-ceremony plan --plan plan.yaml --approvers approvers.yaml --out ceremony";

const APPROVE_EXAMPLES: &str = "\
Examples:
  pkcs11-ceremony approve --plan plan.yaml --approvers approvers.yaml --out ceremony --key ~/.ssh/id_ed25519";

const EXECUTE_EXAMPLES: &str = "\
Examples:
  pkcs11-ceremony execute --plan plan.yaml --approvers approvers.yaml --out ceremony \\
    --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin

Exit code 3: the keys are made, and plan B waits for approvals or for the vendor's attestations. After any interruption, run the
same command again.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  pkcs11-ceremony verify --plan plan.yaml --approvers approvers.yaml --out ceremony";

const MINUTES_EXAMPLES: &str = "\
Examples:
  pkcs11-ceremony minutes --plan plan.yaml --approvers approvers.yaml --out ceremony > minutes.md
  pkcs11-ceremony minutes --plan plan.yaml --approvers approvers.yaml --out ceremony --format html > minutes.html";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  pkcs11-ceremony completions bash > pkcs11-ceremony.bash
  pkcs11-ceremony completions zsh > _pkcs11-ceremony";

const MAN_EXAMPLES: &str = "\
Examples:
  pkcs11-ceremony man man1";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the plan that is to be approved next, with its hash in words: plan A, or plan B once the keys exist.
    #[command(after_help = PLAN_EXAMPLES)]
    Plan(Files),
    /// Approve that plan with an OpenSSH key. Runs ssh-keygen.
    #[command(after_help = APPROVE_EXAMPLES)]
    Approve(Approve),
    /// Carry the plan out as far as it is approved. Run it again to go on.
    #[command(after_help = EXECUTE_EXAMPLES)]
    Execute(Execute),
    /// Verify a finished ceremony offline: approvals, certificates and transcript.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Files),
    /// Print the minutes of a finished ceremony, after verifying it.
    #[command(after_help = MINUTES_EXAMPLES)]
    Minutes(Minutes),
    /// Print a script that completes commands and flags in a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Write the manual pages, one for each command.
    #[command(after_help = MAN_EXAMPLES)]
    Man(Man),
}

/// The files of a ceremony.
#[derive(Args, Debug)]
pub(crate) struct Files {
    /// The plan, YAML.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: PathBuf,
    /// Who may approve, and how many must: YAML.
    #[arg(long, value_name = "FILE")]
    pub(crate) approvers: PathBuf,
    /// The folder for approvals, public keys, certificates and transcript.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Approve {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Your OpenSSH private key, or the public one if an agent has the key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Execute {
    #[command(flatten)]
    pub(crate) files: Files,
    /// The PKCS#11 library of the token.
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,
    /// A file with the user PIN. Without it and --pin-fd, the terminal asks.
    #[arg(long, value_name = "FILE", conflicts_with = "pin_fd")]
    pub(crate) pin_file: Option<PathBuf>,
    /// An open file descriptor to read the user PIN from.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pin_fd: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct Minutes {
    #[command(flatten)]
    pub(crate) files: Files,
    /// The format.
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    Markdown,
    Html,
}
