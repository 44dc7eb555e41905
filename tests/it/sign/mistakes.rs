//! Tests mistakes: each gives one error that names the mistake and what to do, and costs no try of the PIN if it can be
//! found before.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde_json::json;
use softhsm_test_helpers::{CaProfile, KeyKind};

use super::case::{Case, Said};

/// The change that a test makes, the flags that it gives, and parts of the error.
type Row = (
    fn(&mut Case),
    &'static [&'static str],
    &'static [&'static str],
);

const BEFORE_ANY_LOGIN: &[Row] = &[
    (
        |_| (),
        &["--config", "gone.yaml"],
        &["failed to read the configuration gone.yaml", "No such file"],
    ),
    (
        |case| case.configuration["more"] = json!(1),
        &[],
        &["config.yaml:1:", "more"],
    ),
    (
        |case| case.spec()["token"] = json!("other"),
        &[],
        &[
            "names token \"other\", which is not in the configuration",
            "name one of: issuing",
        ],
    ),
    (
        |case| case.spec()["next"] = json!({"certificate": {"pem": "-"}}),
        &[],
        &["has spec.next", "remove spec.next, or move it"],
    ),
    (
        |case| {
            let token = case.token().as_object_mut().unwrap();
            token.remove("pinFile");
            token.insert(
                "pinSecretRef".to_owned(),
                json!({"name": "hsm", "key": "pin"}),
            );
        },
        &[],
        &["takes its PIN from Secret hsm", "--pin-file"],
    ),
    (
        |case| {
            let token = case.token().as_object_mut().unwrap();
            token.remove("pinFile");
            token.insert("pinFrom".to_owned(), json!({"clusterIssuers": true}));
        },
        &[],
        &[
            "takes its PIN from the Secrets of cluster issuers",
            "--pin-file",
        ],
    ),
    (
        |case| case.spec()["pinSecretRef"] = json!({"name": "hsm", "key": "pin"}),
        &[],
        &["takes its PIN from", "remove spec.pinSecretRef"],
    ),
    (
        |_| (),
        &["--issuer", "gone.yaml"],
        &[
            "the issuer gone.yaml cannot be used",
            "failed to read the file",
        ],
    ),
    (
        |case| case.issuer["kind"] = json!("Issuer"),
        &[],
        &["kind \"Issuer\"", "give a PKCS11Issuer"],
    ),
    (
        |case| case.spec()["profil"] = json!({}),
        &[],
        &["spec.profil is unknown", "correct it"],
    ),
    (
        |case| case.spec()["certificate"] = json!({"secretRef": {"name": "tls"}}),
        &[],
        &["from Secret tls", "write the PEM into spec.certificate.pem"],
    ),
    (
        |case| case.spec()["certificate"]["pem"] = json!("none"),
        &[],
        &["cannot sign: the issuing certificate cannot be used"],
    ),
    (
        |case| case.spec()["profile"] = json!({"validity": {"min": "2h", "max": "1h"}}),
        &[],
        &[
            "spec.profile is not valid",
            "validity.max",
            "must not be below min",
        ],
    ),
    (
        |case| case.spec()["profile"] = json!({"usages": {"allowed": ["servers"]}}),
        &[],
        &["spec.profile is not valid", "servers"],
    ),
    (
        |case| case.spec()["key"] = json!({"idHex": "a"}),
        &[],
        &[
            "spec.key cannot be used",
            "two hexadecimal digits per octet",
        ],
    ),
    (
        |case| {
            let certificate = case.spec()["certificate"].as_object_mut().unwrap();
            certificate.remove("rootPem");
        },
        &[],
        &["spec.ca is Root and no root certificate is given"],
    ),
    (
        |case| {
            case.spec()["profile"] = json!({"sans": {"allowed": {"dns": ["{{namespace}}.svc"]}}});
        },
        &[],
        &["uses {{namespace}}", "give --namespace"],
    ),
    (
        |_| (),
        &["--namespace", "*"],
        &["\"*\" cannot be the namespace of a request"],
    ),
    (
        |_| (),
        &["--csr", "gone.csr"],
        &["failed to read the CSR gone.csr", "openssl req -new"],
    ),
    (
        |case| {
            case.write("empty.csr", "").unwrap();
        },
        &["--csr", "empty.csr"],
        &["the CSR empty.csr is empty"],
    ),
    (
        |_| (),
        &["--out", "gone/web.pem"],
        &[
            "nothing was signed, because gone/web.pem cannot be written",
            "--out",
        ],
    ),
    (|_| (), &["--out", "."], &["is not a file", "--out"]),
    (
        |_| (),
        &["--worker", "gone"],
        &["no HSM worker program at gone", "give --worker"],
    ),
    (
        |case| std::fs::remove_file(case.path("pin")).unwrap(),
        &[],
        &["failed to read the PIN file", "/pin", "correct the PIN in"],
    ),
    (
        |case| case.write_pin("").unwrap(),
        &[],
        &["has 0 octets; it must have 1 to 255"],
    ),
    (
        |case| case.token()["pinRecord"] = json!("/proc/none/record.json"),
        &[],
        &[
            "/proc/none/record.json.lock",
            "name another file as pinRecord",
        ],
    ),
    (
        |case| {
            case.write("pkcs11-issuer-pin-record.json", "{}").unwrap();
        },
        &[],
        &[
            "pkcs11-issuer-pin-record.json is not readable",
            "mend the file or remove it",
        ],
    ),
    (
        |case| case.token()["label"] = json!("other"),
        &[],
        &["token \"issuing\" was not found", "correct its label"],
    ),
    (
        |case| case.configuration["modules"]["softhsm"]["path"] = json!("/gone.so"),
        &[],
        &["token \"issuing\" cannot be used", "/gone.so", "correct"],
    ),
    (|_| (), &["--output", "yaml"], &["invalid value 'yaml'"]),
    (|_| (), &["--what"], &["unexpected argument '--what'"]),
];

