//! The flags of `audit`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use jiff::Timestamp;

/// What to do with issuance logs.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Verify issuance logs: find lines that were changed, removed, repeated or moved.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Verify),
    /// Show lines of issuance logs, chosen by what they say.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Box<Show>),
    /// Show everything that happened to a certificate and its request, and the certificate itself.
    #[command(after_help = CERTIFICATE_EXAMPLES)]
    Certificate(ShowCertificate),
    /// Write a proof that a certificate is in a log, for somebody who has only the audit key.
    #[command(after_help = PROVE_EXAMPLES)]
    Prove(Prove),
    /// Verify a proof that a certificate is in a log.
    #[command(after_help = CHECK_PROOF_EXAMPLES)]
    CheckProof(CheckProof),
    /// Print the audit key, from the public key that the HSM shows.
    #[command(after_help = KEY_EXAMPLES)]
    Key(ShowKey),
    /// Write logs as files for other tools.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Export),
    /// Compare logs with the certificates in a cluster.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(Compare),
}

/// The files of every command of `audit`.
#[derive(Debug, ClapArgs)]
pub struct Logs {
    /// Files with the output of controllers, of any number of replicas and runs, in any order; - reads stdin. They may be
    /// compressed by gzip, be files of the container runtime, or come from `kubectl logs` with or without --timestamps and
    /// --prefix. Lines of others are skipped.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// The keys that sign checkpoints.
#[derive(Debug, ClapArgs)]
pub struct AuditKeys {
    /// A key whose signatures of checkpoints are proof, as the controller's log shows it (`verifier_key`). Can be given several
    /// times.
    #[arg(long, value_name = "VKEY")]
    pub key: Vec<String>,

    /// A file with such keys, one a line.
    #[arg(long, value_name = "FILE")]
    pub key_file: Vec<PathBuf>,
}

impl AuditKeys {
    /// Returns whether no key is given.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.key.is_empty() && self.key_file.is_empty()
    }
}

/// Flags of `audit verify`.
#[derive(Debug, ClapArgs)]
pub struct Verify {
    /// Demand the whole log of each run: lines that are in none of the files are a fault.
    #[arg(long)]
    pub whole: bool,

    /// The keys.
    #[command(flatten)]
    pub keys: AuditKeys,

    /// The files.
    #[command(flatten)]
    pub logs: Logs,
}

/// Flags of `audit show`.
#[derive(Debug, ClapArgs)]
pub struct Show {
    /// Serial number of the certificate, hexadecimal, as openssl or a browser prints it.
    #[arg(long, value_name = "SERIAL")]
    pub serial: Option<String>,

    /// Part of a name in the certificate: of its subject or of an alternative name.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,

    /// The request: its UID, NAME or NAMESPACE/NAME, or the name of its Certificate.
    #[arg(long, value_name = "REQUEST")]
    pub request: Option<String>,

    /// The issuer: NAME or NAMESPACE/NAME.
    #[arg(long, value_name = "ISSUER")]
    pub issuer: Option<String>,

    /// The CKA_ID of the key, hexadecimal, or the name of its token in the configuration.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,

    /// Part of the name of the user that made the request.
    #[arg(long, value_name = "TEXT")]
    pub requester: Option<String>,

    /// Lines of this time and later, such as 2026-11-29T22:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,

    /// Lines before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,

    /// Lines with one of these events, such as signed,published [default: all but checkpoint].
    #[arg(long, value_name = "EVENTS", value_delimiter = ',')]
    pub event: Vec<String>,

    /// Format of stdout.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: ShowFormat,

    /// The files.
    #[command(flatten)]
    pub logs: Logs,
}

/// Format in which lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// A line for people.
    Table,
    /// The lines of the log as they are, one JSON object each.
    Json,
    /// Values separated by commas (RFC 4180). A cell that a spreadsheet might take for a formula begins with an apostrophe.
    Csv,
}

/// Flags of `audit certificate`.
#[derive(Debug, ClapArgs)]
pub struct ShowCertificate {
    /// Serial number, hexadecimal, as openssl or a browser prints it; or the UID of a request, which need not have a certificate.
    #[arg(value_name = "SERIAL|UID")]
    pub subject: String,

    /// The files.
    #[command(flatten)]
    pub logs: Logs,
}

/// Flags of `audit prove`.
#[derive(Debug, ClapArgs)]
pub struct Prove {
    /// Serial number, hexadecimal, as openssl or a browser prints it.
    #[arg(value_name = "SERIAL")]
    pub serial: String,

    /// The event to prove.
    #[arg(long, value_name = "EVENT", default_value = "signed")]
    pub event: String,

    /// The keys. Without one, the signatures of checkpoints are not verified.
    #[command(flatten)]
    pub keys: AuditKeys,

    /// The files. The run's log must be whole from its first line to the last signed checkpoint.
    #[command(flatten)]
    pub logs: Logs,
}

/// Flags of `audit check-proof`.
#[derive(Debug, ClapArgs)]
pub struct CheckProof {
    /// The keys.
    #[command(flatten)]
    pub keys: AuditKeys,

