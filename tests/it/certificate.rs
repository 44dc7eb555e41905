//! `pkcs11-issuer certificate show` on certificates of SoftHSM keys and of OpenSSL.

mod verify;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, KeyKind, Provider, Store};

use crate::sign::case::Said;

fn certificate(folder: &Path, words: &[&str]) -> Result<Said> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
    command.env_clear().current_dir(folder).arg("certificate");
    Said::of(command.args(words).stdin(Stdio::null()).output()?)
}

fn parsed(said: &Said) -> Result<Value> {
    serde_json::from_str(&said.stdout).with_context(|| format!("{said:?}"))
}

fn openssl(folder: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(words)
        .output()?;
    ensure!(output.status.success(), "openssl {words:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Makes a root, a leaf with every extension that has a field, and another root, by OpenSSL.
fn made_by_openssl() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    fs::write(
        at.join("leaf.cnf"),
        "basicConstraints = critical, CA:FALSE\n\
         keyUsage = critical, digitalSignature, keyAgreement\n\
         extendedKeyUsage = serverAuth, 1.2.3.4\n\
         subjectAltName = DNS:web.example, IP:192.0.2.1, IP:2001:db8::1, email:a@example.com, URI:https://a.example/x\n\
         crlDistributionPoints = URI:http://crl.example/1.crl\n\
         authorityInfoAccess = OCSP;URI:http://ocsp.example\n\
         certificatePolicies = 2.23.140.1.2.1\n\
         tlsfeature = status_request\n",
    )?;
    for name in ["root", "other"] {
        let (key, subject) = (format!("{name}.key"), format!("/CN={name}"));
        openssl(
            at,
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-384",
                "-nodes",
                "-keyout",
                &key,
                "-subj",
                &subject,
                "-days",
                "30",
                "-out",
                &format!("{name}.pem"),
                "-addext",
                "nameConstraints=permitted;DNS:example,permitted;IP:192.0.2.0/255.255.255.0,permitted;IP:2001:db8::/ffff:ffff::,excluded;DNS:bad.example",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
            ],
        )?;
    }
    openssl(
        at,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "leaf.key",
            "-subj",
            "/O=Shop/CN=web",
            "-out",
            "leaf.csr",
        ],
    )?;
    openssl(
        at,
        &[
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-days",
            "10",
            "-set_serial",
            "0x1234",
            "-extfile",
            "leaf.cnf",
            "-out",
            "leaf.pem",
        ],
    )?;
    Ok(folder)
}

