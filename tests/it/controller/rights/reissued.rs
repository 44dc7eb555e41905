//! The rights that a re-issue needs.

use anyhow::Result;
use control_plane::until;
use rig::{IssuerName, PATIENCE, Rig};
use serde_json::json;

/// Creates a Certificate whose key its issuer refuses by now, and has it renewed.
pub(super) async fn reissued(rig: &Rig) -> Result<()> {
    let name = IssuerName::cluster("reissues");
    let mut spec = rig.authority().issuer_spec();
    spec["reissue"] = json!({"perSecond": 1});
    rig.cluster().apply_issuer(&name, &spec).await?;
    rig.cluster().issuer_is_ready(&name).await?;
    let certificate = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"namespace": "default", "name": "rights-weak"},
        "spec": {
            "secretName": "rights-weak", "dnsNames": ["web.example"],
            "privateKey": {"algorithm": "RSA", "size": 2048}, "issuerRef": name.reference(),
        },
    });
    rig.cluster().apply(&certificate).await?;
    let requests = rig.cluster().requests("default").await?;
    until("cert-manager's request", PATIENCE, async || {
        Ok(requests.get("rights-weak-1").await.ok().map(drop))
    })
    .await?;
    requests.approve("rights-weak-1").await?;
    requests.reaches("rights-weak-1", "Issued").await?;
    let field = async |path: &str| {
        let path = format!("jsonpath={{.status.{path}}}");
        let get = [
            "get",
            "certificate",
            "rights-weak",
            "--namespace",
            "default",
            "--output",
            &path,
        ];
        rig.cluster().plane().kubectl(&get).await
    };
    until("the first certificate", PATIENCE, async || {
        Ok((field("revision").await? == "1").then_some(()))
    })
    .await?;
    spec["profile"] = json!({"keys": {"rsa": {"minBits": 3072}}});
    rig.cluster().apply_issuer(&name, &spec).await?;
    until("the renewal of the Certificate", PATIENCE, async || {
        let reason = field("conditions[?(@.type=='Issuing')].reason").await?;
        Ok((reason == "Reissue").then_some(()))
    })
    .await
}
