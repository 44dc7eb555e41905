//! Tests Ingress and Gateway, for which cert-manager itself creates Certificates.

use anyhow::Result;

use super::{
    leaf::Leaf,
    stage::{SHOP, stage},
};

/// Applies an example and waits for a certificate with this name in a Secret.
async fn gets(file: &str, secret: &str, host: &str) -> Result<()> {
    let stage = stage().await?;
    stage.apply(file).await?;
    let issued = stage.issued(SHOP, secret).await?;
    let (names, _) = Leaf::of(&issued.chain)?.names()?;
    assert_eq!(names, [host]);
    Ok(())
}

#[tokio::test]
async fn the_ingress_gets_its_certificate() -> Result<()> {
    gets("ingress.yaml", "shop-tls", "www.shop.example").await
}

#[tokio::test]
async fn the_gateway_gets_its_certificate() -> Result<()> {
    gets("gateway.yaml", "gateway-tls", "api.shop.example").await
}
