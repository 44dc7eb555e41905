//! Verifiers with CRLs: the `openssl` program, which fetches the CRL itself, Go's `crypto/x509`, and rustls-webpki. And our
//! own commands.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::PATIENCE;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use webpki::{
    ALL_VERIFICATION_ALGS, BorrowedCertRevocationList, CertRevocationList, EndEntityCert,
    ExtendedKeyUsageValidator, KeyPurposeIdIter, RevocationCheckDepth, RevocationOptionsBuilder,
    anchor_from_trusted_cert,
};
use x509_parser::{
    extensions::{DistributionPointName, GeneralName, ParsedExtension},
    pem::Pem,
};

use super::super::issued::Issued;
use crate::controller::programs;

/// A certificate that verifiers judge.
pub(super) struct Checked {
    name: String,
    /// The certificate and those above it, without the root, in PEM.
    chain: Vec<u8>,
    /// The URL of its CRL.
    url: String,
}

/// What the three verifiers say about a certificate: nothing if they accept it, else their error.
#[derive(Debug)]
pub(super) struct Verdict {
    openssl: Option<String>,
    go: Option<String>,
    webpki: Option<String>,
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        self.openssl.is_none() && self.go.is_none() && self.webpki.is_none()
    }

    pub(super) fn is_revoked(&self) -> bool {
        let [openssl, go, webpki] = [&self.openssl, &self.go, &self.webpki]
            .map(|error| error.as_deref().unwrap_or_default());
        openssl.contains("certificate revoked") && go == "revoked" && webpki == "CertRevoked"
    }
}

impl Checked {
    pub(super) fn new(name: &str, issued: &Issued) -> Result<Self> {
        let leaf = issued.leaf()?;
        let mut urls = Vec::new();
        for extension in leaf.extensions() {
            let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension()
            else {
                continue;
            };
            for point in &points.points {
                if let Some(DistributionPointName::FullName(names)) = &point.distribution_point
                    && let Some(GeneralName::URI(url)) = names.first()
                {
                    urls.push((*url).to_owned());
                }
            }
        }
        Ok(Self {
            name: name.to_owned(),
            chain: issued.data("tls.crt")?,
            url: urls
                .into_iter()
                .next()
                .context("the certificate names no CRL")?,
        })
    }
}

/// Asks every verifier about these certificates.
pub(super) async fn verdicts(all: &[Checked], root: &str) -> Result<Vec<(String, Verdict)>> {
    let folder = tempfile::tempdir()?;
    let root_file = folder.path().join("root.pem");
    fs::write(&root_file, root)?;
    let mut go = Command::new("go");
    go.args(["run", "tests/it/e2e/revocation/verify.go"])
        .arg(&root_file)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let mut some = Vec::new();
    for checked in all {
        let file = folder.path().join(&checked.name);
        fs::write(&file, &checked.chain)?;
        let crl = fetch(&checked.url).await?;
        fs::write(file.with_extension("crl"), &crl)?;
        go.arg(&file);
        let openssl = openssl(&file, &root_file)?;
        some.push((checked, openssl, webpki(&checked.chain, root, &crl)?));
    }
    let told = succeeded(go.output().context("run go")?)?;
    let mut verdicts = Vec::new();
    for ((checked, openssl, webpki), line) in some.into_iter().zip(told.lines()) {
        let (name, said) = line.split_once(": ").context("go says nothing")?;
        ensure!(name == checked.name, "{line}");
        let go = (said != "OK").then(|| said.to_owned());
        let verdict = Verdict {
            openssl,
            go,
            webpki,
        };
        verdicts.push((checked.name.clone(), verdict));
    }
    ensure!(verdicts.len() == all.len(), "{told}");
    Ok(verdicts)
}

/// Waits until every verifier accepts these certificates.
pub(super) async fn until_good(all: &[Checked], root: &str) -> Result<()> {
    until("the next CRL", PATIENCE, async || {
        let verdicts = verdicts(all, root).await?;
        let good = verdicts.iter().all(|(_, verdict)| verdict.is_good());
        Ok(good.then_some(()))
    })
    .await
}

/// Returns the error of openssl, which fetches the CRL from the URL in the certificate.
fn openssl(chain: &Path, root: &Path) -> Result<Option<String>> {
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-crl_check", "-crl_download"])
        .args(["-no-CAfile", "-no-CApath", "-no-CAstore", "-trusted"])
        .arg(root)
        .arg("-untrusted")
        .arg(chain)
        .arg(chain)
        .output()
        .context("run openssl")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((!output.status.success()).then_some(told))
}

struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// Returns the error of webpki with this CRL.
fn webpki(chain: &[u8], root: &str, crl: &[u8]) -> Result<Option<String>> {
    let blocks: Vec<_> = Pem::iter_from_buffer(chain).collect::<Result<_, _>>()?;
    let ders: Vec<_> = blocks
        .iter()
        .map(|block| CertificateDer::from(&*block.contents))
        .collect();
    let (leaf, above) = ders.split_first().context("no certificate")?;
    let (_, root) = x509_parser::pem::parse_x509_pem(root.as_bytes())?;
    let root = CertificateDer::from(&*root.contents);
    let crl =
        BorrowedCertRevocationList::from_der(crl).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let crl = CertRevocationList::from(crl);
    let crls = [&crl];
    let options = RevocationOptionsBuilder::new(&crls)
        .map_err(|_| anyhow::anyhow!("no CRL"))?
        .with_depth(RevocationCheckDepth::EndEntity)
        .build();
    let now = UnixTime::now();
    let verified = EndEntityCert::try_from(leaf).and_then(|leaf| {
        let anchors = [anchor_from_trusted_cert(&root)?];
        leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            above,
            now,
            AnyPurpose,
            Some(options),
            None,
        )
        .map(drop)
    });
    Ok(verified.err().map(|error| format!("{error:?}")))
}

/// Fetches the CRL at a URL.
async fn fetch(url: &str) -> Result<Vec<u8>> {
    let rest = url.strip_prefix("http://").context("no plain HTTP")?;
    let (host, path) = rest.split_once('/').context("no path")?;
    let mut stream = TcpStream::connect(host).await?;
    let get = format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(get.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|some| some == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.context("no header")? + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    ensure!(
        head.starts_with("http/1.0 200") || head.starts_with("http/1.1 200"),
        "{head}"
    );
    ensure!(
        head.contains("content-type: application/pkix-crl"),
        "{head}"
    );
    Ok(body.to_vec())
}

/// Makes the proof for a certificate with our command.
pub(super) fn proof(certificate: &[u8], key: &[u8]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let [certificate_file, key_file] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
    fs::write(&certificate_file, certificate)?;
    fs::write(&key_file, key)?;
    let output = Command::new(programs()?.controller)
        .arg("revoke-proof")
        .arg("--certificate")
        .arg(certificate_file)
        .arg("--key")
        .arg(key_file)
        .output()?;
    Ok(succeeded(output)?.trim_end().to_owned())
}

/// Returns what `audit certificate` says.
pub(super) fn run_audit_certificate(serial: &str, log: &Path) -> Result<String> {
    let output = Command::new(programs()?.controller)
        .args(["audit", "certificate", serial])
        .arg(log)
        .output()?;
    succeeded(output)
}

fn succeeded(output: Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
