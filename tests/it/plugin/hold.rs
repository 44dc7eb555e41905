//! A hold of the plugin's `revoke`, with a date, and its end.

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::{IssuerName, PATIENCE, csr_for, request_spec};
use serde_json::{Value, json};

use super::{SHOP, run, stage::stage};

/// Returns stderr of a command that fails.
fn error(kubeconfig: &std::path::Path, words: &[&str]) -> Result<String> {
    let output = run(kubeconfig, words)?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    Ok(String::from_utf8(output.stderr)?)
}

#[tokio::test]
async fn a_hold_has_its_date_and_is_taken_back_by_its_name_after_a_dry_run() -> Result<()> {
    let stage = stage().await?;
    let admin = stage.admin();
    let requests = stage.cluster.requests(SHOP).await?;
    let revoking = IssuerName::cluster("revoking");
    let spec = request_spec(&revoking, &csr_for("held.shop.example")?);
    requests.create_approved("held", spec).await?;
    requests.reaches("held", "Issued").await?;
    let words = ["revoke", "held", "-n", SHOP, "--reason", "CertificateHold"];
    let dated = |date: &'static str| [&words[..], &["--invalidity-date", date, "--yes"]].concat();
    let said = error(&admin, &dated("2999-01-01T00:00:00Z"))?;
    assert!(said.contains("is in the future"), "{said}");
    let (code, made) = super::json(&admin, &dated("2026-01-31T12:00:00Z"))?;
    assert_eq!(code, Some(0), "{made:#}");
    let spec = &made["object"]["spec"];
    assert_eq!(spec["invalidityDate"], "2026-01-31T12:00:00Z");
    let name = made["object"]["metadata"]["name"]
        .as_str()
        .context("no name")?;
    let accepted = async |reason: &str| {
        let get = [
            "get",
            "certificaterevocation",
            name,
            "-n",
            SHOP,
            "-o",
            "json",
        ];
        until(reason, PATIENCE, async || {
            let object: Value = serde_json::from_str(&stage.cluster.plane().kubectl(&get).await?)?;
            let conditions = object["status"]["conditions"].as_array().cloned();
            let conditions = conditions.unwrap_or_default();
            let it = json!({"type": "Accepted", "reason": reason});
            let is_it = |one: &&Value| ["type", "reason"].iter().all(|key| one[key] == it[key]);
            Ok(conditions.iter().find(is_it).cloned())
        })
        .await
    };
    accepted("Revoked").await?;
    let release = ["revoke", "--release", name, "-n", SHOP];
    let said = error(&admin, &release)?;
    assert!(said.contains("give --yes"), "{said}");
    let nobody = stage.cluster.plane().user("requester", None)?;
    let said = error(&nobody, &[&release[..], &["--yes"]].concat())?;
    assert!(said.contains("you may not get"), "{said}");
    let (code, tried) = super::json(&admin, &[&release[..], &["--dry-run"]].concat())?;
    assert_eq!((code, &tried["dryRun"]), (Some(0), &json!(true)));
    accepted("Revoked").await?;
    let (code, done) = super::json(&admin, &[&release[..], &["--yes"]].concat())?;
    assert_eq!(code, Some(0), "{done:#}");
    assert_eq!(done["object"]["spec"]["release"], true);
    let releases = done["releases"].as_str().context("no words")?;
    assert!(
        releases.contains("PKCS11ClusterIssuer revoking"),
        "{releases}"
    );
    accepted("Released").await?;
    let said = error(&admin, &[&release[..], &["--yes"]].concat())?;
    assert!(said.contains("was taken back before"), "{said}");
    Ok(())
}
