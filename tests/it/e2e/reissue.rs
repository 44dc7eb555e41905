//! Certificates of a former key are renewed through cert-manager.

use std::cell::Cell;

use anyhow::{Result, ensure};
use control_plane::until;
use futures::future::try_join_all;
use rig::{IssuerName, PATIENCE};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, KeyKind};

use super::{
    NAMESPACE, domain,
    issued::Issued,
    objects::{CERTIFICATE, Objects},
    stage::stage,
};

#[tokio::test]
async fn certificates_of_a_former_key_are_renewed_and_the_others_are_not() -> Result<()> {
    let rule = "certificates_of_a_former_key_are_renewed_and_the_others_are_not";
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let issuer = IssuerName::cluster("reissues");
    let mut spec = stage.authority().issuer_spec();
    // One of the Certificates asks for more than the profile will allow.
    spec["profile"] = json!({"validity": {"max": "96h", "default": "48h"}});
    stage.cluster().apply_issuer(&issuer, &spec).await?;
    stage.cluster().issuer_is_ready(&issuer).await?;
    let certificates = ["reissued-1", "reissued-2", "reissued-3", "reissued-stuck"];
    let durations = ["24h", "48h", "72h", "96h"];
    try_join_all(
        certificates
            .iter()
            .zip(durations)
            .map(async |(name, duration)| {
                let spec =
                    json!({"dnsNames": [domain(rule)], "duration": duration, "renewBefore": "1h"});
                objects.create_certificate(name, &issuer, spec).await?;
                Issued::wait(&objects, name).await
            }),
    )
    .await?;

    let token = stage.authority().token();
    let key = token.generate_key("reissuing", &[0x51], KeyKind::P256)?;
    let new = stage
        .authority()
        .root()
        .issue(&key, &CaProfile::named("Reissuing"))?;
    spec["key"] = json!({"label": "reissuing"});
    spec["certificate"]["pem"] = json!(new.pem());
    spec["profile"]["validity"]["max"] = json!("72h");
    spec["reissue"] = json!({"perSecond": 5});
    stage.cluster().apply_issuer(&issuer, &spec).await?;
    for name in &certificates[..3] {
        let api = objects.of(CERTIFICATE, NAMESPACE);
        let renewed = objects.until(&api, name, |certificate| {
            certificate.data["status"]["revision"] == 2
        });
        renewed.await?;
        let issued = Issued::wait(&objects, name).await?;
        let chain = String::from_utf8(issued.data("tls.crt")?)?;
        ensure!(chain.contains(&new.pem()), "{name}: {chain}");
    }
    // The progress is written with the next look.
    let looks = Cell::new(0);
    let status = until("the re-issue to be done", PATIENCE, async || {
        looks.set(looks.get() + 1);
        let look = format!("pkcs11-issuer.dev/look={}", looks.get());
        let annotate = [
            "annotate",
            "--overwrite",
            "pkcs11clusterissuer",
            "reissues",
            &look,
        ];
        stage.plane().kubectl(&annotate).await?;
        let status = stage.cluster().issuer_status(&issuer).await?;
        Ok((status.json()["reissue"]["state"] == "Done").then_some(status))
    })
    .await?;
    let expected: Value = json!({
        "state": "Done", "total": 4, "left": 0, "inProgress": 0, "stuck": 1,
    });
    assert_eq!(status.json()["reissue"], expected);
    let left = objects
        .of(CERTIFICATE, NAMESPACE)
        .get("reissued-stuck")
        .await?;
    assert_eq!(left.data["status"]["revision"], 1);
    Ok(())
}
