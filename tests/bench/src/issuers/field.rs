//! The environment of the controller: a control plane, tokens that are copies of one another, and issuers.

use anyhow::{Context as _, Result};
use control_plane::CertManagerOptions;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams,
};
use rig::{Authority, Cluster, Controller, ControllerOptions, Metrics, NAMESPACE, Programs};
use serde_json::{Value, json};

/// Name of the Secret that all issuers name.
const SECRET: &str = "ca";
/// Number of issuers created concurrently.
const CONCURRENCY: usize = 32;

/// Everything except the controller.
#[derive(Debug)]
pub(crate) struct Field {
    cluster: Cluster,
    programs: Programs,
    tokens: Vec<Authority>,
    pub(crate) count: u16,
}

/// Number of calls that the API server has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    /// Writes to the status of issuers, including refused ones.
    pub(crate) statuses: f64,
    /// Calls of any kind that were refused with status 429.
    pub(crate) refused: f64,
    /// New Events and updates that count another occurrence.
    pub(crate) events: f64,
    /// Reads of Secrets.
    pub(crate) reads: f64,
}

impl Field {
    pub(crate) async fn start(count: u16, tokens: usize) -> Result<Self> {
        let programs = Programs::find()?;
        let cluster = bench::cluster(&programs, CertManagerOptions::default()).await?;
        cluster.cert_manager()?.controller().kill();
        let tokens = Authority::copies(tokens)?;
        let first = tokens.first().context("no token")?;
        cluster
            .apply_secret(NAMESPACE, SECRET, &first.chain())
            .await?;
        Ok(Self {
            cluster,
            programs,
            tokens,
            count,
        })
    }

    /// Deletes and creates all issuers, so that none has a status.
    pub(crate) async fn make_issuers(&self) -> Result<()> {
        let api = self.issuers().await?;
        let all = ListParams::default();
        while !api.list(&all.clone().limit(1)).await?.items.is_empty() {
            api.delete_collection(&DeleteParams::default(), &all)
                .await?;
        }
        let issuers = (0..self.count).map(|number| self.issuer(number));
        stream::iter(issuers)
            .map(|issuer| async {
                let issuer: DynamicObject = serde_json::from_value(issuer?)?;
                api.create(&PostParams::default(), &issuer).await?;
                anyhow::Ok(())
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    fn issuer(&self, number: u16) -> Result<Value> {
        let which = usize::from(number) % self.tokens.len();
        let token = self.tokens.get(which).context("no such token")?;
        let mut spec = token.issuer_spec_with_secret(SECRET);
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("token".to_owned(), json!(token_name(which)));
        }
        Ok(json!({
            "apiVersion": "pkcs11-issuer.dev/v1alpha1",
            "kind": "PKCS11ClusterIssuer",
            "metadata": {"name": format!("issuer-{number}")},
            "spec": spec,
        }))
    }

    /// Returns the API of the issuers, with all rights.
    pub(crate) async fn issuers(&self) -> Result<Api<DynamicObject>> {
        Ok(Api::all_with(self.admin().await?, &kind()))
    }

    /// Returns a client with all rights.
    pub(crate) async fn admin(&self) -> Result<Client> {
        self.cluster.plane().admin().await
    }

    /// Starts a controller with all tokens without waiting until it is ready.
    pub(crate) fn launch(&self) -> Result<Controller> {
        let options = ControllerOptions::new(self.configuration()?.to_string(), &self.programs);
        Controller::launch(&self.cluster, &options)
    }

    fn configuration(&self) -> Result<Value> {
        let (mut modules, mut tokens) = (serde_json::Map::new(), serde_json::Map::new());
        for (number, authority) in self.tokens.iter().enumerate() {
            let configuration = authority.configuration(&[]);
            let part = |path: &str| {
                let part = configuration.pointer(path).cloned();
                part.with_context(|| format!("the configuration has no {path}"))
            };
            let (name, module) = (token_name(number), format!("softhsm-{number}"));
            let mut token = part("/tokens/issuing")?;
            if let Some(token) = token.as_object_mut() {
                token.insert("module".to_owned(), json!(module));
                // All copies have the same label.
                token.remove("label");
                token.insert("serial".to_owned(), json!(authority.token().serial()));
            }
            modules.insert(module, part("/modules/softhsm")?);
            tokens.insert(name, token);
        }
        Ok(json!({"modules": modules, "tokens": tokens}))
    }

    /// Returns the number of calls that the API server has answered so far.
    pub(crate) async fn calls(&self) -> Result<Calls> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let metrics = Metrics::of(self.admin().await?.request_text(request).await?);
        let sum = |resource: &str, subresource: &str, verbs: &[&str]| -> f64 {
            let of = |verb: &&str| {
                let labels = [
                    ("resource", resource),
                    ("subresource", subresource),
                    ("verb", *verb),
                ];
                metrics.sum("apiserver_request_total", &labels)
            };
            verbs.iter().map(of).sum()
        };
        Ok(Calls {
            statuses: sum("pkcs11clusterissuers", "status", &["PUT", "PATCH", "APPLY"]),
            refused: metrics.sum("apiserver_request_total", &[("code", "429")]),
            events: sum("events", "", &["POST", "PUT", "PATCH", "APPLY"]),
            reads: sum("secrets", "", &["GET"]),
        })
    }
}

fn token_name(number: usize) -> String {
    format!("token-{number}")
}

fn kind() -> ApiResource {
    let kind = GroupVersionKind::gvk("pkcs11-issuer.dev", "v1alpha1", "PKCS11ClusterIssuer");
    ApiResource::from_gvk(&kind)
}
