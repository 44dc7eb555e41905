//! The flags of `audit`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

/// What to do with issuance logs.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Verify issuance logs: find lines that were changed, removed, repeated or moved.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Verify),
}

/// Flags of `audit verify`.
#[derive(Debug, ClapArgs)]
pub struct Verify {
    /// Files with the output of controllers, in any order; - reads stdin. Lines that are not of an issuance log are
    /// counted and skipped.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// A key whose signatures of checkpoints are proof, as the controller's log shows it (`verifier_key`). Can be given several
    /// times.
    #[arg(long, value_name = "VKEY")]
    pub key: Vec<String>,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  # The log of one replica:
  kubectl -n pkcs11-issuer-system logs pod/pkcs11-issuer-7d9c > replica.log
  pkcs11-issuer audit verify replica.log

  # All collected logs, from any number of replicas and runs:
  pkcs11-issuer audit verify logs/*

Exit code: 0 if the logs agree with their checkpoints, 3 if something is missing or was changed, 1 for every other failure.";
