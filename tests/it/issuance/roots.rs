//! Tests how OpenSSL uses a root's own certificate: it checks its dates and purposes, but not the encoding of its name. We
//! refuse before the signature what OpenSSL would refuse afterwards.

use std::{fs, process::Command, sync::Arc};

use jiff::SignedDuration;
use pkcs11_issuer::issuance::{
    CaField, Issuer, IssuerChain, PrepareError, PreparedCertificate, Profile, RefusalReason,
    Serial, VerifiedCsr, Wanted, pattern::Variables,
};

use super::{KEYS, openssl::Openssl, soon};

const USAGE: &str = "keyUsage=critical,keyCertSign,cRLSign";

/// Creates keys for the CA and the leaf, and a root with this extension that ends after this number of days.
fn with_root(days: &str, extension: &str) -> Openssl {
    let openssl = Openssl::new();
    openssl.key("ca", KEYS[2].1);
    openssl.key("leaf", KEYS[2].1);
    openssl.run(&[
        "req",
        "-x509",
        "-new",
        "-key",
        "ca.key",
        "-keyform",
        "DER",
        "-subj",
        "/O=Test/CN=Root",
        "-days",
        days,
        "-out",
        "root.pem",
        "-addext",
        USAGE,
        "-addext",
        extension,
    ]);
    openssl
}

/// Whether OpenSSL verifies a leaf that it has signed itself, for servers and clients and for thirty days.
fn accepts(openssl: &Openssl, arguments: &[&str]) -> bool {
    fs::write(
        openssl.path("leaf.ext"),
        "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:a.example\n",
    )
    .unwrap();
    openssl.run(&[
        "x509",
        "-req",
        "-in",
        "leaf.csr",
        "-CA",
        "root.pem",
        "-CAkey",
        "ca.key",
        "-CAkeyform",
        "DER",
        "-days",
        "30",
        "-set_serial",
        "4660",
        "-extfile",
        "leaf.ext",
        "-out",
        "leaf.pem",
    ]);
    Command::new("openssl")
        .args(["verify", "-CAfile", "root.pem"])
        .args(arguments)
        .arg("leaf.pem")
        .current_dir(openssl.path(""))
        .output()
        .unwrap()
        .status
        .success()
}

/// Returns our refusal of a request for this usage and this number of days, if we refuse it.
fn refused(
    issuer: &Arc<Issuer>,
    csr: &VerifiedCsr,
    usage: &str,
    days: i64,
) -> Option<RefusalReason> {
    let usages = ["digital signature", usage].map(str::to_owned);
    let wanted = Wanted {
        variables: Variables {
            namespace: Some("shop"),
            name: "web",
        },
        usages: &usages,
        is_ca: false,
        by_annotation: false,
        duration: Some(SignedDuration::from_hours(days * 24)),
    };
    let params = issuer.profile().admit(csr, &wanted).unwrap();
    let serial = Serial::from_random([0x11; 16]);
    match PreparedCertificate::prepare(&params, issuer, soon(issuer), serial) {
        Ok(_) => None,
        Err(PrepareError::Refused(refusal)) => Some(refusal.reason()),
        Err(other) => panic!("{other}"),
    }
}

fn issuer(openssl: &Openssl) -> Arc<Issuer> {
    let chain = IssuerChain::parse(&openssl.read("root.pem"), None).unwrap();
    Arc::new(Issuer::new(chain, Profile::default(), None).unwrap())
}

#[test]
fn openssl_applies_the_purposes_of_a_root_and_so_do_we() {
    let openssl = with_root("365", "extendedKeyUsage=clientAuth");
    let csr = openssl.request("leaf", "/CN=leaf", Some("DNS:a.example"), &[]);
    assert!(accepts(&openssl, &["-purpose", "sslclient"]));
    assert!(!accepts(&openssl, &["-purpose", "sslserver"]));
    let issuer = issuer(&openssl);
    assert_eq!(refused(&issuer, &csr, "client auth", 30), None);
    assert_eq!(
        refused(&issuer, &csr, "server auth", 30),
        Some(RefusalReason::CaEkuConstraint)
    );
}

#[test]
fn openssl_applies_the_dates_of_a_root_and_so_do_we() {
    let openssl = with_root("10", "subjectKeyIdentifier=hash");
    let csr = openssl.request("leaf", "/CN=leaf", Some("DNS:a.example"), &[]);
    let issuer = issuer(&openssl);
    let begin = issuer.chain().issuing().not_before().as_second();
    let in_days = |days: i64| (begin + days * 86_400).to_string();
    assert!(accepts(&openssl, &["-attime", &in_days(9)]));
    assert!(!accepts(&openssl, &["-attime", &in_days(20)]));
    assert_eq!(refused(&issuer, &csr, "server auth", 9), None);
    assert_eq!(
        refused(&issuer, &csr, "server auth", 20),
        Some(RefusalReason::ExceedsCaValidity)
    );
}

#[test]
fn openssl_finds_a_root_whose_name_is_encoded_in_another_way_and_so_do_we() {
    let openssl = Openssl::new();
    openssl.key("ca", KEYS[2].1);
    openssl.key("issuing", KEYS[2].1);
    openssl.authorities("ca", "issuing");
    // The first root has UTF8Strings.
    fs::write(
        openssl.path("other.conf"),
        "[req]\ndistinguished_name=dn\nstring_mask=nombstr\nprompt=no\nx509_extensions=ca\n\
         [dn]\nO=TEST\nCN=ROOT\n[ca]\nbasicConstraints=critical,CA:TRUE\n\
         subjectKeyIdentifier=hash\nkeyUsage=critical,keyCertSign,cRLSign\n",
    )
    .unwrap();
    openssl.run(&[
        "req",
        "-x509",
        "-new",
        "-key",
        "ca.key",
        "-keyform",
        "DER",
        "-config",
        "other.conf",
        "-days",
        "7300",
        "-out",
        "other.pem",
    ]);
    let verdict = openssl.run(&[
        "verify",
        "-x509_strict",
        "-CAfile",
        "other.pem",
        "issuing.pem",
    ]);
    assert_eq!(verdict.trim(), "issuing.pem: OK");
    let other = openssl.read("other.pem");
    let chain = IssuerChain::parse(&openssl.read("issuing.pem"), Some(&other)).unwrap();
    let root = chain.ca_pem(CaField::Root).unwrap();
    assert_eq!(root.trim(), String::from_utf8(other).unwrap().trim());
    assert_ne!(chain.certificates().last().unwrap().subject_der(), {
        let first = IssuerChain::parse(&openssl.read("root.pem"), None).unwrap();
        first.issuing().subject_der().to_vec()
    });
}
