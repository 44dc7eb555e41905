//! Verifiers of chains and CRLs: the `openssl` program, Go's `crypto/x509`, and rustls-webpki, which most Rust programs use.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use pkcs11_issuer::issuance::pem;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, BorrowedCertRevocationList, CertRevocationList, EndEntityCert,
    ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
    anchor_from_trusted_cert,
};

use super::{super::openssl::Openssl, Authority, Issued, Shape, crls::Case};

/// The first version of OpenSSL that verifies ML-DSA.
const WITH_ML_DSA: (u32, u32) = (3, 5);

/// Verifies a chain with OpenSSL in its strict mode, at a time at which all certificates are valid.
pub(super) fn openssl(issued: &Issued) {
    if let Some(verdict) = openssl_with(issued, None) {
        assert_eq!(verdict.trim(), "leaf.pem: OK", "{}", issued.name);
    }
}

/// Verifies the certificate of a case with OpenSSL: by the CRL of its shard, and by those of other shards.
pub(super) fn openssl_by_crl(case: &Case) {
    let Some(verdict) = openssl_with(&case.issued, Some(&case.crl)) else {
        return;
    };
    match case.revoked {
        None => assert_eq!(verdict.trim(), "leaf.pem: OK", "{}", case.name),
        Some(_) => assert!(
            verdict.contains("certificate revoked"),
            "{}: {verdict}",
            case.name
        ),
    }
    for other in &case.others {
        let verdict = openssl_with(&case.issued, Some(other)).unwrap();
        assert!(
            verdict.contains("different CRL scope"),
            "{}: {verdict}",
            case.name
        );
    }
}

/// Returns what OpenSSL says to a chain and a CRL; `None` if it does not know the algorithms.
fn openssl_with(issued: &Issued, crl: Option<&[u8]>) -> Option<String> {
    let openssl = Openssl::new();
    if issued.has_ml_dsa && version(&openssl) < WITH_ML_DSA {
        return None;
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
    let mut command = Command::new("openssl");
    command.current_dir(openssl.path(""));
    command.args(["verify", "-x509_strict", "-attime", &issued.now.to_string()]);
    command.args(["-CAfile", "root.pem", "-untrusted", "above.pem"]);
    if let Some(crl) = crl {
        fs::write(openssl.path("crl.pem"), pem::encode("X509 CRL", crl)).unwrap();
        command.args(["-crl_check", "-CRLfile", "crl.pem"]);
    }
    let output = command.arg("leaf.pem").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8(text).unwrap())
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
    let plain = all.iter().map(|issued| (issued.name, issued, None));
    go_with(plain.collect())
}

/// Verifies the certificate of each case and the signature of its CRL with Go, which has no verifier that uses CRLs. Returns
/// the error, or how the CRL lists the certificate, for each case to which Go does not simply agree.
pub(super) fn go_by_crl(all: &[Case]) -> BTreeMap<String, String> {
    let cases = all
        .iter()
        .map(|case| (&*case.name, &case.issued, Some(&*case.crl)));
    go_with(cases.collect())
}

fn go_with(all: Vec<(&str, &Issued, Option<&[u8]>)>) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("go");
    command
        .args(["run", "tests/it/issuance/foreign/verify.go"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let count = all.len();
    for (name, issued, crl) in all {
        let chain = [&issued.der]
            .into_iter()
            .chain(&issued.above)
            .chain([&issued.root]);
        let chain: String = chain.map(|der| pem::encode("CERTIFICATE", der)).collect();
        let file = folder.path().join(name);
        if let Some(crl) = crl {
            fs::write(file.with_extension("crl"), crl).unwrap();
        }
        fs::write(file.with_extension("time"), issued.now.to_string()).unwrap();
        fs::write(&file, chain).unwrap();
        command.arg(file);
    }
    let output = command.output().expect("go is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), count);
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
    assert_eq!(webpki_with(issued, None), Ok(()), "{}", issued.name);
}

/// Verifies the certificate of a case with both kinds of CRLs of webpki: by the CRL of its shard, and by those of other shards.
pub(super) fn webpki_by_crl(case: &Case) {
    let verdict = |crl: &[u8]| {
        let borrowed = BorrowedCertRevocationList::from_der(crl).unwrap();
        let owned = OwnedCertRevocationList::from_der(crl).unwrap();
        let verdicts = [CertRevocationList::from(borrowed), owned.into()].map(|crl| {
            let crls = [&crl];
            let options = RevocationOptionsBuilder::new(&crls).unwrap();
            let options = options
                .with_depth(RevocationCheckDepth::EndEntity)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce);
            webpki_with(&case.issued, Some(options.build()))
        });
        let [borrowed, owned] = verdicts;
        assert_eq!(borrowed, owned, "{}", case.name);
        owned
    };
    let expected = match case.revoked {
        None => Ok(()),
        Some(_) => Err(webpki::Error::CertRevoked),
    };
    assert_eq!(verdict(&case.crl), expected, "{}", case.name);
    for other in &case.others {
        let expected = Err(webpki::Error::UnknownRevocationStatus);
        assert_eq!(verdict(other), expected, "{}", case.name);
    }
}

fn webpki_with(
    issued: &Issued,
    revocation: Option<RevocationOptions<'_>>,
) -> Result<(), webpki::Error> {
    let root = CertificateDer::from(&*issued.root);
    let above: Vec<_> = issued
        .above
        .iter()
        .map(|der| CertificateDer::from(&**der))
        .collect();
    let certificate = CertificateDer::from(&*issued.der);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(issued.now.unsigned_abs()));
    EndEntityCert::try_from(&certificate).and_then(|certificate| {
        let anchors = [anchor_from_trusted_cert(&root)?];
        certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                &above,
                now,
                AnyPurpose,
                revocation,
                None,
            )
            .map(|_| ())
    })
}
