//! The flags of the plugin's commands that change something: `kubectl revoke` and `kubectl reissue`.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs};
use jiff::Timestamp;

use super::ClusterFlags;

/// The words of a revocation's reason.
pub const REVOCATION_REASONS: [&str; 9] = [
    "Unspecified",
    "KeyCompromise",
    "CACompromise",
    "AffiliationChanged",
    "Superseded",
    "CessationOfOperation",
    "CertificateHold",
    "PrivilegeWithdrawn",
    "AACompromise",
];

/// Flags of `kubectl revoke`.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("what").required(true).args(["request", "certificate", "serial", "release"]))]
pub struct RevokeAsked {
    /// The CertificateRequest whose certificate is revoked: its NAME; or certificate/NAME for the newest one of a Certificate.
    #[arg(value_name = "REQUEST")]
    pub request: Option<String>,

    /// A certificate in PEM to revoke instead.
    #[arg(long, value_name = "FILE", requires = "issuer")]
    pub certificate: Option<PathBuf>,

    /// The proof that `pkcs11-issuer revoke-proof` has printed for the certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub proof: Option<PathBuf>,

    /// A serial number in hexadecimal to revoke instead, where any certificate may be revoked.
    #[arg(long, value_name = "HEX", requires = "issuer")]
    pub serial: Option<String>,

    /// The issuer of the certificate or serial number: NAME, PKCS11ClusterIssuer/NAME or PKCS11Issuer/NAME.
    #[arg(long, value_name = "ISSUER", conflicts_with_all = ["request", "release"])]
    pub issuer: Option<String>,

    /// A CertificateRevocation with the reason CertificateHold that is taken back instead: its certificate is valid again.
    #[arg(long, value_name = "REVOCATION")]
    pub release: Option<String>,

    /// Why.
    #[arg(
        long,
        value_name = "REASON",
        value_parser = REVOCATION_REASONS,
        required_unless_present = "release",
        conflicts_with = "release"
    )]
    pub reason: Option<String>,

    /// Since when the key is known or suspected to be compromised, or the certificate invalid, such as 2026-11-29T20:00:00Z
    /// (RFC 5280, section 5.3.2).
    #[arg(long, value_name = "TIME", conflicts_with = "release")]
    pub invalidity_date: Option<Timestamp>,

    /// Have cert-manager renew the Certificate first.
    #[arg(long, requires = "request")]
    pub renew: bool,

    /// Have the API server check the revocation or its release, and store nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask. Needed if stdin or stderr is not a terminal.
    #[arg(long, short)]
    pub yes: bool,

    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// Flags of `kubectl reissue`.
#[derive(Debug, ClapArgs)]
pub struct ReissueAsked {
    /// The issuer: NAME, PKCS11ClusterIssuer/NAME or PKCS11Issuer/NAME.
    #[arg(value_name = "ISSUER")]
    pub issuer: String,

    /// Only Certificates with these labels.
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,

    /// Have at most this many renewed a second.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub per_second: u16,

    /// Show which Certificates would be renewed, and renew none.
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask. Needed if stdin or stderr is not a terminal.
    #[arg(long, short)]
    pub yes: bool,

    /// The cluster. With --namespace, only Certificates of that namespace are renewed.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

pub(super) const REVOKE_EXAMPLES: &str = "\
Examples:
  # See what would be created, then create it:
  kubectl pkcs11-issuer revoke certificate/web -n shop --reason KeyCompromise --renew --dry-run
  kubectl pkcs11-issuer revoke certificate/web -n shop --reason KeyCompromise --renew

  # A certificate that no request has any more:
  kubectl pkcs11-issuer revoke --certificate web.pem --proof web.proof --issuer issuing -n shop --reason Superseded
  kubectl pkcs11-issuer revoke --serial 1f2e3d --issuer issuing -n pkcs11-issuer-system --reason KeyCompromise --yes

  # Since when the key was known to others:
  kubectl pkcs11-issuer revoke web-1 -n shop --reason KeyCompromise --invalidity-date 2026-11-29T20:00:00Z

  # A hold, and its end:
  kubectl pkcs11-issuer revoke web-1 -n shop --reason CertificateHold
  kubectl pkcs11-issuer revoke --release web-1-x7k2p -n shop

A revocation is final, except for CertificateHold. docs/revocation.md says who may revoke what.";

pub(super) const REISSUE_EXAMPLES: &str = "\
Examples:
  kubectl pkcs11-issuer reissue issuing --dry-run
  kubectl pkcs11-issuer reissue issuing -n shop -l tier=web --yes

To renew only what is under an older key, at a pace that follows the load, set spec.reissue of the issuer (docs/rollover.md).
The exit code is 3 if there is nothing to renew.";
