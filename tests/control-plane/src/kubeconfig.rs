//! Writes and reads kubeconfig files.

use std::path::Path;

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use crate::authority::Pair;

/// Returns a self-contained kubeconfig as JSON, which is also YAML.
pub(crate) fn render(server: &str, ca: &str, user: &str, client: &Pair) -> String {
    let base64 = |pem: &str| STANDARD.encode(pem.as_bytes());
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "control-plane",
        "contexts": [{"name": "control-plane", "context": {"cluster": "control-plane", "user": user}}],
        "clusters": [{
            "name": "control-plane",
            "cluster": {"server": server, "certificate-authority-data": base64(ca)},
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": base64(&client.certificate),
                "client-key-data": base64(&client.key),
            },
        }],
    })
    .to_string()
}

/// Returns a client of the calling runtime. It must not be used on another runtime.
pub(crate) async fn client(path: &Path) -> Result<kube::Client> {
    let kubeconfig =
        Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}
