//! Three verifiers that implement name constraints, each in its own way: the `openssl` program, Go's `crypto/x509` and
//! rustls-webpki.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage,
    anchor_from_trusted_cert,
};

/// The purpose to verify a certificate for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Any,
    Server,
    Client,
    /// Whether the certificate names [`ADDRESS`].
    Address,
}

/// The address that [`Purpose::Address`] asks for.
pub(super) const ADDRESS: &str = "10.1.2.3";

/// The verdict of each verifier on each leaf, by the name of the leaf. `Err` has the verifier's message.
pub(super) type Verdicts = BTreeMap<String, [Result<(), String>; 3]>;

pub(super) const NAMES: [&str; 3] = ["OpenSSL", "Go", "webpki"];

/// Verifies every `NAME.leaf` in a folder that has `root` and `sub`, each as `.der` and `.pem`.
pub(super) fn verdicts(folder: &Path, purpose: Purpose) -> Verdicts {
    let mut by_go = go(folder, purpose);
    let mut leaves: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "leaf"))
        .collect();
    leaves.sort();
    let judge = |leaf: &Path| {
        let file = leaf.file_name().unwrap().to_str().unwrap();
        let by_go = by_go.remove(file).expect("Go has a verdict on every leaf");
        let name = file.strip_suffix(".leaf").unwrap().to_owned();
        let each = [
            openssl(folder, leaf, purpose),
            by_go,
            rust(folder, leaf, purpose),
        ];
        (name, each)
    };
    leaves
        .iter()
        .map(|leaf| leaf.as_path())
        .map(judge)
        .collect()
}

fn openssl(folder: &Path, leaf: &Path, purpose: Purpose) -> Result<(), String> {
    let purpose: &[&str] = match purpose {
        Purpose::Any => &[],
        Purpose::Server => &["-purpose", "sslserver"],
        Purpose::Client => &["-purpose", "sslclient"],
        Purpose::Address => &["-verify_ip", ADDRESS],
    };
    let output = Command::new("openssl")
        .args(["verify", "-CAfile", "root.pem", "-untrusted", "sub.pem"])
        .args(purpose)
        .arg(leaf)
        .current_dir(folder)
        .output()
        .expect("openssl is installed; on Debian: apt-get install openssl");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(words)
}

/// Verifies all leaves in one run, because the program is compiled each time.
fn go(folder: &Path, purpose: Purpose) -> BTreeMap<String, Result<(), String>> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/issuance/fenced/verify.go");
    let output = Command::new("go")
        .arg("run")
        .args([&program, folder])
        .arg(match purpose {
            Purpose::Any => "any",
            Purpose::Server => "server",
            Purpose::Client => "client",
            Purpose::Address => ADDRESS,
        })
        .output()
        .expect("go is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let verdict = |line: &str| {
        let (file, words) = line.split_once(": ").unwrap();
        let verdict = (words == "OK")
            .then_some(())
            .ok_or_else(|| words.to_owned());
        (file.to_owned(), verdict)
    };
    text.lines().map(verdict).collect()
}

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        match self {
            Self::Any | Self::Address => Ok(()),
            Self::Server => KeyUsage::server_auth().validate(purposes),
            Self::Client => KeyUsage::client_auth().validate(purposes),
        }
    }
}

fn rust(folder: &Path, leaf: &Path, purpose: Purpose) -> Result<(), String> {
    let read = |path: &Path| CertificateDer::from(fs::read(path).unwrap());
    let root = read(&folder.join("root.der"));
    let above = [read(&folder.join("sub.der"))];
    let leaf = read(leaf);
    let anchors = [anchor_from_trusted_cert(&root).unwrap()];
    let verdict = EndEntityCert::try_from(&leaf).and_then(|certificate| {
        certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                &above,
                UnixTime::now(),
                purpose,
                None,
                None,
            )
            .map(|_| ())?;
        match purpose {
            Purpose::Address => {
                let address = ServerName::try_from(ADDRESS).unwrap();
                certificate.verify_is_valid_for_subject_name(&address)
            }
            Purpose::Any | Purpose::Server | Purpose::Client => Ok(()),
        }
    });
    verdict.map_err(|error| error.to_string())
}
