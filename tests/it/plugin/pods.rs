//! The plugin explains the requests of the kubelet for pods.

use anyhow::Result;
use control_plane::until;
use rig::{IssuerName, PATIENCE};
use serde_json::{Value, json};

use super::{SHOP, stage::stage};
use crate::controller::pods::request;

#[tokio::test]
async fn explain_names_the_step_of_a_pods_request() -> Result<()> {
    let stage = stage().await?;
    let admin = stage.admin();
    let explained = async |name: &str| {
        let words = ["explain", name, "-n", SHOP];
        until("an answer", PATIENCE, async || {
            let (code, told) = super::json(&admin, &words)?;
            let answered = told["heldBy"] == Value::Null || told["heldBy"] == "policy";
            Ok(answered.then_some((code, told)))
        })
        .await
    };
    let create = async |name: &str, issuer: &str| {
        let metadata = json!({"namespace": SHOP, "name": name});
        let signer = IssuerName::cluster(issuer).signer_name();
        let object = request(metadata, &signer, json!({}))?;
        stage.cluster.apply(&object).await
    };
    create("pod-refused", "issuing").await?;
    let (code, told) = explained("pcr/pod-refused").await?;
    assert_eq!(
        (code, &told["heldBy"]),
        (Some(3), &json!("policy")),
        "{told:#}"
    );
    assert_eq!(told["about"], "PodCertificateRequest shop/pod-refused");
    let steps = told["steps"].to_string();
    for says in [
        "refused: pods-not-served",
        "the API server vouches for the pod",
    ] {
        assert!(steps.contains(says), "{says}: {told:#}");
    }
    let next = told["next"].to_string();
    assert!(
        next.contains("why-refused -n shop pcr/pod-refused"),
        "{next}"
    );
    let (code, why) = super::json(&admin, &["why-refused", "pcr/pod-refused", "-n", SHOP])?;
    assert_eq!((code, &why["reason"]), (Some(0), &json!("pods-not-served")));
    create("pod-issued", "for-pods").await?;
    let (code, told) = explained("podcertificaterequest/pod-issued").await?;
    assert_eq!((code, &told["heldBy"]), (Some(0), &Value::Null), "{told:#}");
    let (code, told) = super::run(&admin, &["explain", "pcr/nobody", "-n", SHOP])
        .map(|output| (output.status.code(), output.stderr))?;
    let said = String::from_utf8_lossy(&told);
    assert!(
        code == Some(1) && said.contains("no such object nobody"),
        "{said}"
    );
    Ok(())
}
