//! The command line and its sub-commands. The flags of each sub-command are in their own file.

mod audit;
mod crl;
mod doctor;
mod manual;
mod output;
mod revoke_proof;
mod run;
mod sign;
mod token;

use clap::{Parser, Subcommand};

pub use self::{
    audit::{
        Audit, AuditKeys, CheckProof, Compare, Export, Logs, Prove, Show, ShowCertificate,
        ShowFormat, ShowKey, Verify,
    },
    crl::{Crl, ImportCrl},
    doctor::Doctor,
    manual::{Completions, Man},
    output::RecordFormat,
    revoke_proof::RevokeProof,
    run::{Answering, Run},
    sign::{OutputFormat, Sign},
    token::{Libraries, ListTokens, OneToken, TokenCommand},
};

/// External issuer for cert-manager whose CA keys never leave an HSM.
#[derive(Debug, Parser)]
#[command(name = "pkcs11-issuer", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Args {
    /// The sub-command.
    #[command(subcommand)]
    pub command: Command,
}

/// Sub-commands of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller until SIGTERM or SIGINT.
    #[command(after_help = run::EXAMPLES)]
    Run(Box<Run>),
    /// Sign one CSR with the token, without Kubernetes, by the same rules as the controller.
    #[command(after_help = sign::EXAMPLES)]
    Sign(Box<Sign>),
    /// Work with issuance logs.
    #[command(subcommand, after_help = AUDIT_EXAMPLES)]
    Audit(Audit),
    /// Work with certificate revocation lists.
    #[command(subcommand, after_help = CRL_EXAMPLES)]
    Crl(Crl),
    /// See the tokens of a PKCS#11 library.
    #[command(subcommand, after_help = token::EXAMPLES)]
    Token(TokenCommand),
    /// Look for what is wrong with an installation.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(Box<Doctor>),
    /// Prove that you hold the key of a certificate that is to be revoked.
    #[command(after_help = revoke_proof::EXAMPLES)]
    RevokeProof(RevokeProof),
    /// Print the CustomResourceDefinitions as YAML, for `kubectl apply -f -`.
    #[command(after_help = CRDS_EXAMPLES)]
    Crds,
    /// Print a script that completes commands and flags in a shell.
    #[command(after_help = manual::COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Write the manual pages, one for each command.
    #[command(after_help = manual::MAN_EXAMPLES)]
    Man(Man),
    /// Print the version, the commit and the kind of this build.
    #[command(after_help = VERSION_EXAMPLES)]
    Version,
}

const EXAMPLES: &str = "\
Examples:
  pkcs11-issuer run --config /etc/pkcs11-issuer/config.yaml
  pkcs11-issuer crds | kubectl apply -f -
  pkcs11-issuer sign --config config.yaml --issuer issuer.yaml --csr web.csr --out web.pem
  pkcs11-issuer audit verify replica.log

Every flag of `run` can also be given as PKCS11_ISSUER_ and its name in capitals, with _ for -.";

const AUDIT_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer audit verify --key-file audit.vkey logs/*
  pkcs11-issuer audit show --name shop.example logs/*

docs/reference/audit.md describes the log.";

const CRL_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer crl import --certificate ca.pem newest.crl

docs/crls.md describes how CRLs are made and published.";

const CRDS_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer crds | kubectl apply -f -";

const VERSION_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer version";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
