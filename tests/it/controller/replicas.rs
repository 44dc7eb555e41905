//! Tests several replicas, each with its own token that holds a copy of the issuing key.

mod crls;
mod faults;
mod forgetful;
pub(super) mod sealed;
mod shares;
mod silence;
mod soak;
mod start;
mod story;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use control_plane::{CertManagerOptions, until};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rig::{
    Authority, Cluster, Controller, ControllerOptions, PATIENCE, Requests, apply_rights, csr_for,
    request_spec,
};
use serde_json::json;

use self::story::Story;
use super::{issuer, programs};

/// A cluster with three controllers.
struct Replicas {
    // Dropped in this order.
    controllers: Vec<Controller>,
    cluster: Cluster,
    authorities: Vec<Authority>,
}

impl Replicas {
    /// Starts three replicas and waits until each sees the others and has signed a request, which shows that each knows the
    /// issuer to be ready. These requests are in the namespace `kube-public`.
    async fn start(lease_duration: &str) -> Result<Self> {
        Self::start_through(lease_duration, |_| Ok(None)).await
    }

    /// Starts replicas like [`Replicas::start`] that reach the API server by the kubeconfig that `way` returns.
    async fn start_through(
        lease_duration: &str,
        way: impl FnOnce(&Cluster) -> Result<Option<PathBuf>>,
    ) -> Result<Self> {
        Self::start_with(lease_duration, way, |_, _| {}).await
    }

    /// Starts replicas like [`Replicas::start`], with what `change` makes of the options of each, by its number.
    async fn start_changed(
        lease_duration: &str,
        change: impl Fn(usize, &mut ControllerOptions),
    ) -> Result<Self> {
        Self::start_with(lease_duration, |_| Ok(None), change).await
    }

    async fn start_with(
        lease_duration: &str,
        way: impl FnOnce(&Cluster) -> Result<Option<PathBuf>>,
        change: impl Fn(usize, &mut ControllerOptions),
    ) -> Result<Self> {
        let programs = programs()?;
        let authorities = Authority::copies(3)?;
        let options = CertManagerOptions {
            approver: false,
            ..CertManagerOptions::default()
        };
        let cluster = Cluster::start(&programs, options).await?;
        let values = json!({"audit": Authority::checkpoints(), "crl": {"enabled": true}});
        apply_rights(cluster.plane(), &values).await?;
        let kubeconfig = way(&cluster)?;
        let controllers = authorities.iter().zip(["a", "b", "c"]).enumerate();
        let controllers = controllers.map(|(number, (authority, name))| {
            let configuration = authority.configuration_with_checkpoints(&[]).to_string();
            let mut options = ControllerOptions {
                name: name.to_owned(),
                args: [
                    "--lease-duration",
                    lease_duration,
                    "--crl-address",
                    "127.0.0.1:0",
                ]
                .map(str::to_owned)
                .into(),
                kubeconfig: kubeconfig.clone(),
                ..ControllerOptions::new(configuration, &programs)
            };
            change(number, &mut options);
            Controller::launch(&cluster, &options)
        });
        let replicas = Self {
            controllers: controllers.collect::<Result<_>>()?,
            cluster,
            authorities,
        };
        // The replicas know one another before the issuer is created, so its owner does not change while they start.
        replicas.see(3).await?;
        let mut spec = replicas.authorities[0].issuer_spec();
        spec["crl"] = json!({});
        replicas.cluster.apply_issuer(&issuer(), &spec).await?;
        replicas.cluster.issuer_is_ready(&issuer()).await?;
        let requests = replicas.cluster.requests("kube-public").await?;
        // With a fair share of one third, a replica gets none of 100 requests less than once in 10^17 runs.
        for number in 0..100 {
            let name = format!("warm-{number}");
            make(&requests, &name).await?;
            requests.reaches(&name, "Issued").await?;
            let mut all = true;
            for controller in &replicas.controllers {
                all &= issued(controller).await? > 0;
            }
            if all {
                return Ok(replicas);
            }
        }
        bail!("one of the replicas signs nothing")
    }

    /// Waits until every running replica sees `count` replicas that can sign.
    async fn see(&self, count: usize) -> Result<()> {
        for controller in &self.controllers {
            sees(controller, count).await?;
        }
        Ok(())
    }

    /// The requests of the tests.
    async fn requests(&self) -> Result<Requests> {
        self.cluster.requests("default").await
    }

    /// Returns the story of these issued requests from the API server's audit log.
    async fn story(&self, names: &[String]) -> Result<Story> {
        Story::of(names, self.cluster.plane()).await
    }

