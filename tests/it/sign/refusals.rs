//! Tests refusals: a run prints the slug and makes no signature.

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use softhsm_test_helpers::Function;

use super::case::Case;

#[test]
fn a_refusal_prints_its_slug_on_stdout_and_exits_with_code_three() -> Result<()> {
    let mut case = Case::new()?;
    case.spec()["profile"] =
        json!({"sans": {"allowed": {"dns": ["*.{{namespace}}.example", "web.example"]}}});
    case.write("other.csr", rig::csr_for("a.bank.example")?)?;
    case.write("text.csr", "no PEM")?;
    case.write("large.csr", vec![b'a'; 2 << 20])?;
    let table: [(&[&str], &str); 9] = [
        (&["--is-ca"], "ca-not-allowed"),
        (
            &["--usages", "server auth,code signing"],
            "usage-not-allowed",
        ),
        (&["--duration", "17520h"], "duration-too-long"),
        (&["--duration", "-1h"], "duration-invalid"),
        (&["--duration", "a day"], "duration-invalid"),
        (&["--csr", "other.csr"], "san-not-allowed"),
        (&["--csr", "text.csr"], "bad-pem"),
        (&["--csr", "large.csr"], "too-large"),
        (&["--out", "web.pem", "--is-ca"], "ca-not-allowed"),
    ];
    for (more, slug) in table {
        let more = [more, &["--namespace", "shop"]].concat();
        let said = case.sign(&more)?;
        assert_eq!(said.code, Some(3), "{more:?} {said:?}");
        assert_eq!(said.stdout.split(' ').next(), Some(slug), "{said:?}");
        assert_eq!(said.stdout.lines().count(), 1, "{said:?}");
        assert_eq!(said.events()?, ["refused"]);
        assert_eq!(said.issuance_log()?[0]["reason"], slug);
    }
    assert_eq!(case.names("web.pem")?, [""; 0]);
    // Only the probe of each run.
    assert_eq!(case.library.calls(Function::C_Sign)?, 9);
    // The same CSR in the namespace that the name belongs to.
    case.sign(&["--csr", "other.csr", "--namespace", "bank"])?
        .chain()?;
    Ok(())
}

#[test]
fn a_refusal_as_json_has_its_reason_and_message() -> Result<()> {
    let case = Case::new()?;
    let said = case.sign(&["--is-ca", "--output", "json"])?;
    assert_eq!(said.code, Some(3), "{said:?}");
    let object: Value = serde_json::from_str(&said.stdout)?;
    assert_eq!(
        object,
        json!({
            "outcome": "refused",
            "reason": "ca-not-allowed",
            "message": "isCA is true, but this issuer gives leaf certificates only",
        })
    );
    Ok(())
}

#[test]
fn an_explanation_shows_every_decision_and_signs_nothing() -> Result<()> {
    let case = Case::new()?;
    let said = case.sign(&["--explain"])?;
    assert!(said.chain()?.starts_with("admitted: "), "{said:?}");
    let refused = case.sign(&["--explain", "--is-ca", "--duration", "1s"])?;
    assert!(refused.stdout.starts_with("ca-not-allowed "), "{refused:?}");
    for (said, line) in [
        (&said, "profile admits   keys: ECDSA P-256 key"),
        (&said, "profile admits   sans: DNS name \"web.example\""),
        (
            &said,
            "profile admits   validity: 2160h, the profile's default",
        ),
        (&refused, "profile refuses  ca: ca-not-allowed isCA is true"),
        (&refused, "profile refuses  validity: duration-invalid "),
    ] {
        assert!(said.stderr.contains(line), "{line}\n{}", said.stderr);
    }
    let said = case.sign(&["--explain", "--is-ca", "--output", "json"])?;
    let object: Value = serde_json::from_str(&said.stdout)?;
    let decisions = object["decisions"].as_array().unwrap();
    assert_eq!(decisions[0]["rule"], "keys");
    assert_eq!(decisions[0]["admitted"], true);
    assert_eq!(decisions[1]["rule"], "ca");
    assert_eq!(decisions[1]["reason"], "ca-not-allowed");
    assert!(!said.stderr.contains("profile refuses"), "{said:?}");
    Ok(())
}

#[test]
fn a_dry_run_has_the_outcome_of_a_run_and_neither_signature_nor_file_nor_log() -> Result<()> {
    let case = Case::new()?;
    // The probe is the only signature.
    for more in [
        &["--dry-run"][..],
        &["--explain"],
        &["--dry-run", "--out", "web.pem"],
    ] {
        let before = case.library.calls(Function::C_Sign)?;
        let said = case.sign(more)?;
        assert!(said.chain()?.starts_with("admitted: "), "{said:?}");
        assert_eq!(
            case.library.calls(Function::C_Sign)? - before,
            1,
            "{more:?}"
        );
        assert_eq!(said.issuance_log()?, [Value::Null; 0], "{more:?}");
        assert_eq!(case.names("web.pem")?, [""; 0], "{more:?}");
    }
    let said = case.sign(&["--dry-run", "--output", "json"])?;
    let object: Value = serde_json::from_str(said.chain()?)?;
    let fields: Vec<_> = object.as_object().unwrap().keys().collect();
    assert_eq!(object["outcome"], "admitted");
    assert_eq!(fields, ["notAfter", "notBefore", "outcome"]);
    let refused = case.sign(&["--dry-run", "--is-ca"])?;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stdout.starts_with("ca-not-allowed "), "{refused:?}");
    assert_eq!(refused.issuance_log()?, [Value::Null; 0]);
    Ok(())
}

#[test]
fn a_run_without_a_grant_reads_neither_certificate_nor_token() -> Result<()> {
    let mut case = Case::new()?;
    case.issuer["kind"] = json!("PKCS11Issuer");
    case.issuer["metadata"]["namespace"] = json!("shop");
    case.spec()["certificate"] = json!({"pem": "no certificate"});
    let said = case.sign(&[])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    let told = "PKCS11Issuer shop/issuing cannot sign: the operator's configuration has no grant for issuers in namespace shop on token \"issuing\"";
    assert!(said.stderr.contains(told), "{said:?}");
    assert_eq!(case.library.calls(Function::C_Initialize)?, 0);
    Ok(())
}

#[test]
fn output_about_a_hostile_request_is_short_and_printable() -> Result<()> {
    let case = Case::new()?;
    let name = "\u{1b}[2J\u{7f}".repeat(9_000);
    let params = CertificateParams::new(vec![name])?;
    let csr = params.serialize_request(&KeyPair::generate()?)?;
    case.write("hostile.csr", csr.pem()?)?;
    for format in ["text", "json"] {
        let said = case.sign(&["--csr", "hostile.csr", "--explain", "--output", format])?;
        assert_eq!(said.code, Some(3), "{said:?}");
        for text in [&said.stdout, &said.stderr] {
            assert!(text.len() < 16 * 1024, "{}", text.len());
            assert!(
                text.chars().all(|c| c == '\n' || !c.is_control()),
                "{text:?}"
            );
        }
    }
    Ok(())
}
