//! `audit compare` on a real API server: what is listed, what is a disagreement, and what is proven.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use pkcs11_issuer::audit::IssuanceLog;
use rcgen::{CertificateParams, KeyPair};
use rig::{Cluster, PATIENCE, SigningRequests, csr_for};
use serde_json::json;

use super::{
    foreign::{Paper, entry_for, log_on},
    key::{AuditKey, Told, audit},
};
use crate::controller::{issuer, programs};

/// Certificates in the statuses of requests, and the folder with the logs about them.
struct Stage {
    cluster: Cluster,
    requests: SigningRequests,
    folder: tempfile::TempDir,
}

/// A certificate, and the UID of the request that it is for.
struct Stored {
    uid: String,
    serial: String,
    der: Vec<u8>,
}

impl Stage {
    async fn new() -> Result<Self> {
        let cluster = Cluster::start_without_cert_manager(&programs()?).await?;
        Ok(Self {
            requests: cluster.signing_requests("somebody").await?,
            cluster,
            folder: tempfile::tempdir()?,
        })
    }

    /// Creates a request with this name and puts a certificate into its status, as a signer does.
    async fn stored(&self, name: &str) -> Result<Stored> {
        let spec = json!({
            "request": STANDARD.encode(csr_for("web.example")?),
            "signerName": issuer().signer_name(),
            "usages": ["digital signature", "server auth"],
        });
        let uid = self.requests.create(name, spec, json!({})).await?;
        self.requests.approve(name).await?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["web.example".to_owned()])?.self_signed(&key)?;
        let status = json!({"status": {"certificate": STANDARD.encode(certificate.pem())}});
        let patch = [
            "patch",
            "csr",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
        ];
        let status = status.to_string();
        let words = [&patch[..], &[status.as_str()]].concat();
        self.cluster.plane().kubectl(&words).await?;
        Ok(Stored {
            uid,
            serial: format!("{name}01")
                .as_bytes()
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .collect(),
            der: certificate.der().to_vec(),
        })
    }

    /// Compares these logs with the cluster.
    fn compare(&self, more: &[&str], logs: &[&str]) -> Result<Told> {
        let kubeconfig = self.cluster.plane().admin_kubeconfig();
        let kubeconfig = kubeconfig.to_str().context("a path")?;
        let mut words = vec!["compare", "--kubeconfig", kubeconfig];
        words.extend(more);
        let mut files = Vec::new();
        for (number, log) in logs.iter().enumerate() {
            let file = self.folder.path().join(format!("{number}.log"));
            std::fs::write(&file, log)?;
            files.push(file.display().to_string());
        }
        words.extend(files.iter().map(String::as_str));
        audit(&words)
    }
}

/// Logs steps of certificates, one after the other, and ends the log.
async fn written(steps: &[(&str, &Stored)], stopped: bool) -> Result<String> {
    let paper = Paper::default();
    let log: IssuanceLog = log_on(&paper)?;
    log.started();
    for (step, Stored { uid, serial, der }) in steps {
        let entry = entry_for(serial, uid);
        match *step {
            "signed" => drop(log.signed(&entry, der)),
            "published" => log.published(&entry),
            other => log.discarded(&entry, other),
        }
    }
    if stopped {
        log.stopping();
    }
    log.checkpoint();
    log.close(PATIENCE).await?;
    paper.text()
}

#[tokio::test]
async fn compare_tells_what_the_logs_and_a_cluster_disagree_on_and_what_is_proven() -> Result<()> {
    let stage = Stage::new().await?;
    let good = stage.stored("good").await?;
    let killed = stage.stored("killed").await?;
    let gone = Stored {
        uid: "gone".to_owned(),
        serial: "60ae".to_owned(),
        der: b"a certificate whose request was deleted".to_vec(),
    };
    let one = written(
        &[
            ("signed", &good),
            ("published", &good),
            ("signed", &gone),
            ("published", &gone),
        ],
        true,
    )
    .await?;
    let two = written(&[("signed", &killed)], false).await?;
    let lines = [
        "2 certificates are in the cluster, 3 were signed according to the log".to_owned(),
        format!(
            "CertificateSigningRequest killed: certificate {} has no published line, because its run has no end",
            killed.serial
        ),
        "certificate 60ae was published and is no longer in the cluster".to_owned(),
        "the log has every certificate of the cluster".to_owned(),
    ];
    let agreed = |told: &Told| {
        assert_eq!(told.code, Some(0), "{told:?}");
        for line in &lines {
            assert!(told.stdout.contains(line), "{line}: {told:?}");
        }
    };
    let told = stage.compare(&[], &[&one, &two])?;
    agreed(&told);
    assert!(told.stdout.contains("no audit key was given"), "{told:?}");

    // A run that somebody made up satisfies the comparison, and is named once there is a key.
    let key = AuditKey::ed25519()?;
    let sealed = key.seal(&one)?;
    let told = stage.compare(&["--key", &key.vkey()], &[&sealed, &two])?;
    agreed(&told);
    let unproven: Vec<_> = told
        .stdout
        .lines()
        .filter(|line| line.contains("is not proven"))
        .collect();
    let [line] = unproven.as_slice() else {
        panic!("{told:?}");
    };
    assert!(line.contains(&killed.serial), "{line}");
    let changed = sealed.replace("\"shop\"", "\"spy\"");
    let told = stage.compare(&["--key", &key.vkey()], &[&changed, &two])?;
    assert_eq!(told.code, Some(3), "{told:?}");
    assert!(told.stdout.contains("was changed"), "{told:?}");

    let names = [
        "missing",
        "discarded",
        "unpublished",
        "other",
        "twice",
        "early",
    ];
    let mut more = Vec::new();
    for name in names {
        more.push(stage.stored(name).await?);
    }
    let [_, discarded, unpublished, other, twice, early] = more.as_slice() else {
        panic!("six certificates");
    };
    let of_another = Stored {
        uid: "another".to_owned(),
        serial: other.serial.clone(),
        der: other.der.clone(),
    };
    let three = written(
        &[
            ("signed", discarded),
            ("superseded", discarded),
            ("signed", unpublished),
            ("signed", &of_another),
            ("signed", twice),
            ("published", twice),
            ("published", twice),
            ("published", early),
            ("signed", early),
        ],
        true,
    )
    .await?;
    let told = stage.compare(&[], &[&one, &two, &three])?;
    ensure!(told.code == Some(3), "{told:?}");
    for (name, what) in [
        ("missing", "is not in the log"),
        ("discarded", "and the log says that it was discarded"),
        ("unpublished", "although its run stopped in order"),
        ("other", "was signed for another request"),
        ("twice", "was published more than once"),
        ("early", "no line before that says that it was signed"),
    ] {
        let mut faults = told
            .stdout
            .lines()
            .filter(|line| line.starts_with("FAULT "));
        let request = more.iter().zip(names).find(|(_, of)| *of == name);
        let (stored, _) = request.context("no such request")?;
        let is_told = faults.any(|line| {
            line.contains(what)
                && (line.contains(&format!(" {name}: ")) || line.contains(&stored.serial))
        });
        assert!(is_told, "{name}: {told:?}");
    }
    assert!(
        told.stdout.ends_with("6 disagreements were found\n"),
        "{told:?}"
    );
    Ok(())
}