#[test]
fn a_mistake_that_is_found_before_the_login_costs_no_login() -> Result<()> {
    for (change, more, expected) in BEFORE_ANY_LOGIN {
        let mut case = Case::new()?;
        change(&mut case);
        let said = case.sign(more)?;
        let error = said.error()?;
        for part in *expected {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        assert_eq!(case.logins()?, 0, "{error}");
        assert_eq!(said.events()?, [""; 0], "{error}");
        assert_eq!(case.names("web.pem")?, [""; 0]);
    }
    Ok(())
}

#[test]
fn a_certificate_of_another_key_is_reported_with_the_key_that_was_found() -> Result<()> {
    let mut case = Case::new()?;
    case.spec()["certificate"] = json!({"pem": case.authority.root().pem()});
    let said = case.sign(&[])?;
    let error = said.error()?;
    assert!(
        error.contains("these have another public key: \"issuing-ca\""),
        "{error}"
    );
    assert!(
        error.contains("give the certificate of that key"),
        "{error}"
    );
    assert_eq!(said.events()?, [""; 0]);
    Ok(())
}

#[test]
fn an_issuer_whose_token_signs_with_another_key_is_never_used() -> Result<()> {
    let case = Case::new()?;
    case.library.rules("C_SignInit wrong_key=root-ca")?;
    let said = case.sign(&["--out", "web.pem"])?;
    let error = said.error()?;
    assert!(error.contains("the probe signature failed"), "{error}");
    assert!(
        error.contains("configure the right key or the right certificate"),
        "{error}"
    );
    assert_eq!(said.events()?, [""; 0]);
    assert_eq!(case.names("web.pem")?, [""; 0]);
    Ok(())
}

#[test]
fn an_expired_certificate_cannot_issue() -> Result<()> {
    let mut case = Case::new()?;
    let key = case
        .authority
        .token()
        .generate_key("old", &[9], KeyKind::P256)?;
    let old = case
        .authority
        .root()
        .issue(&key, &CaProfile::named("Old").expired())?;
    case.spec()["certificate"]["pem"] = json!(old.pem());
    case.spec()["key"] = json!({"label": "old"});
    let said = case.sign(&[])?;
    let error = said.error()?;
    assert!(error.contains("expired"), "{error}");
    assert_eq!(case.logins()?, 0);
    Ok(())
}

#[test]
fn a_signature_that_does_not_verify_is_recorded_and_not_released() -> Result<()> {
    let case = Case::new()?;
    // The first signature is the probe's.
    case.library.rules("C_Sign corrupt skip=1")?;
    let said = case.sign(&[])?;
    let error = said.error()?;
    assert!(error.contains("the signature is wrong"), "{error}");
    assert_eq!(said.events()?, ["signing", "discarded"]);
    assert_eq!(said.issuance_log()?[1]["reason"], "signature-wrong");
    Ok(())
}

#[test]
fn a_chain_that_cannot_be_written_is_recorded_as_discarded() -> Result<()> {
    let case = Case::new()?;
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .context("open /dev/full")?;
    let mut command = case.command(&[])?;
    let said = Said::of(
        command
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()?
            .wait_with_output()?,
    )?;
    let error = said.error()?;
    assert!(
        error.contains("was signed and is lost; sign again"),
        "{error}"
    );
    assert_eq!(said.events()?, ["signing", "signed", "discarded"]);
    Ok(())
}
