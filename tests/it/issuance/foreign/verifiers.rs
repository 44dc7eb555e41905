//! Verifiers of chains: the `openssl` program, and rustls-webpki, which most Rust programs use.

use std::{fs, time::Duration};

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