    /// The certificate in PEM or DER: the proof must be about it.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,

    /// The proof that `audit prove` wrote; - reads stdin.
    #[arg(value_name = "PROOF")]
    pub proof: PathBuf,
}

/// Flags of `audit key`.
#[derive(Debug, ClapArgs)]
pub struct ShowKey {
    /// Name of the key: `audit.cluster` of the controller's configuration.
    #[arg(long, value_name = "CLUSTER")]
    pub name: String,

    /// The public key (SubjectPublicKeyInfo) in PEM or DER, as tools for HSMs export it.
    #[arg(value_name = "PUBLIC KEY")]
    pub file: PathBuf,
}

/// Flags of `audit export`.
#[derive(Debug, ClapArgs)]
pub struct Export {
    /// Folder for the layout of c2sp.org/tlog-tiles: a folder in it for each run, with its checkpoint, tiles and bundles of
    /// entries. The folder must be new or empty.
    #[arg(long, value_name = "DIR", required = true)]
    pub tiles: PathBuf,

    /// The keys. Without one, the signatures of checkpoints are not verified.
    #[command(flatten)]
    pub keys: AuditKeys,

    /// The files. Each log must be whole from its first line to the last signed checkpoint.
    #[command(flatten)]
    pub logs: Logs,
}

/// Flags of `audit compare`.
#[derive(Debug, ClapArgs)]
pub struct Compare {
    /// Kubeconfig of the cluster, for a user who may list requests of all namespaces [default: as kubectl].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The keys. With one, the logs are verified, too, and certificates without a proven line are named.
    #[command(flatten)]
    pub keys: AuditKeys,

    /// The files, of all replicas. They are read after the cluster was asked.
    #[command(flatten)]
    pub logs: Logs,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  # The log of one replica:
  kubectl -n pkcs11-issuer-system logs pod/pkcs11-issuer-7d9c | pkcs11-issuer audit verify -

  # The files of a node, rotated and compressed:
  pkcs11-issuer audit verify /var/log/pods/pkcs11-issuer-system_*/*/*

  # All logs that were collected, of any number of replicas and runs, none of which may be missing:
  pkcs11-issuer audit verify --whole --key-file audit.vkey logs/*

Exit code: 0 if the logs agree with their checkpoints, 3 if something is missing or was changed, 1 for every other failure.
Files that are missing as a whole are told and are a fault only with --whole, because the kubelet deletes old files.";

const SHOW_EXAMPLES: &str = "\
Examples:
  # Every certificate for a name:
  pkcs11-issuer audit show --name shop.example --event signed logs/*

  # What one key signed in November, for a spreadsheet:
  pkcs11-issuer audit show --key a1b2 --event signed --since 2026-11-01T00:00:00Z --output csv logs/* > november.csv

  # The story of a request:
  pkcs11-issuer audit show --request shop/web-1 logs/*

The lines come in the order of the files. This command verifies nothing: see audit verify.";

const CERTIFICATE_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer audit certificate 4c8d5f logs/*
  pkcs11-issuer audit certificate 4C:8D:5F logs/* | openssl x509 -noout -text

  # The story of a request, even if it was refused:
  pkcs11-issuer audit certificate 8f0e0b39-5f6b-4f0c-9d40-3a1a1c1b7a35 logs/*

This command verifies nothing: see audit verify.";

const PROVE_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer audit prove --key-file audit.vkey 4c8d5f logs/* > web.tlog-proof

The proof has the line of the log, and the way from it to a signed checkpoint (c2sp.org/tlog-proof).";

const CHECK_PROOF_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer audit check-proof --key-file audit.vkey --certificate web.pem web.tlog-proof

Exit code: 0 if the proof holds, 3 if it does not, 1 for every other failure.";

const KEY_EXAMPLES: &str = "\
Examples:
  # Read the public key from the HSM, not from the cluster:
  pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --read-object --type pubkey --label audit --output-file audit.der
  pkcs11-issuer audit key --name prod audit.der > audit.vkey

  # The controller must show the same key, and its logs must be signed by it:
  grep -F \"$(cat audit.vkey)\" controller.log
  pkcs11-issuer audit verify --key-file audit.vkey logs/*

Keep the file where the administrators of the cluster cannot change it.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer audit export --tiles public --key-file audit.vkey logs/*

Lines behind the last signed checkpoint are not written. Exit code: 0 if every run was written, 3 if the lines of a run agree with
no signed checkpoint, 1 for every other failure.";

const COMPARE_EXAMPLES: &str = "\
Examples:
  pkcs11-issuer audit compare --kubeconfig auditor.kubeconfig --key-file audit.vkey logs/*

Compares CertificateRequests, CertificateSigningRequests and PodCertificateRequests of our issuers.
Exit code: 0 if the log has every certificate of the cluster, 3 if they disagree or the logs have faults, 1 for every other failure.
A certificate that was issued after the files were copied is not in them: repeat the command with newer copies.
A certificate that is no longer in the cluster is told and is no disagreement: requests are deleted.";
