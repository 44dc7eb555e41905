//! Tests what a run that signs writes, and where.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use control_plane::until;
use rig::PATIENCE;
use serde_json::{Value, json};

use super::case::{Case, Said};
use crate::controller::openssl_verifies;

#[test]
fn stdout_has_only_the_chain_and_openssl_accepts_it() -> Result<()> {
    let case = Case::new()?;
    let said = case.sign(&[
        "--usages",
        "digital signature,server auth",
        "--duration",
        "24h",
    ])?;
    let chain = said.chain()?;
    openssl_verifies(chain, &case.authority.root().pem())?;
    assert_eq!(chain.matches("-----BEGIN CERTIFICATE-----").count(), 2);
    assert!(chain.starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(chain.ends_with("-----END CERTIFICATE-----\n"));
    assert_eq!(case.logins()?, 1);
    for line in [
        "starting the HSM worker of token \"issuing\"",
        "logged in to token \"issuing\"",
        "PKCS11ClusterIssuer issuing can sign",
    ] {
        assert!(said.stderr.contains(line), "{line}\n{}", said.stderr);
    }
    Ok(())
}

#[test]
fn every_step_of_a_certificate_is_in_the_issuance_log_under_one_uid() -> Result<()> {
    let case = Case::new()?;
    let said = case.sign(&["--namespace", "shop", "--name", "web"])?;
    said.chain()?;
    assert_eq!(said.events()?, ["signing", "signed", "published"]);
    let log = said.issuance_log()?;
    for line in &log {
        assert_eq!(line["request"]["kind"], "File");
        assert_eq!(line["request"]["namespace"], "shop");
        assert_eq!(line["request"]["name"], "web");
        assert_eq!(line["request"]["uid"], log[0]["request"]["uid"]);
        assert_eq!(line["issuer"]["name"], "issuing");
        assert!(
            line["requester"]["username"]
                .as_str()
                .is_some_and(|user| user.starts_with("uid="))
        );
    }
    let again = case.sign(&[])?.issuance_log()?;
    assert_ne!(again[0]["request"]["uid"], log[0]["request"]["uid"]);
    Ok(())
}

#[test]
fn audit_verify_tells_the_log_of_a_run_from_one_that_was_changed() -> Result<()> {
    let case = Case::new()?;
    let said = case.sign(&["--namespace", "shop", "--name", "web"])?;
    let verify = |log: &str| -> Result<(Option<i32>, String)> {
        let file = case.write("issuance.log", log)?;
        let verify = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
            .args(["audit", "verify"])
            .arg(file)
            .output()?;
        Ok((verify.status.code(), String::from_utf8(verify.stdout)?))
    };
    let (code, told) = verify(&said.stderr)?;
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("0 lines are proven; 5 more agree with checkpoints"),
        "{told}"
    );
    assert!(told.ends_with("no fault was found\n"), "{told}");

    let (code, told) = verify(&said.stderr.replace("\"web\"", "\"wed\""))?;
    assert_eq!(code, Some(3), "{told}");
    assert!(
        told.contains("one of the lines 0 to 4 of the log"),
        "{told}"
    );
    assert!(told.ends_with("1 fault was found\n"), "{told}");

    let (code, told) = verify("no log")?;
    assert_eq!((code, told.as_str()), (Some(1), ""));
    Ok(())
}

#[test]
fn json_output_has_the_chain_the_root_and_the_other_documented_fields() -> Result<()> {
    let case = Case::new()?;
    let said = case.sign(&["--output", "json", "--out", "web.pem", "--duration", "48h"])?;
    let object: Value = serde_json::from_str(said.chain()?)?;
    assert_eq!(object["outcome"], "signed");
    let chain = object["certificate"].as_str().context("certificate")?;
    assert_eq!(object["ca"], case.authority.root().pem().as_str());
    openssl_verifies(chain, object["ca"].as_str().context("ca")?)?;
    assert_eq!(fs::read_to_string(case.path("web.pem"))?, chain);
    let log = said.issuance_log()?;
    assert_eq!(object["serial"], log[0]["serial"]);
    assert_eq!(object["tbsSha256"], log[0]["tbsSha256"]);
    assert_eq!(object["notAfter"], log[0]["notAfter"]);
    assert!(object["notBefore"].is_string());
    assert_eq!(object["decisions"], Value::Null);
    Ok(())
}