#[test]
fn every_field_of_a_certificate_is_decoded() -> Result<()> {
    let folder = made_by_openssl()?;
    let at = folder.path();
    let text = fs::read_to_string(at.join("leaf.pem"))? + &fs::read_to_string(at.join("root.pem"))?;
    fs::write(at.join("both.pem"), text)?;
    let said = certificate(at, &["show", "--output", "json", "both.pem"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let told = parsed(&said)?;
    let (leaf, root) = (&told["certificates"][0], &told["certificates"][1]);
    let fingerprint = |hash: &str| -> Result<String> {
        let printed = openssl(
            at,
            &["x509", "-in", "leaf.pem", "-noout", "-fingerprint", hash],
        )?;
        let (_, digits) = printed.trim().split_once('=').context("no fingerprint")?;
        Ok(digits.replace(':', "").to_lowercase())
    };
    let mut expected = json!({
        "subject": "O=Shop, CN=web",
        "issuer": "CN=root",
        "serial": "1234",
        "version": 3,
        "signatureAlgorithm": "ecdsa-with-SHA256",
        "selfIssued": false,
        "subjectAlternativeNames": [
            "DNS:web.example", "IP:192.0.2.1", "IP:2001:db8::1", "email:a@example.com",
            "URI:https://a.example/x",
        ],
        "keyUsage": ["digital signature", "key agreement"],
        "extendedKeyUsage": ["server auth", "1.2.3.4"],
        "basicConstraints": {"ca": false, "pathLength": null},
        "nameConstraints": null,
        "crlDistributionPoints": ["URI:http://crl.example/1.crl"],
        "authorityInformation": ["id-ad-ocsp URI:http://ocsp.example"],
        "policies": ["2.23.140.1.2.1"],
        "otherExtensions": [{"oid": "1.3.6.1.5.5.7.1.24", "name": "1.3.6.1.5.5.7.1.24", "value": "3003020105"}],
        "critical": ["id-ce-basicConstraints", "id-ce-keyUsage"],
        "sha256": fingerprint("-sha256")?,
        "sha1": fingerprint("-sha1")?,
    });
    for changing in [
        "notBefore",
        "notAfter",
        "key",
        "subjectKeyIdentifier",
        "authorityKeyIdentifier",
    ] {
        expected[changing] = leaf[changing].clone();
    }
    assert_eq!(*leaf, expected);
    assert_eq!(leaf["key"]["type"], "ECDSA P-256");
    assert_eq!(leaf["key"]["problem"], Value::Null);
    assert_eq!(leaf["authorityKeyIdentifier"], root["subjectKeyIdentifier"]);
    let not_after: jiff::Timestamp = leaf["notAfter"].as_str().context("no end")?.parse()?;
    let not_before: jiff::Timestamp = leaf["notBefore"].as_str().context("no start")?.parse()?;
    assert_eq!((not_after - not_before).get_seconds(), 10 * 24 * 3600);
    assert_eq!(
        root["nameConstraints"],
        json!({
            "permitted": ["DNS:example", "IP:192.0.2.0/24", "IP:2001:db8::/32"],
            "excluded": ["DNS:bad.example"],
        })
    );
    assert_eq!(root["selfIssued"], true);
    let text = certificate(at, &["show", "both.pem"])?.stdout;
    for part in [
        "names:",
        "DNS:web.example",
        "CA:",
        "excluded names:",
        "the same name",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    openssl(
        at,
        &[
            "x509", "-in", "leaf.pem", "-outform", "der", "-out", "leaf.der",
        ],
    )?;
    let der = certificate(at, &["show", "--output", "yaml", "leaf.der"])?;
    let yaml: Value = serde_saphyr::from_str(&der.stdout)?;
    assert_eq!(yaml["certificates"][0], *leaf);
    Ok(())
}

#[test]
fn certificates_on_a_token_are_shown_by_uri_without_a_login() -> Result<()> {
    let store = Store::of(Provider::SoftHsm)?;
    let token = store.make_token("shown")?;
    for (id, name) in [(1, "one"), (2, "two")] {
        let key = token.generate_key(name, &[id], KeyKind::P256)?;
        let made = key.self_signed(&CaProfile::named(name))?;
        token.store_certificates(name, &[id], [made.der().to_vec()])?;
    }
    let programs = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    let show = |uri: &str| -> Result<Said> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
        command
            .env_clear()
            .args(["certificate", "show", "--output", "json", uri]);
        command.arg("--worker").arg(&programs.worker);
        command.arg("--module").arg(store.module());
        for (name, value) in store.env() {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        Said::of(command.stdin(Stdio::null()).output()?)
    };
    let told = parsed(&show("pkcs11:token=shown;object=two;id=%02")?)?;
    let subjects: Vec<_> = told["certificates"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(subjects.len(), 1);
    assert_eq!(subjects[0]["subject"], "CN=two");
    let all = parsed(&show("pkcs11:token=shown")?)?;
    assert_eq!(all["certificates"].as_array().map(Vec::len), Some(2));
    let none = show("pkcs11:token=shown;id=%09")?;
    assert!(
        none.error()?.contains("shows no such certificate"),
        "{none:?}"
    );
    Ok(())
}

#[test]
fn a_file_that_is_no_certificate_is_an_error_that_says_what_to_give() -> Result<()> {
    let folder = made_by_openssl()?;
    fs::write(folder.path().join("junk"), "nothing")?;
    fs::write(folder.path().join("cut.der"), [0x30, 0x03, 1])?;
    for (file, part) in [
        ("gone.pem", "failed to read gone.pem"),
        ("junk", "neither PEM nor DER"),
        ("leaf.key", "must have only CERTIFICATE blocks"),
        ("cut.der", "cannot be decoded"),
    ] {
        let said = certificate(folder.path(), &["show", file])?;
        assert!(said.error()?.contains(part), "{said:?}");
    }
    Ok(())
}
