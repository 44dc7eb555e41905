//! A client that verifies certificates with rustls' verifier, against the roots that are published at that moment.

use std::{collections::HashSet, future::ready, time::Duration};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};
use rig::{IssuerName, PATIENCE, Rig, Status};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use tokio::sync::watch;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// What a requester got.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    /// The chain in PEM, leaf first.
    pub(super) chain: String,
    /// The value of `ca`.
    ca: String,
}

/// Follows the CertificateRequests whose names begin with `prefix`: each of them once, when it has its certificate.
///
/// # Errors
/// One of them is refused.
pub(super) async fn issued(
    rig: &Rig,
    prefix: String,
) -> Result<impl Stream<Item = Result<Issued>> + Unpin> {
    let client = rig.cluster().plane().admin().await?;
    let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "CertificateRequest");
    let requests: Api<DynamicObject> =
        Api::namespaced_with(client, "default", &ApiResource::from_gvk(&kind));
    let mut seen = HashSet::new();
    let answers = objects(requests, watcher::Config::default()).try_filter_map(move |request| {
        let name = request.metadata.name.clone().unwrap_or_default();
        let status = Status::of(&request.data);
        let answer = match status.ready().map(|ready| ready.reason) {
            Some(reason) if name.starts_with(&prefix) && reason == "Issued" => {
                seen.insert(name).then(|| Issued::new(&status)).transpose()
            }
            Some(reason) if name.starts_with(&prefix) && reason != "Pending" => {
                Err(anyhow::anyhow!("{name}: {}", status.json()))
            }
            _ => Ok(None),
        };
        ready(answer)
    });
    Ok(answers.boxed())
}

/// Follows objects, present ones first.
fn objects<K>(api: Api<K>, of: watcher::Config) -> BoxStream<'static, Result<K>>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    watcher(api, of)
        .default_backoff()
        .applied_objects()
        .map_err(anyhow::Error::from)
        .boxed()
}

impl Issued {
    fn new(status: &Status) -> Result<Self> {
        Ok(Self {
            chain: status.certificate().context("no certificate")?,
            ca: status.ca().context("no CA")?,
        })
    }
}

/// The roots that are published for an issuer, as a watch shows them: in its ClusterTrustBundle and in its ConfigMap.
#[derive(Debug)]
pub(super) struct Published([watch::Receiver<Option<String>>; 2]);

impl Published {
    /// Finds both places, and waits until they exist.
    pub(super) async fn of(rig: &Rig, issuer: &IssuerName) -> Result<Self> {
        let client = rig.cluster().plane().admin().await?;
        let kind = GroupVersionKind::gvk("certificates.k8s.io", "v1", "ClusterTrustBundle");
        let bundles: Api<DynamicObject> =
            Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
        let maps: Api<ConfigMap> = Api::namespaced(client, rig::NAMESPACE);
        let named =
            |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let bundle = issuer.signer_name().replace('/', ":");
        let bundle = objects(bundles, named(&format!("{bundle}:trust-anchors")));
        let map = objects(
            maps,
            named(&format!("pkcs11-issuer-trust-{}", issuer.name())),
        );
        let published = Self([
            follow(bundle, |bundle| {
                bundle.data["spec"]["trustBundle"]
                    .as_str()
                    .map(str::to_owned)
            }),
            follow(map, |map| map.data?.remove("ca.crt")),
        ]);
        until("the roots to be published", PATIENCE, async || {
            Ok(published.roots().ok().map(drop))
        })
        .await?;
        Ok(published)
    }

    fn roots(&self) -> Result<Vec<String>> {
        let places = self.0.iter();
        places
            .map(|place| place.borrow().clone().context("no roots are published"))
            .collect()
    }

    /// Verifies a certificate against each of the published sets of roots, and against the `ca` that came with it.
    pub(super) fn verify(&self, issued: &Issued) -> Result<()> {
        for roots in self.roots()?.iter().chain([&issued.ca]) {
            verify(&issued.chain, roots)?;
        }
        Ok(())
    }
}

/// Keeps the newest text in a stream of objects, as long as somebody looks at it.
fn follow<K: Send + 'static>(
    mut objects: BoxStream<'static, Result<K>>,
    text: impl Fn(K) -> Option<String> + Send + 'static,
) -> watch::Receiver<Option<String>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sender.closed() => break,
                Some(Ok(object)) = objects.next() => {
                    sender.send_replace(text(object));
                }
            }
        }
    });
    receiver
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