#[test]
fn the_output_file_is_replaced_atomically_and_only_by_a_certificate() -> Result<()> {
    let case = Case::new()?;
    case.write("web.pem", "old")?;
    let refused = case.sign(&["--out", "web.pem", "--is-ca"])?;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert_eq!(fs::read_to_string(case.path("web.pem"))?, "old");
    case.library.rules("C_Sign rv=CKR_DEVICE_ERROR")?;
    let failed = case.sign(&["--out", "web.pem"])?;
    assert!(
        failed
            .error()?
            .ends_with("see to the token, then try again")
    );
    assert_eq!(fs::read_to_string(case.path("web.pem"))?, "old");
    case.library.rules("")?;
    let signed = case.sign(&["--out", "web.pem"])?;
    assert_eq!(signed.chain()?, "");
    let chain = fs::read_to_string(case.path("web.pem"))?;
    openssl_verifies(&chain, &case.authority.root().pem())?;
    assert_eq!(case.names("web.pem")?, ["web.pem"]);
    Ok(())
}

#[test]
fn a_csr_may_come_from_stdin() -> Result<()> {
    let case = Case::new()?;
    let mut command = case.command(&["--csr", "-"])?;
    let csr = fs::File::open(case.path("web.csr"))?;
    let said = Said::of(command.stdin(Stdio::from(csr)).output()?)?;
    openssl_verifies(said.chain()?, &case.authority.root().pem())
}

#[test]
fn a_tenant_signs_with_what_the_configuration_grants_it_and_within_its_limits() -> Result<()> {
    let mut case = Case::new()?;
    case.issuer["kind"] = json!("PKCS11Issuer");
    case.issuer["metadata"] = json!({"name": "issuing", "namespace": "shop"});
    let ungranted = case.sign(&[])?;
    let error = ungranted.error()?;
    assert!(
        error.contains("has no grant for issuers in namespace shop"),
        "{error}"
    );
    assert!(error.contains("ask the operator"), "{error}");
    let grant = json!([{"namespaces": ["shop"], "keys": ["*"], "limits": {"names": {"dns": ["*.shop.example"]}}}]);
    case.token()["grants"] = grant;
    let refused = case.sign(&[])?;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(
        refused.stdout.starts_with("san-not-allowed "),
        "{refused:?}"
    );
    case.write("web.csr", rig::csr_for("a.shop.example")?)?;
    let said = case.sign(&[])?;
    said.chain()?;
    assert_eq!(said.issuance_log()?[0]["request"]["namespace"], "shop");
    Ok(())
}

/// A process that ends with the test.
struct Sidecar(Child);

impl Drop for Sidecar {
    fn drop(&mut self) {
        // The process may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_token_behind_a_sidecar_signs_without_a_worker_of_ours() -> Result<()> {
    let mut case = Case::new()?;
    let worker = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?.worker;
    let socket = case.path("worker.sock");
    let listener = Command::new(worker)
        .args([
            Path::new("listen"),
            Path::new("--module"),
            case.library.module(),
        ])
        .args([Path::new("--socket"), &socket])
        .env_clear()
        .envs(case.library.env())
        .stdin(Stdio::null())
        .spawn()?;
    let _sidecar = Sidecar(listener);
    until("the sidecar to listen", PATIENCE, async || {
        Ok(socket.exists().then_some(()))
    })
    .await?;
    case.configuration["modules"]["softhsm"] = json!({"socket": socket});
    let said = case.sign(&["--worker", "gone"])?;
    openssl_verifies(said.chain()?, &case.authority.root().pem())?;
    assert_eq!(case.logins()?, 1);
    Ok(())
}

#[test]
fn help_shows_an_example_and_the_exit_codes() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .args(["sign", "--help"])
        .output()?;
    let said = Said::of(output)?;
    for text in [
        "--explain",
        "Exit codes: 0 signed, 3 refused",
        "pkcs11-issuer sign --config",
    ] {
        assert!(said.chain()?.contains(text), "{text}");
    }
    Ok(())
}
