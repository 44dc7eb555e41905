//! Verifiers of chains: the `openssl` program, Go's `crypto/x509`, and rustls-webpki, which most Rust programs use.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use pkcs11_issuer::issuance::pem;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    anchor_from_trusted_cert,
};

use super::{super::openssl::Openssl, Authority, Issued, Shape};

/// The first version of OpenSSL that verifies ML-DSA.
const WITH_ML_DSA: (u32, u32) = (3, 5);

/// Verifies a chain with OpenSSL in its strict mode, at a time at which all certificates are valid.
pub(super) fn openssl(issued: &Issued) {
    let openssl = Openssl::new();
    if issued.has_ml_dsa && version(&openssl) < WITH_ML_DSA {
        return;
    }
    let write = |name: &str, certificates: &[&Vec<u8>]| {
        let text: String = certificates
            .iter()
            .map(|der| pem::encode("CERTIFICATE", der))
            .collect();
        fs::write(openssl.path(name), text).unwrap();
    };
    write("root.pem", &[&issued.root]);
    write("above.pem", &issued.above.iter().collect::<Vec<_>>());
    write("leaf.pem", &[&issued.der]);
    let verdict = openssl.run(&[
        "verify",
        "-x509_strict",
        "-attime",
        &issued.now.to_string(),
        "-CAfile",
        "root.pem",
        "-untrusted",
        "above.pem",
        "leaf.pem",
    ]);
    assert_eq!(verdict.trim(), "leaf.pem: OK", "{}", issued.name);
}

/// Parses the version from text such as `OpenSSL 3.0.22 …`.
fn version(openssl: &Openssl) -> (u32, u32) {
    let text = openssl.run(&["version"]);
    let mut numbers = text
        .split(' ')
        .nth(1)
        .unwrap()
        .split('.')
        .map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Verifies all chains with Go in one run, because the program is compiled each time. Returns the error of each chain that Go
/// does not accept, by the name of its shape.
pub(super) fn go(all: &[Issued]) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("go");
    command
        .args(["run", "tests/it/issuance/foreign/verify.go"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    for issued in all {
        let chain = [&issued.der]
            .into_iter()
            .chain(&issued.above)
            .chain([&issued.root]);
        let chain: String = chain.map(|der| pem::encode("CERTIFICATE", der)).collect();
        let file = folder.path().join(issued.name);
        fs::write(file.with_extension("time"), issued.now.to_string()).unwrap();
        fs::write(&file, chain).unwrap();
        command.arg(file);
    }
    let output = command.output().expect("go is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), all.len());
    let verdicts = text.lines().map(|line| line.split_once(": ").unwrap());
    verdicts
        .filter(|(_, verdict)| *verdict != "OK")
        .map(|(name, verdict)| (name.to_owned(), verdict.to_owned()))
        .collect()
}

/// Accepts any purpose, because purposes are not tested here.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// Verifies a chain with webpki. It accepts no CA certificate as an end entity, so verify a leaf below it instead.
pub(super) fn webpki(issued: &Issued) {
    let leaf;
    let issued = if issued.is_ca {
        leaf = Authority::below(issued).issue(&Shape {
            name: issued.name,
            key: "Ed25519",
            ..Shape::LEAF
        });
        &leaf
    } else {
        issued
    };
    let root = CertificateDer::from(&*issued.root);
    let above: Vec<_> = issued
        .above
        .iter()
        .map(|der| CertificateDer::from(&**der))
        .collect();
    let certificate = CertificateDer::from(&*issued.der);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(issued.now.unsigned_abs()));
    let verdict = EndEntityCert::try_from(&certificate).and_then(|certificate| {
        let anchors = [anchor_from_trusted_cert(&root)?];
        certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                &above,
                now,
                AnyPurpose,
                None,
                None,
            )
            .map(|_| ())
    });
    assert_eq!(verdict, Ok(()), "{}", issued.name);
}
