//! Requests that are refused, each for a reason of its own.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rig::{csr_for, request_spec};
use serde_json::{Value, json};

use super::Stage;
use crate::controller::issuer;

/// The slug of a refusal, and how the specification of a good request gets that fault.
type Refused = (&'static str, fn(&mut Value) -> Result<()>);

impl Stage {
    /// Makes a request for each of the reasons.
    pub(super) async fn have_requests_refused(&self) -> Result<()> {
        for (slug, change) in REFUSED {
            let name = format!("refused-{slug}");
            let mut spec = request_spec(&issuer(), &csr_for("web.example")?);
            change(&mut spec)?;
            self.requests.create_approved(&name, spec).await?;
            let status = self.requests.reaches(&name, "Failed").await?;
            let said = status.ready().context("no condition")?.message;
            ensure!(said.starts_with(&format!("{slug}: ")), "{said}");
        }
        Ok(())
    }
}

const REFUSED: &[Refused] = &[
    ("ca-not-allowed", |spec| {
        spec["isCA"] = json!(true);
        Ok(())
    }),
    ("bad-pem", |spec| {
        let text = request(spec)? + "and more\n";
        set_request(spec, &text);
        Ok(())
    }),
    ("multiple-pem-blocks", |spec| {
        let text = request(spec)?.repeat(2);
        set_request(spec, &text);
        Ok(())
    }),
    ("usage-not-allowed", |spec| {
        spec["usages"] = json!(["digital signature", "code signing"]);
        Ok(())
    }),
    ("duration-too-long", |spec| {
        spec["duration"] = json!("10000h");
        Ok(())
    }),
    ("bad-san", |spec| {
        ask_for(spec, vec!["a_b.example".to_owned()])
    }),
    ("no-identity", |spec| ask_for(spec, Vec::new())),
    ("too-many-sans", |spec| {
        let names = (0..101).map(|number| format!("web-{number}.example"));
        ask_for(spec, names.collect())
    }),
];

fn request(spec: &Value) -> Result<String> {
    let text = spec["request"].as_str().context("no request")?;
    Ok(String::from_utf8(STANDARD.decode(text)?)?)
}

fn set_request(spec: &mut Value, text: &str) {
    spec["request"] = json!(STANDARD.encode(text));
}

fn ask_for(spec: &mut Value, names: Vec<String>) -> Result<()> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    let text = params.serialize_request(&KeyPair::generate()?)?.pem()?;
    set_request(spec, &text);
    Ok(())
}
