//! Runs linters of single certificates: pkilint and zlint, as `tests/tools/build` builds them.
//!
//! Both also have the rules of the CA/Browser Forum for publicly trusted certificates. A private issuer need not obey these,
//! and a cluster does not have what they demand (a public domain, policies, revocation). So only the rules of X.509 apply:
//! in pkilint `lint_pkix_cert`, and `lint_pkix_signer_signee_cert_chain` for the relation of a certificate to its issuer; in
//! zlint the lints of [`SOURCES`].

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
    pub(super) fn run(self, certificates: &[&Issued]) -> Option<BTreeSet<Finding>> {
        let program = self.program()?;
        let folder = tempfile::tempdir().unwrap();
        let findings = match self {
            Self::Pkilint => pkilint(&program, &folder, certificates),
            Self::Zlint => zlint(&program, &folder, certificates),
        };
        Some(findings)
    }

    /// Returns whether the linter can read the certificate at all.
    pub(super) fn reads(self, issued: &Issued) -> bool {
        let program = self.program().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        if self == Self::Pkilint {
            let issuer = issued.above.first().unwrap();
            command.arg(write(&folder, "issuer", issuer));
        }
        command.arg(write(&folder, issued.name, &issued.der));
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

fn write(folder: &TempDir, name: &str, der: &[u8]) -> PathBuf {
    let file = folder.path().join(name);
    fs::write(&file, pem::encode("CERTIFICATE", der)).unwrap();
    file
}

/// Runs pkilint, which prints `[file, code]` for each finding.
fn pkilint(program: &Path, folder: &TempDir, certificates: &[&Issued]) -> BTreeSet<Finding> {
    let mut command = Command::new(program);
    for issued in certificates {
        let issuer = issued.above.first().unwrap();
        command.arg(write(folder, &format!("{}.issuer", issued.name), issuer));
        command.arg(write(folder, issued.name, &issued.der));
    }
    let finding = |line: Value| Finding {
        shape: shape_of(&line[0]),
        code: line[1].as_str().unwrap().to_owned(),
    };
    let mut lines = lines(&mut command);
    let last = lines.pop().unwrap();
    assert_eq!(last, certificates.len(), "certificates that were checked");
    lines.into_iter().map(finding).collect()
}

/// Runs zlint, which prints one object for each certificate, in order.
fn zlint(program: &Path, folder: &TempDir, certificates: &[&Issued]) -> BTreeSet<Finding> {
    let mut command = Command::new(program);
    command.args(["-includeSources", SOURCES]);
    for issued in certificates {
        command.arg(write(folder, issued.name, &issued.der));
    }
    let lines = lines(&mut command);
    assert_eq!(
        lines.len(),
        certificates.len(),
        "certificates that were checked"
    );
    let mut findings = BTreeSet::new();
    for (report, issued) in lines.iter().zip(certificates) {
        let report = report.get("lints").unwrap_or(report).as_object().unwrap();
        assert!(report.len() > 100, "zlint ran {} lints", report.len());
        for (code, verdict) in report {
            if !QUIET.contains(&verdict["result"].as_str().unwrap()) {
                findings.insert(Finding {
                    shape: issued.name.to_owned(),
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
