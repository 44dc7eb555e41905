//! A rig for one test, with a PKCS#11 library that counts its calls.

use anyhow::{Context as _, Result};
use control_plane::until;
use rig::{
    Authority, Cluster, Controller, ControllerOptions, Options, PATIENCE, Status, apply_rights,
};
use serde_json::{Value, json};
use softhsm_test_helpers::{FaultyModule, Function, KeyKind};

use super::{TENANT, issuer, programs};

/// A cluster with the usual issuer and a controller whose configuration the test may change.
pub(super) struct Counted {
    // Dropped in this order.
    pub(super) controller: Controller,
    pub(super) cluster: Cluster,
    pub(super) configuration: Value,
    /// The library of the token. It counts its calls and fails when the test says so.
    pub(super) library: FaultyModule,
    pub(super) authority: Authority,
}

impl Counted {
    /// Starts everything with these flags and the configuration after `change`.
    pub(super) async fn start(args: &[&str], change: impl FnOnce(&mut Value)) -> Result<Self> {
        Self::start_with(args, None, change).await
    }

    /// Starts everything like [`Counted::start`], with the rights that these values of the chart give.
    pub(super) async fn start_with(
        args: &[&str],
        values: Option<Value>,
        change: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let authority = Authority::new(KeyKind::P256)?;
        let cluster = Cluster::start(&programs()?, Options::default().cert_manager).await?;
        cluster.create_namespace_with_issuers(TENANT).await?;
        if let Some(values) = values {
            apply_rights(cluster.plane(), &values).await?;
        }
        cluster
            .apply_issuer(&issuer(), &authority.issuer_spec())
            .await?;
        let library = authority.token().with_faults()?;
        let mut configuration = authority.configuration(&[]);
        configuration["modules"]["softhsm"] =
            json!({"path": library.module(), "env": library.env()});
        change(&mut configuration);
        let options = ControllerOptions {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..ControllerOptions::new(configuration.to_string(), &programs()?)
        };
        Ok(Self {
            controller: Controller::start(&cluster, &options).await?,
            cluster,
            configuration,
            library,
            authority,
        })
    }

    /// Waits until the issuer is ready at this generation.
    pub(super) async fn is_ready_at(&self, generation: i64) -> Result<Status> {
        let name = issuer();
        let reached = self.cluster.issuer_reaches(&name, |status| {
            status.ready().is_some_and(|ready| {
                ready.status == "True" && ready.observed_generation == Some(generation)
            })
        });
        reached.await
    }

    /// Returns the number of signatures that the token was asked for.
    pub(super) fn signatures(&self) -> Result<u64> {
        Ok(self.library.calls(Function::C_Sign)?)
    }

    /// Returns the number of logins that the token was asked for.
    pub(super) fn logins(&self) -> Result<u64> {
        Ok(self.library.calls(Function::C_Login)?)
    }

    /// Changes the configuration while the controller runs.
    pub(super) fn reconfigure(&mut self, change: impl FnOnce(&mut Value)) -> Result<()> {
        change(&mut self.configuration);
        self.controller.configure(&self.configuration.to_string())
    }

    /// Waits until the metric with exactly these labels has this value.
    pub(super) async fn counts(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) -> Result<()> {
        let reached = until(name, PATIENCE, async || {
            let metrics = self.controller.metrics().await?;
            Ok((metrics.sum(name, labels) == value).then_some(()))
        });
        reached
            .await
            .with_context(|| format!("{name} {labels:?} is not {value}"))
    }
}
