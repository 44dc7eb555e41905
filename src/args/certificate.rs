//! The flags of `certificate`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::{Libraries, LoginFlags, RecordFormat};

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// Decode every certificate of a file or of a token.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(SeeCertificates),
    /// Verify a certificate against intermediates and roots, as relying parties do.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyCertificate),
}

/// Flags of `certificate show`.
#[derive(Debug, ClapArgs)]
pub struct SeeCertificates {
    /// The libraries, if the certificates are on a token.
    #[command(flatten)]
    pub libraries: Libraries,

    /// The login, if the certificates are on a token. Most tokens show them without one.
    #[command(flatten)]
    pub login: LoginFlags,

    /// A file with certificates in PEM, or one in DER; - for stdin; or the PKCS#11 URI of a token, with object= and id= for
    /// only those with this label and id.
    #[arg(value_name = "FILE|URI")]
    pub source: String,
}

/// Flags of `certificate verify`.
#[derive(Debug, ClapArgs)]
pub struct VerifyCertificate {
    /// The certificate in PEM or DER; - for stdin. Certificates after the first one are intermediates.
    #[arg(value_name = "FILE")]
    pub certificate: PathBuf,

    /// Roots that are trusted, in PEM or DER. Can be given several times.
    #[arg(long = "root", value_name = "FILE", required = true)]
    pub roots: Vec<PathBuf>,

    /// Intermediates, in PEM or DER. Can be given several times.
    #[arg(long = "intermediate", value_name = "FILE")]
    pub intermediates: Vec<PathBuf>,

    /// What the certificate is to be used for [default: anything].
    #[arg(long, value_name = "PURPOSE")]
    pub purpose: Option<CertificatePurpose>,

    /// A DNS name or IP address that the certificate must have.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// The time to verify for, as 2027-01-31T00:00:00Z [default: now].
    #[arg(long, value_name = "TIME")]
    pub at: Option<jiff::Timestamp>,

    /// CRLs in PEM or DER. Can be given several times. One of them must cover the certificate; the certificates above it must
    /// not be in any of them.
    #[arg(long = "crl", value_name = "FILE")]
    pub crls: Vec<PathBuf>,

    /// Format of stdout.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: RecordFormat,
}

/// What a certificate is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum CertificatePurpose {
    /// A TLS server.
    Server,
    /// A TLS client.
    Client,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  pkcs11-issuer certificate show web.pem
  pkcs11-issuer certificate verify --root root.pem --purpose server --name shop.example web.pem";

const SHOW_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer certificate show web.pem
  kubectl get secret web --output 'go-template={{index .data \"tls.crt\" | base64decode}}' | pkcs11-issuer certificate show -
  pkcs11-issuer certificate show --config config.yaml --no-login --output json pkcs11:token=issuing";

const VERIFY_EXAMPLES: &str = "\
Examples:
  # A server's certificate with its chain, as `sign` writes them:
  pkcs11-issuer certificate verify --root root.pem --purpose server --name shop.example web.pem

  # Whether it would still hold in a month, and is not revoked:
  pkcs11-issuer certificate verify --root root.pem --at 2027-01-31T00:00:00Z --crl ca.crl web.pem

Exit codes: 0 verified, 3 not verified (stdout says why), 1 anything else.";
