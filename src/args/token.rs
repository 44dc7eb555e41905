//! The flags of `token`.

use std::{num::NonZeroU16, ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Subcommand};

use super::{LoginFlags, RecordFormat};
use crate::duration::GoDuration;

/// What to show of the tokens of a PKCS#11 library.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// List the tokens: how each is named, and the state of its PIN.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListTokens),
    /// Show everything that a token says about itself without a login.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(OneToken),
    /// Show the mechanisms that a token claims, and which of them this program uses.
    #[command(after_help = MECHANISMS_EXAMPLES)]
    Mechanisms(OneToken),
    /// Measure how fast a key signs, by mechanism and number of sessions.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(Box<BenchToken>),
}

/// Which libraries to load, and how to print what they say.
#[derive(Debug, ClapArgs)]
pub struct Libraries {
    /// The PKCS#11 library. Give this or --config.
    #[arg(long, value_name = "PATH")]
    pub module: Option<PathBuf>,

    /// A variable of the library's environment, which has no others. Can be given several times.
    #[arg(long, value_name = "NAME=VALUE", requires = "module", value_parser = variable)]
    pub env: Vec<(String, String)>,

    /// The operator's configuration, whose libraries are loaded with their environments.
    #[arg(long, value_name = "FILE", conflicts_with = "module")]
    pub config: Option<PathBuf>,

    /// Format of stdout.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: RecordFormat,

    /// The HSM worker program [default: pkcs11-hsm-worker beside this program].
    #[arg(long, value_name = "PATH", env = "PKCS11_ISSUER_WORKER")]
    pub worker: Option<PathBuf>,
}

/// Flags of `token list`.
#[derive(Debug, ClapArgs)]
pub struct ListTokens {
    /// The libraries.
    #[command(flatten)]
    pub libraries: Libraries,
}

/// Flags of `token show` and `token mechanisms`.
#[derive(Debug, ClapArgs)]
pub struct OneToken {
    /// The libraries.
    #[command(flatten)]
    pub libraries: Libraries,

    /// The token: its PKCS#11 URI, label or serial number [default: the only one that is initialized].
    #[arg(value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Flags of `token bench`.
#[derive(Debug, ClapArgs)]
pub struct BenchToken {
    /// The libraries.
    #[command(flatten)]
    pub libraries: Libraries,

    /// The login.
    #[command(flatten)]
    pub login: LoginFlags,

    /// The key's PKCS#11 URI, as `key list` prints it. It signs random texts that can never be certificates.
    #[arg(value_name = "URI")]
    pub key: String,

    /// Numbers of sessions to measure with, separated by commas.
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_value = "1,2,4,8,16"
    )]
    pub sessions: Vec<NonZeroU16>,

    /// How long to sign for each number of sessions and each mechanism, such as 5s: 100ms to 10m.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = measured)]
    pub duration: Duration,

    /// Also draw the rates into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

const MEASURED: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

fn measured(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration
        .unsigned()
        .filter(|duration| MEASURED.contains(duration))
        .ok_or_else(|| "write a duration from 100ms to 10m".to_owned())
}

/// Splits a variable at its first `=`.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("give NAME=VALUE".into()),
    }
}

pub(super) const EXAMPLES: &str = "\
Examples:
  pkcs11-issuer token list --config config.yaml
  pkcs11-issuer token mechanisms --module /usr/lib/softhsm/libsofthsm2.so issuing

All of these but `bench` log in nowhere and spend no try of a PIN.";

const LIST_EXAMPLES: &str = "\
Examples:
  # The libraries of a configuration:
  pkcs11-issuer token list --config config.yaml

  # A library that is not configured yet:
  pkcs11-issuer token list --module /usr/lib/softhsm/libsofthsm2.so --env SOFTHSM2_CONF=softhsm2.conf
  pkcs11-issuer token list --module /usr/lib/libcs_pkcs11_R3.so --output json

This command logs in nowhere and spends no try of a PIN.";

const SHOW_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer token show --config config.yaml issuing
  pkcs11-issuer token show --config config.yaml --output yaml 'pkcs11:token=issuing;serial=8c1f'

This command logs in nowhere and spends no try of a PIN.";

const MECHANISMS_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer token mechanisms --config config.yaml issuing
  pkcs11-issuer token mechanisms --config config.yaml --output json issuing

A mechanism that a token claims may still fail: only a signature is proof. This command logs in nowhere and spends no try of
a PIN.";

const BENCH_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer token bench --config config.yaml 'pkcs11:token=issuing;object=issuing-ca;id=%02'
  pkcs11-issuer token bench --config config.yaml --sessions 1,4,16,64 --duration 30s --svg rates.svg \\
    'pkcs11:token=issuing;object=issuing-ca;id=%02'

The last lines say which number of sessions to configure, and why. Everybody else who uses the token waits meanwhile, so
measure while it is idle. A wrong PIN is not tried again: its tries are recorded beside the pinFile, or in --pin-record.";
