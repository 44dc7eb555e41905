//! The command line and its sub-commands. The flags of each sub-command are in their own file.

mod audit;
mod certificate;
mod crl;
mod dev;
mod doctor;
mod key;
mod kubectl;
mod login;
mod manual;
mod output;
mod revoke_proof;
mod run;
mod sign;
mod token;

use std::{ffi::OsString, path::Path};

use clap::{Parser, Subcommand};

pub use self::{
    audit::{
        Audit, AuditKeys, CheckProof, Compare, Export, Logs, Prove, Show, ShowCertificate,
        ShowFormat, ShowKey, Verify,
    },
    certificate::{CertificateCommand, CertificatePurpose, SeeCertificates, VerifyCertificate},
    crl::{Crl, ImportCrl},
    dev::Dev,
    doctor::Doctor,
    key::{KeyCommand, ListKeys, OneKey},
    kubectl::{
        ClusterFlags, IssuerAsked, KubectlCommand, REVOCATION_REASONS, ReissueAsked, RequestAsked,
        RequestsAsked, RevokeAsked, RolloverCommand,
    },
    login::LoginFlags,
    manual::{Completions, Man},
    output::RecordFormat,
    revoke_proof::RevokeProof,
    run::{Answering, Run},
    sign::{OutputFormat, Sign},
    token::{BenchToken, Libraries, ListTokens, OneToken, TokenCommand},
};

/// External issuer for cert-manager whose CA keys never leave an HSM.
#[derive(Debug, Parser)]
#[command(name = "pkcs11-issuer", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Args {
    /// The sub-command.
    #[command(subcommand)]
    pub command: Command,
}

/// The command line of the kubectl plugin: the same program under another name.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-pkcs11_issuer",
    bin_name = "kubectl pkcs11-issuer",
    version,
    propagate_version = true,
    after_help = kubectl::EXAMPLES
)]
pub struct Plugin {
    /// The sub-command.
    #[command(subcommand)]
    pub command: KubectlCommand,
}

impl Args {
    /// Parses a command line, whose first word is the program. Under the plugin's name, the commands are those of `kubectl`.
    ///
    /// # Errors
    /// The command line is wrong, or asks for help or the version.
    pub fn parse_as_called(words: Vec<OsString>) -> Result<Self, clap::Error> {
        let program = words.first().map(Path::new).and_then(Path::file_stem);
        if program.is_some_and(|name| name == PLUGIN) {
            let Plugin { command } = Plugin::try_parse_from(words)?;
            return Ok(Self {
                command: Command::Kubectl(command),
            });
        }
        Self::try_parse_from(words)
    }
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
    /// See and verify certificates.
    #[command(subcommand, after_help = certificate::EXAMPLES)]
    Certificate(Box<CertificateCommand>),
    /// See the keys of a token, with how each is protected.
    #[command(subcommand, after_help = key::EXAMPLES)]
    Key(KeyCommand),
    /// See issuers and requests in a cluster: the commands of the kubectl plugin.
    #[command(subcommand, after_help = kubectl::EXAMPLES)]
    Kubectl(KubectlCommand),
    /// Look for what is wrong with an installation.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(Box<Doctor>),
    /// Prove that you hold the key of a certificate that is to be revoked.
    #[command(after_help = revoke_proof::EXAMPLES)]
    RevokeProof(RevokeProof),
    /// Make a SoftHSM token with a CA for trying things out, and print a configuration, manifests and the next commands.
    #[command(after_help = dev::EXAMPLES)]
    Dev(Dev),
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

/// File name of the plugin. kubectl finds `kubectl-a_b` for the words `a-b`.
const PLUGIN: &str = "kubectl-pkcs11_issuer";

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
        Plugin::command().debug_assert();
    }

    #[test]
    fn under_the_name_of_the_plugin_its_commands_are_the_commands() {
        let parse = |words: &[&str]| {
            let words = words.iter().map(OsString::from).collect();
            Args::parse_as_called(words).map(|args| args.command)
        };
        let plugin = parse(&["/usr/bin/kubectl-pkcs11_issuer", "explain", "web"]);
        assert!(matches!(
            plugin,
            Ok(Command::Kubectl(KubectlCommand::Explain(_)))
        ));
        let program = parse(&["/usr/bin/pkcs11-issuer", "kubectl", "explain", "web"]);
        assert!(matches!(
            program,
            Ok(Command::Kubectl(KubectlCommand::Explain(_)))
        ));
        parse(&["kubectl-pkcs11_issuer", "version"]).unwrap_err();
        parse(&["pkcs11-issuer", "explain", "web"]).unwrap_err();
    }
}
