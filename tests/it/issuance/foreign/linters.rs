//! Runs linters of single certificates and CRLs: pkilint and zlint, as `tests/tools/build` builds them.
//!
//! Both also have the rules of the CA/Browser Forum for publicly trusted certificates. A private issuer need not obey these,
//! and a cluster does not have what they demand (a public domain, policies, revocation). So only the rules of X.509 apply:
//! in pkilint `lint_pkix_cert`, `lint_pkix_signer_signee_cert_chain` for the relation of a certificate to its issuer, and
//! `lint_crl`; in zlint the lints of [`SOURCES`].

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use pkcs11_issuer::issuance::pem;
use serde_json::Value;
use tempfile::TempDir;

use super::Issued;

/// The sources of the zlint lints that apply: the RFCs, and Community for lints that no document requires.
const SOURCES: &str = "RFC3279,RFC5280,RFC5480,RFC5891,RFC8813,Community";

/// Results of zlint that are not findings.
const QUIET: [&str; 3] = ["pass", "NA", "NE"];

/// What is linted.
#[derive(Clone, Copy)]
pub(super) enum Document<'a> {
    Certificate(&'a Issued),
    /// A CRL with its name.
    Crl(&'a str, &'a [u8]),
}

impl Document<'_> {
    pub(super) const fn name(&self) -> &str {
        match self {
            Self::Certificate(issued) => issued.name,
            Self::Crl(name, _) => name,
        }
    }

    /// The smallest number of lints that zlint has for it.
    const fn lints(&self) -> usize {
        match self {
            Self::Certificate(_) => 100,
            Self::Crl(..) => 10,
        }
    }

    fn write(&self, folder: &TempDir) -> PathBuf {
        match self {
            Self::Certificate(issued) => write(folder, issued.name, "CERTIFICATE", &issued.der),
            Self::Crl(name, der) => write(folder, name, "X509 CRL", der),
        }
    }

    /// Adds the arguments of our program around pkilint.
    fn for_pkilint(&self, folder: &TempDir, command: &mut Command) {
        match self {
            Self::Certificate(issued) => {
                let issuer = issued.above.first().unwrap();
                let name = format!("{}.issuer", issued.name);
                command.arg(write(folder, &name, "CERTIFICATE", issuer));
            }
            Self::Crl(..) => {
                command.arg("--crl");
            }
        }
        command.arg(self.write(folder));
    }
}

/// A finding of a linter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) code: String,
    pub(super) shape: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?}", self.code, self.shape)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linter {
    Pkilint,
    Zlint,
}

impl Linter {
    pub(super) const ALL: [Self; 2] = [Self::Pkilint, Self::Zlint];

    const fn name(self) -> &'static str {
        match self {
            Self::Pkilint => "pkilint",
            Self::Zlint => "zlint",
        }
    }

    /// Returns all findings of the linter, or `None` if it is not built.
    pub(super) fn run(self, documents: &[Document<'_>]) -> Option<BTreeSet<Finding>> {
        let program = self.program()?;
        let folder = tempfile::tempdir().unwrap();
        let findings = match self {
            Self::Pkilint => pkilint(&program, &folder, documents),
            Self::Zlint => zlint(&program, &folder, documents),
        };
        Some(findings)
    }

    /// Returns whether the linter can read the document at all.
    pub(super) fn reads(self, document: &Document<'_>) -> bool {
        let program = self.program().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        match self {
            Self::Pkilint => document.for_pkilint(&folder, &mut command),
            Self::Zlint => {
                command.arg(document.write(&folder));
            }
        }
        command.output().unwrap().status.success()
    }

    fn program(self) -> Option<PathBuf> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/build");
        let output = Command::new(&script)
            .args(["--print-path", self.name()])
            .output()
            .unwrap();
        if output.status.success() {
            let folder = String::from_utf8(output.stdout).unwrap();
            return Some(Path::new(folder.trim()).join(self.name()));
        }
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(std::env::var_os("CI").is_none(), "{problem}");
        eprintln!(
            "NOT TESTED with {}: {problem}run tests/tools/build {}",
            self.name(),
            self.name()
        );
        None
    }
}

/// Runs a linter and parses its lines of JSON.
fn lines(command: &mut Command) -> Vec<Value> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn write(folder: &TempDir, name: &str, label: &str, der: &[u8]) -> PathBuf {
    let file = folder.path().join(name);
    fs::write(&file, pem::encode(label, der)).unwrap();
    file
}

/// Runs pkilint, which prints `[file, code]` for each finding.
fn pkilint(program: &Path, folder: &TempDir, documents: &[Document<'_>]) -> BTreeSet<Finding> {
    let mut command = Command::new(program);
    for document in documents {
        document.for_pkilint(folder, &mut command);
    }
    let finding = |line: Value| Finding {
        shape: shape_of(&line[0]),
        code: line[1].as_str().unwrap().to_owned(),
    };
    let mut lines = lines(&mut command);
    let last = lines.pop().unwrap();
    assert_eq!(last, documents.len(), "documents that were checked");
    lines.into_iter().map(finding).collect()
}

/// Runs zlint, which prints one object for each document, in order.
fn zlint(program: &Path, folder: &TempDir, documents: &[Document<'_>]) -> BTreeSet<Finding> {
    let mut command = Command::new(program);
    command.args(["-includeSources", SOURCES]);
    for document in documents {
        command.arg(document.write(folder));
    }
    let lines = lines(&mut command);
    assert_eq!(lines.len(), documents.len(), "documents that were checked");
    let mut findings = BTreeSet::new();
    for (report, document) in lines.iter().zip(documents) {
        let report = report.get("lints").unwrap_or(report).as_object().unwrap();
        let count = report.len();
        assert!(count > document.lints(), "zlint ran {count} lints");
        for (code, verdict) in report {
            if !QUIET.contains(&verdict["result"].as_str().unwrap()) {
                findings.insert(Finding {
                    shape: document.name().to_owned(),
                    code: code.clone(),
                });
            }
        }
    }
    findings
}

fn shape_of(file: &Value) -> String {
    let file = Path::new(file.as_str().unwrap());
    file.file_name().unwrap().to_str().unwrap().to_owned()
}
