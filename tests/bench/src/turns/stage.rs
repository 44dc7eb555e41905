//! A control plane, a token with a library that can be slow or hang, a second token, and a controller with both.

use std::time::Duration;

use anyhow::{Context as _, Result};
use control_plane::{CertManagerOptions, until};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use rig::{
    Authority, Cluster, Controller, ControllerOptions, IssuerName, Programs, csr_for, request_spec,
};
use serde_json::{Value, json};
use softhsm_test_helpers::{FaultyModule, KeyKind};

/// Number of concurrent calls that create a backlog.
const CONCURRENCY: usize = 16;
/// Timeout for the largest backlog on the slowest machine.
const DRAINED_WITHIN: Duration = Duration::from_secs(1800);

/// Everything that runs in the benchmark.
pub(crate) struct Stage {
    // Dropped in this order.
    pub(crate) controller: Controller,
    pub(crate) cluster: Cluster,
    /// The library of the first token.
    pub(crate) library: FaultyModule,
    _tokens: [Authority; 2],
}

/// Returns the issuer whose key is on the first token.
pub(crate) fn first() -> IssuerName {
    IssuerName::cluster("first")
}

/// Returns the issuer whose key is on the other token.
pub(crate) fn other() -> IssuerName {
    IssuerName::cluster("other")
}

impl Stage {
    /// Starts everything and waits until both issuers are ready.
    pub(crate) async fn start() -> Result<Self> {
        let programs = Programs::find()?;
        let options = CertManagerOptions {
            approver: false,
            ..CertManagerOptions::default()
        };
        let cluster = bench::cluster(&programs, options).await?;
        cluster.cert_manager()?.controller().kill();
        let tokens = [
            Authority::new(KeyKind::P256)?,
            Authority::new(KeyKind::P256)?,
        ];
        let library = tokens[0].token().with_faults()?;
        let faulty = json!({"path": library.module(), "env": library.env()});
        let mut configuration = json!({"modules": {}, "tokens": {}});
        for (name, token, module) in [
            ("issuing", &tokens[0], Some(faulty)),
            ("other", &tokens[1], None),
        ] {
            let own = token.configuration(&[]);
            let part = |at| own.pointer(at).cloned().context("no such part");
            let mut token = part("/tokens/issuing")?;
            let module = module.map_or_else(|| part("/modules/softhsm"), Ok)?;
            *token.get_mut("module").context("no module")? = json!(name);
            put(&mut configuration, "/modules", name, module)?;
            put(&mut configuration, "/tokens", name, token)?;
        }
        let options = ControllerOptions::new(configuration.to_string(), &programs);
        let controller = Controller::start(&cluster, &options).await?;
        let mut other_spec = tokens[1].issuer_spec();
        *other_spec.get_mut("token").context("no token")? = json!("other");
        for (issuer, spec) in [(first(), tokens[0].issuer_spec()), (other(), other_spec)] {
            cluster.apply_issuer(&issuer, &spec).await?;
            cluster.issuer_is_ready(&issuer).await?;
        }
        Ok(Self {
            controller,
            cluster,
            library,
            _tokens: tokens,
        })
    }

    /// Creates requests in this namespace and approves them when all exist.
    pub(crate) async fn backlog(
        &self,
        namespace: &str,
        issuer: &IssuerName,
        count: usize,
    ) -> Result<()> {
        self.cluster.create_namespace(namespace).await?;
        let requests = self.cluster.requests(namespace).await?;
        let spec = request_spec(issuer, &csr_for("web.example")?);
        let each = |number: usize| format!("web-{number}");
        many(count, async |number| {
            requests.create(&each(number), spec.clone()).await.map(drop)
        })
        .await?;
        many(count, async |number| requests.approve(&each(number)).await).await
    }

    /// Issues one request at a time while `more` returns true. Returns the milliseconds from approval to publication of
    /// each, according to the issuance log.
    pub(crate) async fn one_by_one(
        &self,
        namespace: &str,
        issuer: &IssuerName,
        mut more: impl FnMut(usize) -> Result<bool>,
    ) -> Result<Vec<f64>> {
        self.cluster.create_namespace(namespace).await?;
        let requests = self.cluster.requests(namespace).await?;
        let spec = request_spec(issuer, &csr_for("web.example")?);
        let mut approved = Vec::new();
        while more(approved.len())? {
            let name = format!("web-{}", approved.len());
            requests.create(&name, spec.clone()).await?;
            let before = now();
            requests.approve(&name).await?;
            requests.reaches(&name, "Issued").await?;
            approved.push((name, before));
        }
        self.records("published", namespace, approved.len()).await?;
        let record = self.controller.issuance_log()?;
        approved
            .into_iter()
            .map(|(name, approved)| {
                let published = record.iter().find(|line| {
                    is(line, "published", namespace)
                        && line.pointer("/request/name") == Some(&json!(name))
                });
                let published = time(published.context("not published")?)?;
                Ok(published.duration_since(approved).as_secs_f64() * 1000.0)
            })
            .collect()
    }

    /// Returns the times of the issuance log's lines with this event about requests of this namespace, in order.
    pub(crate) fn recorded(&self, event: &str, namespace: &str) -> Result<Vec<Timestamp>> {
        let record = self.controller.issuance_log()?;
        let lines = record.iter().filter(|line| is(line, event, namespace));
        lines.map(time).collect()
    }

    /// Waits until the issuance log has `count` lines with this event about requests of this namespace.
    pub(crate) async fn records(&self, event: &str, namespace: &str, count: usize) -> Result<()> {
        let what = format!("{count} records of {event:?} in {namespace}");
        until(&what, DRAINED_WITHIN, async || {
            self.controller.process().check_running()?;
            let there = self.recorded(event, namespace)?.len();
            Ok((there >= count).then_some(()))
        })
        .await
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the issuance log has times of the same clock"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

fn is(line: &Value, event: &str, namespace: &str) -> bool {
    line.get("event") == Some(&json!(event))
        && line.pointer("/request/namespace") == Some(&json!(namespace))
}

fn time(line: &Value) -> Result<Timestamp> {
    let time = line.get("time").and_then(Value::as_str);
    Ok(time.context("no time")?.parse()?)
}

fn put(object: &mut Value, at: &str, name: &str, value: Value) -> Result<()> {
    let part = object.pointer_mut(at).and_then(Value::as_object_mut);
    part.context("no such part")?.insert(name.to_owned(), value);
    Ok(())
}

async fn many(count: usize, each: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
    let calls = stream::iter(0..count).map(|number| each(number));
    calls.buffer_unordered(CONCURRENCY).try_collect().await
}
