//! The flags of `key`.

use clap::{Args as ClapArgs, Subcommand};

use super::{Libraries, LoginFlags};

/// What to show of the keys on a token.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List the keys of a token: how each is named and kept, and which certificate on the token is its own.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListKeys),
    /// Show everything that a token tells about one key.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(OneKey),
}

/// Flags of `key list`.
#[derive(Debug, ClapArgs)]
pub struct ListKeys {
    /// The libraries.
    #[command(flatten)]
    pub libraries: Libraries,

    /// The login.
    #[command(flatten)]
    pub login: LoginFlags,

    /// The token: its PKCS#11 URI, label or serial number [default: the only one that is initialized].
    #[arg(value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Flags of `key show`.
#[derive(Debug, ClapArgs)]
pub struct OneKey {
    /// The libraries.
    #[command(flatten)]
    pub libraries: Libraries,

    /// The login.
    #[command(flatten)]
    pub login: LoginFlags,

    /// The key's PKCS#11 URI, as `key list` prints it. Without token= and serial=, the only token is meant.
    #[arg(value_name = "URI")]
    pub key: String,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  pkcs11-issuer key list --config config.yaml issuing
  pkcs11-issuer key show --config config.yaml 'pkcs11:token=issuing;object=issuing-ca;id=%02'

A PIN comes from a file, a descriptor or the terminal, and is tried once: its tries are recorded. --no-login tries none.";

const LIST_EXAMPLES: &str = "\
Examples:
  # With the PIN that the configuration names:
  pkcs11-issuer key list --config config.yaml issuing

  # A library that is not configured yet, with a PIN that a program prints:
  pkcs11-issuer key list --module /usr/lib/softhsm/libsofthsm2.so --env SOFTHSM2_CONF=softhsm2.conf \\
    --pin-file <(pass show hsm) --pin-record tries.json issuing

  # What everybody sees, for a program:
  pkcs11-issuer key list --config config.yaml --no-login --output json issuing

A wrong PIN is not tried again: its tries are recorded beside the pinFile, or in --pin-record. Without a login, most tokens
show only public keys and certificates.";

const SHOW_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer key show --config config.yaml 'pkcs11:token=issuing;object=issuing-ca;id=%02'
  pkcs11-issuer key show --config config.yaml --output yaml 'pkcs11:serial=8c1f;id=%02'

A wrong PIN is not tried again: its tries are recorded beside the pinFile, or in --pin-record.";
