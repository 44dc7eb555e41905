//! The flags of `sign`.

use std::{convert::Infallible, path::PathBuf};

use clap::{Args as ClapArgs, ValueEnum};

/// Flags of `sign`.
#[derive(Debug, ClapArgs)]
pub struct Sign {
    /// The operator's configuration: modules, tokens and grants. The PIN comes from the token's pinFile or from --pin-file.
    #[arg(long, value_name = "FILE", env = "PKCS11_ISSUER_CONFIG")]
    pub config: PathBuf,

    /// A PKCS11Issuer or PKCS11ClusterIssuer in YAML or JSON, with its certificate in spec.certificate.pem.
    #[arg(long, value_name = "FILE")]
    pub issuer: PathBuf,

    /// The CSR in PEM; - reads it from stdin.
    #[arg(long, value_name = "FILE")]
    pub csr: PathBuf,

    /// Usages by their cert-manager names, separated by commas [default: digital signature,key encipherment].
    #[arg(long, value_name = "WORDS", value_delimiter = ',', value_parser = word)]
    pub usages: Vec<String>,

    /// How long the certificate is valid, such as 24h or 1h30m [default: as in the issuer's profile].
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub duration: Option<String>,

    /// Ask for a CA certificate.
    #[arg(long)]
    pub is_ca: bool,

    /// Namespace of the request, the value of {{namespace}} in profiles [default: the namespace of the PKCS11Issuer].
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Name of the request, the value of {{name}} in profiles.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// File for the chain, written atomically [default: stdout].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Format of stdout: the PEM chain or the slug of a refusal, or one JSON object.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: OutputFormat,

    /// Check the request and sign nothing: stdout says whether a certificate would be issued.
    #[arg(long)]
    pub dry_run: bool,

    /// Show every decision of the issuer's profile, on stderr or, with --output json, in the object. Implies --dry-run.
    #[arg(long)]
    pub explain: bool,

    /// File with the token's PIN, which replaces the source in the configuration. The PIN record is beside this file, unless
    /// the configuration names a pinFile. /dev/fd/N reads the PIN from a descriptor, so that no file contains it.
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,

    /// File of the PIN record for --pin-file, if the configuration names no pinFile.
    #[arg(long, value_name = "FILE", requires = "pin_file")]
    pub pin_record: Option<PathBuf>,

    /// The HSM worker program [default: pkcs11-hsm-worker beside this program].
    #[arg(long, value_name = "PATH", env = "PKCS11_ISSUER_WORKER")]
    pub worker: Option<PathBuf>,
}

/// Trims a word, because people write blanks after commas. The pipeline checks whether it is a usage.
fn word(text: &str) -> Result<String, Infallible> {
    Ok(text.trim().to_owned())
}

/// Format of stdout.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OutputFormat {
    /// PEM, for people and files.
    Text,
    /// One object, for programs.
    Json,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  A server certificate for a CSR, chain to a file:
    pkcs11-issuer sign --config config.yaml --issuer issuer.yaml --csr web.csr \\
      --usages 'digital signature,server auth' --duration 2160h --out web.pem
  Why a request is refused:
    pkcs11-issuer sign --config config.yaml --issuer issuer.yaml --csr web.csr --explain
  With the configuration of a controller, whose PIN is in a Secret:
    pkcs11-issuer sign --config config.yaml --issuer issuer.yaml --csr web.csr --pin-file pin
  With a PIN that a program prints and no file contains:
    pkcs11-issuer sign --config config.yaml --issuer issuer.yaml --csr web.csr \\
      --pin-file <(pass show hsm) --pin-record tries.json
  For a program:
    pkcs11-issuer sign --config config.yaml --issuer issuer.yaml --csr - --output json < web.csr

Exit codes: 0 signed, 3 refused (stdout begins with the slug, see docs/refusals.md), 1 anything else. With --dry-run or
--explain, 0 means that the request would be signed.

stdout has the chain, leaf first, without the root. stderr has progress and the issuance log, a JSON line for each
step. A rejected PIN is not tried again: its tries are recorded beside the pinFile, or in the token's pinRecord.";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn sign(arguments: &[&str]) -> Sign {
        let files = ["--config", "c", "--issuer", "i", "--csr", "r"];
        let all = ["pkcs11-issuer", "sign"]
            .iter()
            .chain(&files)
            .chain(arguments);
        match Args::try_parse_from(all).unwrap().command {
            Command::Sign(sign) => *sign,
            Command::Run(_)
            | Command::Audit(_)
            | Command::Crl(_)
            | Command::RevokeProof(_)
            | Command::Doctor(_)
            | Command::Token(_)
            | Command::Dev(_)
            | Command::Key(_)
            | Command::Certificate(_)
            | Command::Kubectl(_)
            | Command::Crds
            | Command::Completions(_)
            | Command::Man(_)
            | Command::Version => {
                panic!("sign was asked for")
            }
        }
    }

    #[test]
    fn usages_are_separated_by_commas() {
        assert_eq!(
            sign(&["--usages", "digital signature, server auth"]).usages,
            ["digital signature", "server auth"]
        );
        assert_eq!(sign(&[]).usages, [""; 0]);
    }

    #[test]
    fn a_negative_duration_is_left_to_the_profile() {
        assert_eq!(
            sign(&["--duration", "-1h"]).duration.as_deref(),
            Some("-1h")
        );
    }
}