    /// Fails if a request ever had another certificate than now, if the issuance logs name the present one as discarded or
    /// not exactly once as signed, if one of the logs does not verify, or if the logs disagree with the cluster. Earlier
    /// certificates come from the API server's audit log, which may miss one: a write whose client is killed may be stored but
    /// logged with an error.
    async fn one_certificate_each(&self, requests: &Requests, names: &[String]) -> Result<()> {
        sealed::logs_verify_together(self).await?;
        let plane = self.cluster.plane();
        let told = Controller::compared(&self.controllers, &plane.admin_kubeconfig())?;
        // Nobody deletes a request, so every published certificate is still there.
        assert!(!told.contains("no longer in the cluster"), "{told}");
        let story = Story::read(plane)?;
        let mut discarded = BTreeSet::new();
        let mut signed = BTreeMap::<String, usize>::new();
        for controller in &self.controllers {
            controller.verified_issuance_log()?;
            for line in controller.issuance_log()? {
                match line["event"].as_str() {
                    Some("discarded") => {
                        discarded.extend(line["serial"].as_str().map(str::to_owned));
                    }
                    Some("signed") => {
                        let certificate = line["certificate"].as_str().context("no certificate")?;
                        *signed.entry(certificate.to_owned()).or_default() += 1;
                    }
                    _ => {}
                }
            }
        }
        for name in names {
            let status = requests.status(name).await?;
            let stored = status.json()["certificate"].as_str();
            let told = story.0.get(name).into_iter();
            let told = told.flat_map(|told| &told.certificates);
            let others = told.filter(|told| Some(told.as_str()) != stored);
            assert_eq!(
                others.count(),
                0,
                "{name} had a different certificate earlier"
            );
            let pem = status.certificate().context("no certificate")?;
            let serial = serial(&pem)?;
            let base64: String = pem
                .lines()
                .skip(1)
                .take_while(|line| !line.starts_with('-'))
                .collect();
            assert_eq!(
                signed.get(&base64),
                Some(&1),
                "{name}: the published certificate {serial} is not recorded as signed exactly once"
            );
            assert!(
                !discarded.contains(&serial),
                "{name}: the published certificate {serial} is recorded as discarded"
            );
        }
        Ok(())
    }
}

/// Waits until a replica sees `count` replicas that can sign.
async fn sees(controller: &Controller, count: usize) -> Result<()> {
    let what = format!("a replica to see {count} replicas that can sign");
    until(&what, PATIENCE, async || {
        // A replica that has just been launched does not serve metrics yet.
        let Ok(metrics) = controller.metrics().await else {
            return Ok(None);
        };
        let token = [("token", "issuing")];
        let seen = whole(metrics.sum("pkcs11_issuer_token_replicas", &token))?;
        Ok((seen == count).then_some(()))
    })
    .await
}

/// Returns the serial number of the first certificate in the format of the issuance log.
fn serial(pem: &str) -> Result<String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes())?;
    Ok(hex::encode(pem.parse_x509()?.raw_serial()))
}

/// Returns the number of certificates that a replica has published.
async fn issued(controller: &Controller) -> Result<usize> {
    let metrics = controller.metrics().await?;
    let labels = [("result", "issued")];
    whole(metrics.sum("pkcs11_issuer_requests_total", &labels))
}

/// Converts the value of a metric to a count.
fn whole(count: f64) -> Result<usize> {
    Ok(count.to_string().parse()?)
}

/// Creates a request and approves it, with as many attempts as that takes.
async fn make(requests: &Requests, name: &str) -> Result<()> {
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    until(name, PATIENCE, async || {
        // A response may have been lost, so read the request to see what an earlier attempt has done.
        let approved = match requests.status(name).await {
            Ok(status) => status.condition("Approved").is_some(),
            Err(_) if requests.create(name, spec.clone()).await.is_ok() => false,
            Err(_) => return Ok(None),
        };
        let done = approved || requests.approve(name).await.is_ok();
        Ok(done.then_some(()))
    })
    .await
}

/// Creates and approves `count` requests, some concurrently.
async fn make_all(requests: &Requests, prefix: &str, count: usize) -> Result<Vec<String>> {
    let names = (0..count).map(|number| format!("{prefix}-{number}"));
    let made = stream::iter(names).map(async |name| {
        make(requests, &name).await?;
        anyhow::Ok(name)
    });
    made.buffer_unordered(8).try_collect().await
}

/// Waits until all these requests are issued.
async fn all_issued(requests: &Requests, names: &[String]) -> Result<()> {
    for name in names {
        let reached = requests.reaches(name, "Issued").await;
        reached.with_context(|| format!("{name} is lost"))?;
    }
    Ok(())
}

/// The lease duration, in seconds, of tests that wait for an expiry.
const SHORT_SECONDS: i64 = 4;
