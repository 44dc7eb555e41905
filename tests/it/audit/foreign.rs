//! Exported trees, proofs and notes verify with Go's `sumdb` and with torchwood (`tests/tools/tlog`).

use std::{
    fs,
    io::{self, Write},
    process::Command,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use control_plane::Tools;
use jiff::Timestamp;
use pkcs11_issuer::audit::{
    Certificate, CertificateEntry, IssuanceLog, LogRun, LoggedIssuer, LoggedRequest, LoggedToken,
    Program, RequestKind, Requester, Subject,
};
use rig::PATIENCE;

use super::key::{AuditKey, audit};

/// What a log has written.
#[derive(Clone, Default)]
pub(super) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    pub(super) fn text(&self) -> Result<String> {
        Ok(String::from_utf8(self.0.lock().unwrap().clone())?)
    }
}

impl Write for Paper {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins a log.
pub(super) fn log_on(paper: &Paper) -> Result<IssuanceLog> {
    let program = Program {
        version: "1.2.3",
        commit: "abc",
    };
    let run = LogRun::new("prod", "replica-0", program)?;
    let clock = || Timestamp::UNIX_EPOCH;
    Ok(IssuanceLog::to("paper", paper.clone(), run, clock)?)
}

/// Returns a log of this many lines. The serial number of a line is its number.
async fn log(lines: u64) -> Result<String> {
    let paper = Paper::default();
    let log = log_on(&paper)?;
    log.started();
    for number in 1..lines {
        let signed = log.signed(&entry(&format!("{number:04x}")), &[0x30, 0]);
        log.accepted(signed).await?;
    }
    log.checkpoint();
    log.close(PATIENCE).await?;
    paper.text()
}

/// Returns what the log says about a certificate.
fn entry(serial: &str) -> CertificateEntry {
    entry_for(serial, "8f0e")
}

/// Returns what the log says about a certificate for the request with this UID.
pub(super) fn entry_for(serial: &str, uid: &str) -> CertificateEntry {
    let subject = Subject {
        request: LoggedRequest {
            kind: RequestKind::CertificateRequest,
            namespace: Some("shop"),
            name: "web",
            uid,
            certificate: None,
        },
        requester: Requester {
            username: "system:serviceaccount:cert-manager:cert-manager",
            uid: None,
            groups: &[],
        },
        approval: None,
        issuer: LoggedIssuer {
            kind: "PKCS11ClusterIssuer",
            namespace: None,
            name: "issuing",
            uid: None,
            generation: None,
            profile_sha256: None,
            grant_sha256: None,
        },
    };
    let certificate = Certificate {
        csr_sha256: "22",
        token: LoggedToken {
            name: "issuing",
            label: "issuing",
            serial: "5b8c",
        },
        key_id: &[0xa1],
        issuer_certificate_sha256: "33",
        serial,
        subject: "",
        names: &[],
        usages: &[],
        ca: false,
        not_before: Timestamp::UNIX_EPOCH,
        not_after: Timestamp::UNIX_EPOCH,
        tbs_sha256: "11",
    };
    CertificateEntry::new(&subject, &certificate)
}

/// Runs the third-party verifier; returns what it prints, or `None` if it refuses.
fn tlog(command: &str, key: &AuditKey, path: &str) -> Result<Option<String>> {
    let output = Command::new(Tools::of("tlog")?.program("tlog")?)
        .args([command, &key.vkey(), path])
        .output()?;
    Ok(output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout))
        .transpose()?)
}

/// Returns whether the verifier is built. Without it, nothing is tested.
fn is_built() -> bool {
    match Tools::of("tlog") {
        Ok(_) => true,
        Err(problem) => {
            assert!(std::env::var_os("CI").is_none(), "{problem}");
            eprintln!("NOT TESTED with Go: {problem}");
            false
        }
    }
}

#[tokio::test]
async fn go_and_torchwood_accept_exported_trees_and_proofs_under_keys_of_both_kinds() -> Result<()>
{
    if !is_built() {
        return Ok(());
    }
    for key in [AuditKey::ed25519()?, AuditKey::p256()?] {
        for size in [1, 2, 255, 256, 257, 700] {
            let folder = tempfile::tempdir()?;
            let path = |name: &str| folder.path().join(name).display().to_string();
            let log = key.seal(&log(size).await?)?;
            let (leaves, _) = log.trim_end().rsplit_once('\n').context("one line")?;
            fs::write(path("a.log"), &log)?;
            let exported = audit(&["export", "--tiles", &path("tiles"), &path("a.log")])?;
            ensure!(exported.code == Some(0), "{exported:?}");
            let run = fs::read_dir(path("tiles"))?.next().context("no run")??;
            let run = run.path().display().to_string();
            let told = tlog("tree", &key, &run)?.context("the tree is refused")?;
            assert_eq!(told, format!("{leaves}\n"), "{} {size}", key.name);

            // The first line is no certificate.
            for number in [1, size / 2, size - 1]
                .into_iter()
                .filter(|number| (1..size).contains(number))
            {
                let serial = format!("{number:x}");
                let proof = audit(&["prove", &serial, &path("a.log")])?;
                ensure!(proof.code == Some(0), "{proof:?}");
                fs::write(path("proof"), &proof.stdout)?;
                let told = tlog("proof", &key, &path("proof"))?.context("refused")?;
                let line = leaves.lines().nth(usize::try_from(number)?);
                assert_eq!(
                    Some(told.trim_end()),
                    line,
                    "{} {number} of {size}",
                    key.name
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn go_and_torchwood_refuse_what_another_key_signed_or_somebody_changed() -> Result<()> {
    if !is_built() {
        return Ok(());
    }
    let (key, other) = (AuditKey::ed25519()?, AuditKey::p256()?);
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("a.log"), key.seal(&log(300).await?)?)?;
    audit(&["export", "--tiles", &path("tiles"), &path("a.log")])?;
    let run = fs::read_dir(path("tiles"))?.next().context("no run")??;
    let run = run.path();
    let folder_of_run = run.display().to_string();
    assert_ne!(tlog("tree", &key, &folder_of_run)?, None);
    assert_eq!(tlog("tree", &other, &folder_of_run)?, None);
    for file in [
        "tile/0/000",
        "tile/entries/000",
        "tile/entries/001.p/44",
        "checkpoint",
    ] {
        let file = run.join(file);
        let octets = fs::read(&file)?;
        let mut changed = octets.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&file, changed)?;
        assert_eq!(
            tlog("tree", &key, &folder_of_run)?,
            None,
            "{}",
            file.display()
        );
        fs::write(&file, octets)?;
    }
    assert_ne!(tlog("tree", &key, &folder_of_run)?, None);
    Ok(())
}
