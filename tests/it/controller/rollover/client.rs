//! A client that verifies certificates with rustls' verifier, against the roots that are published at that moment.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use rig::{IssuerName, PATIENCE, Rig, Status};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// What a requester got.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    /// The chain in PEM, leaf first.
    pub(super) chain: String,
    /// The value of `ca`.
    ca: String,
}

impl Issued {
    pub(super) fn new(status: &Status) -> Result<Self> {
        Ok(Self {
            chain: status.certificate().context("no certificate")?,
            ca: status.ca().context("no CA")?,
        })
    }
}

/// Where the roots of an issuer are published: its ClusterTrustBundle and its ConfigMap.
#[derive(Clone)]
pub(super) struct Published {
    bundles: Api<DynamicObject>,
    bundle: String,
    maps: Api<ConfigMap>,
    map: String,
}

impl Published {
    /// Finds both places, and waits until they exist.
    pub(super) async fn of(rig: &Rig, issuer: &IssuerName) -> Result<Self> {
        let client = rig.cluster().plane().admin().await?;
        let kind = GroupVersionKind::gvk("certificates.k8s.io", "v1", "ClusterTrustBundle");
        let published = Self {
            bundles: Api::all_with(client.clone(), &ApiResource::from_gvk(&kind)),
            bundle: format!("{}:trust-anchors", issuer.signer_name().replace('/', ":")),
            maps: Api::namespaced(client, rig::NAMESPACE),
            map: format!("pkcs11-issuer-trust-{}", issuer.name()),
        };
        until("the roots to be published", PATIENCE, async || {
            Ok(published.roots().await.ok().map(drop))
        })
        .await?;
        Ok(published)
    }

    async fn roots(&self) -> Result<[String; 2]> {
        let bundle = self.bundles.get(&self.bundle).await?;
        let bundle = bundle.data["spec"]["trustBundle"].as_str();
        let map = self.maps.get(&self.map).await?.data.unwrap_or_default();
        Ok([
            bundle.context("no bundle")?.to_owned(),
            map.get("ca.crt").context("no ca.crt")?.clone(),
        ])
    }

    /// Verifies a certificate against each of the published sets of roots, and against the `ca` that came with it.
    pub(super) async fn verify(&self, issued: &Issued) -> Result<()> {
        for roots in self.roots().await?.iter().chain([&issued.ca]) {
            verify(&issued.chain, roots)?;
        }
        Ok(())
    }
}

/// Verifies a chain for a server as rustls does.
fn verify(chain: &str, roots: &str) -> Result<()> {
    let read =
        |text: &str| CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let (chain, roots) = (read(chain)?, read(roots)?);
    let (leaf, above) = chain.split_first().context("an empty chain")?;
    let anchors = roots.iter().map(anchor_from_trusted_cert);
    let anchors = anchors.collect::<Result<Vec<_>, _>>()?;
    ensure!(!anchors.is_empty(), "no roots");
    // notBefore has whole seconds.
    let now = Duration::from_secs(UnixTime::now().as_secs() + 1);
    let now = UnixTime::since_unix_epoch(now);
    let usage = KeyUsage::server_auth();
    EndEntityCert::try_from(leaf)?
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            above,
            now,
            usage,
            None,
            None,
        )
        .map(drop)
        .context("no path to a published root")
}
