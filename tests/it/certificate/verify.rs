//! `pkcs11-issuer certificate verify` on certificates of OpenSSL and of `sign`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{certificate, made_by_openssl, openssl, parsed};
use crate::sign::case::Case;

/// Verifies, and returns the verdict with the exit code.
fn verdict(folder: &Path, words: &[&str]) -> Result<(Option<i32>, Value)> {
    let said = certificate(folder, &[&["verify", "--output", "json"], words].concat())?;
    Ok((said.code, parsed(&said)?))
}

#[test]
fn a_certificate_verifies_under_its_root_for_its_purpose_name_and_time_only() -> Result<()> {
    let folder = made_by_openssl()?;
    let at = folder.path();
    let leaf = ["--root", "root.pem", "leaf.pem"];
    let (code, told) = verdict(at, &leaf)?;
    let expected = json!({
        "verified": true, "reason": null, "at": told["at"], "path": ["O=Shop, CN=web", "CN=root"],
    });
    assert_eq!((code, &told), (Some(0), &expected));
    for yes in [
        &["--purpose", "server"][..],
        &["--name", "web.example"],
        &["--name", "192.0.2.1"],
        &["--root", "other.pem"],
    ] {
        let (code, told) = verdict(at, &[&leaf[..], yes].concat())?;
        assert_eq!(
            (code, &told["verified"]),
            (Some(0), &json!(true)),
            "{yes:?}: {told}"
        );
    }
    let no: [(&[&str], &str); 4] = [
        (&["--purpose", "client"], "extendedKeyUsage"),
        (&["--name", "bad.example"], "not for the name"),
        (&["--at", "2040-01-01T00:00:00Z"], "ended at 20"),
        (&["--at", "2001-01-01T00:00:00Z"], "begins at 20"),
    ];
    for (flags, reason) in no {
        let (code, told) = verdict(at, &[&leaf[..], flags].concat())?;
        assert_eq!(
            (code, &told["verified"]),
            (Some(3), &json!(false)),
            "{flags:?}: {told}"
        );
        let said = told["reason"].as_str().context("no reason")?;
        assert!(said.contains(reason), "{told}");
        assert_eq!(told["path"], json!([]));
    }
    let (code, told) = verdict(at, &["--root", "other.pem", "leaf.pem"])?;
    assert_eq!(code, Some(3), "{told}");
    let text = certificate(at, &["verify", "--root", "other.pem", "leaf.pem"])?;
    assert!(text.stdout.starts_with("not verified: "), "{text:?}");
    let text = certificate(at, &["verify", "--root", "root.pem", "leaf.pem"])?;
    assert_eq!(text.stdout, "verified: O=Shop, CN=web <- CN=root\n");
    Ok(())
}

/// Writes a CRL of the root that lists these serial numbers.
fn crl(folder: &Path, name: &str, revoked: &[&str]) -> Result<()> {
    let index: String = revoked
        .iter()
        .map(|serial| format!("R\t400101000000Z\t260101000000Z\t{serial}\tunknown\t/CN=web\n"))
        .collect();
    fs::write(folder.join("index.txt"), index)?;
    fs::write(folder.join("number"), "01\n")?;
    fs::write(
        folder.join("ca.cnf"),
        "[ca]\ndefault_ca = it\n[it]\ndatabase = index.txt\ncrlnumber = number\ndefault_md = sha256\ndefault_crl_days = 30\ncrl_extensions = ext\n[ext]\nauthorityKeyIdentifier = keyid\n",
    )?;
    openssl(
        folder,
        &[
            "ca", "-config", "ca.cnf", "-gencrl", "-cert", "root.pem", "-keyfile", "root.key",
            "-out", name,
        ],
    )?;
    Ok(())
}

#[test]
fn a_certificate_that_a_crl_lists_does_not_verify_nor_one_that_no_crl_covers() -> Result<()> {
    let folder = made_by_openssl()?;
    let at = folder.path();
    crl(at, "empty.crl", &[])?;
    crl(at, "revoked.crl", &["1234"])?;
    let with = |name: &str, more: &[&str]| {
        verdict(
            at,
            &[&["--root", "root.pem", "--crl", name, "leaf.pem"][..], more].concat(),
        )
    };
    let (code, told) = with("empty.crl", &[])?;
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = with("revoked.crl", &[])?;
    assert_eq!(
        (code, &told["reason"]),
        (Some(3), &json!("a CRL lists it, or a certificate above it"))
    );
    // The CRLs of a large CA have many megabytes.
    let text = "# a line of text before the CRL\n".repeat(160 * 1024);
    fs::write(
        at.join("long.crl"),
        text + &fs::read_to_string(at.join("revoked.crl"))?,
    )?;
    let (_, long) = with("long.crl", &[])?;
    assert_eq!(long["reason"], told["reason"]);
    openssl(
        at,
        &[
            "req",
            "-x509",
            "-newkey",
            "ed25519",
            "-nodes",
            "-keyout",
            "third.key",
            "-subj",
            "/CN=third",
            "-days",
            "30",
            "-out",
            "third.pem",
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
            "third.pem",
            "-CAkey",
            "third.key",
            "-days",
            "10",
            "-extfile",
            "leaf.cnf",
            "-out",
            "uncovered.pem",
        ],
    )?;
    let (code, told) = verdict(
        at,
        &["--root", "third.pem", "--crl", "empty.crl", "uncovered.pem"],
    )?;
    assert_eq!(
        (code, &told["reason"]),
        (Some(3), &json!("no CRL covers it"))
    );
    Ok(())
}

#[test]
fn what_sign_writes_verifies_and_so_does_the_certificate_of_its_issuer() -> Result<()> {
    let case = Case::new()?;
    let chain = case.sign(&[])?.chain()?.to_owned();
    case.write("web.pem", chain)?;
    case.write("root.pem", case.authority.root().pem())?;
    case.write("ca.pem", case.authority.issuing().pem())?;
    let (code, told) = verdict(
        case.folder(),
        &["--root", "root.pem", "--name", "web.example", "web.pem"],
    )?;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told["path"].as_array().map(Vec::len), Some(3), "{told}");
    let (code, told) = verdict(case.folder(), &["--root", "root.pem", "ca.pem"])?;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told["path"].as_array().map(Vec::len), Some(2), "{told}");
    let late = [
        "--root",
        "root.pem",
        "--at",
        "2090-01-01T00:00:00Z",
        "ca.pem",
    ];
    let (code, told) = verdict(case.folder(), &late)?;
    assert_eq!(code, Some(3), "{told}");
    let named = certificate(
        case.folder(),
        &[
            "verify",
            "--root",
            "root.pem",
            "--name",
            "a.example",
            "ca.pem",
        ],
    )?;
    assert!(named.error()?.contains("have no meaning here"), "{named:?}");
    Ok(())
}
