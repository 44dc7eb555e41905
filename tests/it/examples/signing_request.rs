//! Tests Kubernetes' own CertificateSigningRequest.

use anyhow::{Context as _, Result};
use rig::NAMESPACE;

use super::{
    leaf::Leaf,
    stage::{in_secret, stage},
};
use crate::controller::openssl_verifies;

#[tokio::test]
async fn the_signing_request_is_issued_once_it_is_approved() -> Result<()> {
    let stage = stage().await?;
    stage.apply("kubernetes-csr.yaml").await?;
    let requests = stage.cluster().signing_requests("reader").await?;
    assert_eq!(requests.status("web").await?.certificate(), None);
    let plane = stage.cluster().plane();
    plane.kubectl(&["certificate", "approve", "web"]).await?;
    let chain = requests.is_issued("web").await?;
    let root = in_secret(stage.cluster(), NAMESPACE, "root-ca").await?;
    openssl_verifies(&chain, &root.chain)?;
    let leaf = Leaf::of(&chain)?;
    assert_eq!(leaf.names()?.0, ["web.shop.example"]);
    assert_eq!(leaf.seconds()?, 86_400);
    let usages = leaf.certificate()?;
    let usages = usages.extended_key_usage()?.context("no purposes")?.value;
    assert!(usages.server_auth && !usages.client_auth);
    Ok(())
}
