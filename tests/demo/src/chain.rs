//! Decodes and verifies, with openssl, the chain that cert-manager wrote to the Secret.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::ControlPlane;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const EXTENSIONS: &str = "subjectAltName,basicConstraints,keyUsage,extendedKeyUsage";
const FILES: [&str; 2] = ["tls.crt", "ca.crt"];

/// The files of a TLS server and its clients, `tls.crt` and `ca.crt`, in a folder.
#[derive(Debug)]
pub(crate) struct Chain {
    secret: String,
    folder: PathBuf,
}

impl Chain {
    /// Writes the certificates of a Secret in the namespace `default` to files.
    pub(crate) async fn read(plane: &ControlPlane, secret: &str) -> Result<Self> {
        let json = plane
            .kubectl(&["get", "secret", secret, "-n", "default", "-o", "json"])
            .await?;
        let json: Value = serde_json::from_str(&json).context("parse the Secret")?;
        let folder = plane.log_dir().join(secret);
        std::fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
        for file in FILES {
            let text = json.get("data").and_then(|data| data.get(file));
            let text = text.and_then(Value::as_str);
            let text = text.with_context(|| format!("the Secret has no {file}"))?;
            let pem = STANDARD.decode(text).ok();
            let pem = pem.with_context(|| format!("{file} of the Secret is not base64"))?;
            let path = folder.join(file);
            std::fs::write(&path, pem).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(Self {
            secret: secret.to_owned(),
            folder,
        })
    }

    /// Verifies the chain as a client that trusts the root and connects to this host; returns the command and its output.
    pub(crate) async fn verify(&self, host: &str) -> Result<String> {
        let args = format!(
            "verify -x509_strict -purpose sslserver -verify_hostname {host} -CAfile ca.crt -untrusted tls.crt tls.crt"
        );
        let verdict = self.openssl(&args, "").await?;
        Ok(format!("\nopenssl {args}\n  {verdict}\n"))
    }

    /// Returns every certificate of the chain as text, leaf first, root last.
    pub(crate) async fn decode(&self) -> Result<String> {
        let mut text = format!("\nSecret default/{}\n", self.secret);
        for file in FILES {
            let certificates = certificates(&self.folder.join(file))?;
            for (number, pem) in (1..).zip(&certificates) {
                let args = format!("x509 -noout -subject -issuer -serial -dates -ext {EXTENSIONS}");
                let decoded = self.openssl(&args, pem).await?;
                let count = certificates.len();
                text.push_str(&format!("\n  {file}, certificate {number} of {count}\n"));
                for line in decoded.lines().filter(|line| !line.trim().is_empty()) {
                    text.push_str(&format!("    {}\n", line.trim_end()));
                }
            }
        }
        Ok(text)
    }

    async fn openssl(&self, args: &str, input: &str) -> Result<String> {
        let mut child = Command::new("openssl")
            .args(args.split(' '))
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start openssl; on Debian: apt-get install openssl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // openssl may close the pipe without reading its input; that is not an error.
            drop(stdin.write_all(input.as_bytes()).await);
        }
        let output = child.wait_with_output().await.context("wait for openssl")?;
        let [stdout, stderr] = [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        ensure!(
            output.status.success(),
            "openssl {args} failed: {stdout}\n{stderr}"
        );
        Ok(stdout)
    }
}

fn certificates(path: &Path) -> Result<Vec<String>> {
    let pem = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let bodies = pem.split(BEGIN).skip(1);
    Ok(bodies.map(|body| format!("{BEGIN}{body}")).collect())
}
