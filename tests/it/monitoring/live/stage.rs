//! A controller behind a proxy to the API server, with a token whose library fails by rules, and a Prometheus that scrapes it.

mod old;
mod overview;
mod pin;
mod refused;

use std::{cell::Cell, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use control_plane::{CertManagerOptions, until};
use jiff::SignedDuration;
use rig::{
    Authority, Cluster, Controller, ControllerOptions, IssuerName, Programs, Requests,
    apply_rights, csr_for, request_spec,
};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, FaultyModule, KeyKind};
use tokio::time::sleep;

use super::{super::prometheus::Prometheus, WITHIN, bug::Bug, faults::Fault, pages::Pages};
use crate::controller::{between::Between, issuer, programs, readers};

/// Namespace of the requests.
const HERE: &str = "default";
/// Namespace of the second installation.
const SECOND: &str = "second-installation";
/// An issuer whose certificates say where its own certificate is.
const WITH_URL: &str = "with-url";
/// The function by which lints recognize such a URL.
const RECOGNIZES: &str = "pkcs11_issuer::issuance::lint::publication::is_http";
/// Folder of the issuance log.
const LOGS: &str = "logs";
/// Name of that folder while it is away.
const AWAY: &str = "away";

/// Everything that runs.
pub(super) struct Stage {
    // Dropped in this order.
    pub(super) prometheus: Prometheus,
    pub(super) pages: Pages,
    second: Option<Controller>,
    bug: Option<Bug>,
    controller: Controller,
    between: Between,
    cluster: Cluster,
    library: FaultyModule,
    authority: Authority,
    programs: Programs,
    configuration: Value,
    /// Folder with the PIN, and with the folder of the issuance log.
    folder: tempfile::TempDir,
    requests: Requests,
}

impl Stage {
    /// Starts everything, with one issuer that is ready. `filter` is the filter of the log on stderr.
    pub(super) async fn start(factor: u32, filter: &str) -> Result<Self> {
        let mut programs = programs()?;
        let authority = Authority::new(KeyKind::P256)?;
        authority.generate_checkpoint_key(KeyKind::P256)?;
        let cert_manager = CertManagerOptions {
            approver: false,
            ..CertManagerOptions::default()
        };
        let cluster = Cluster::start(&programs, cert_manager).await?;
        let values = json!({"audit": Authority::checkpoints(), "crl": {"enabled": true}});
        apply_rights(cluster.plane(), &values).await?;
        let mut spec = authority.issuer_spec();
        spec["crl"] = json!({});
        cluster.apply_issuer(&issuer(), &spec).await?;
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("controller");
        readers::write_program(&program, &programs.controller)?;
        programs.controller = program;
        let pin = folder.path().join("pin");
        fs::write(&pin, authority.token().user_pin())?;
        let library = authority.token().with_faults()?;
        let mut configuration = authority.configuration_with_checkpoints(&[]);
        configuration["modules"]["softhsm"] =
            json!({"path": library.module(), "env": library.env()});
        configuration["tokens"]["issuing"]["pinFile"] = json!(pin);
        fs::create_dir(folder.path().join(LOGS))?;
        configuration["audit"]["sinks"]["file"] = json!({
            "path": folder.path().join(LOGS).join("{replica}.log"), "rotateAge": "1m",
        });
        let between = Between::start(cluster.plane(), cluster.controller_kubeconfig())?;
        let options = ControllerOptions {
            args: [
                "--probe-interval=2s",
                "--lease-duration=5s",
                "--issuer-metrics=10",
                "--crl-address=127.0.0.1:0",
                "--debug-address=127.0.0.1:0",
            ]
            .map(str::to_owned)
            .into(),
            env: vec![("RUST_LOG".to_owned(), filter.to_owned())],
            kubeconfig: Some(between.kubeconfig().to_owned()),
            ..ControllerOptions::new(configuration.to_string(), &programs)
        };
        let controller = Controller::start(&cluster, &options).await?;
        let target = controller.metrics_address().await?;
        let prometheus = Prometheus::start(cluster.plane().log_dir(), &target, factor).await?;
        let pages = Pages::prepare(&cluster, &controller, &configuration, folder.path()).await?;
        let requests = cluster.requests(HERE).await?;
        cluster.issuer_is_ready(&issuer()).await?;
        Ok(Self {
            prometheus,
            pages,
            second: None,
            bug: None,
            controller,
            between,
            cluster,
            library,
            authority,
            programs,
            configuration,
            folder,
            requests,
        })
    }

    /// Has a certificate issued.
    pub(super) async fn issues(&self, name: &str) -> Result<()> {
        self.asks(name).await?;
        self.requests.reaches(name, "Issued").await.map(drop)
    }

    /// Asks for a certificate, and does not wait for it.
    pub(super) async fn asks(&self, name: &str) -> Result<()> {
        self.ask(name, &issuer(), |_| {}).await
    }

    /// Creates and approves a request whose specification `change` may change.
    async fn ask(
        &self,
        name: &str,
        issuer: &IssuerName,
        change: impl FnOnce(&mut Value),
    ) -> Result<()> {
        let mut spec = request_spec(issuer, &csr_for("web.example")?);
        change(&mut spec);
        self.requests.create_approved(name, spec).await
    }

    fn pin_file(&self) -> PathBuf {
        self.folder.path().join("pin")
    }

    fn configure(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut configuration = self.configuration.clone();
        change(&mut configuration);
        self.controller.configure(&configuration.to_string())
    }

    /// Creates an issuer whose specification `change` may change.
    async fn issuer(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut spec = self.authority.issuer_spec();
        change(&mut spec);
        let name = IssuerName::cluster(name);
        self.cluster.apply_issuer(&name, &spec).await
    }

    async fn delete_issuer(&self, name: &str) -> Result<()> {
        let delete = ["delete", "pkcs11clusterissuer", name];
        self.cluster.plane().kubectl(&delete).await.map(drop)
    }

    /// Makes a fault.
    pub(super) async fn make(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::ConfigurationRefused => {
                self.controller.configure("tokens: {issuing: {module: no}}")
            }
            Fault::CaEnds => {
                let tomorrow = CaProfile::named("Test issuing").valid_hours(-80, 20);
                let key = self.authority.issuing().key();
                let pem = self.authority.root().issue(key, &tomorrow)?.pem();
                self.issuer("ends", |spec| spec["certificate"]["pem"] = json!(pem))
                    .await?;
                let ends = IssuerName::cluster("ends");
                self.cluster.issuer_is_ready(&ends).await?;
                self.ask("too-long", &ends, |spec| spec["duration"] = json!("48h"))
                    .await?;
                self.requests.reaches("too-long", "Failed").await.map(drop)
            }
            Fault::IssuerWithoutToken => {
                self.issuer("tokenless", |spec| spec["token"] = json!("unknown"))
                    .await
            }
            Fault::WaitingRequest => self.wait_for_an_hour("waiting").await,
            Fault::UndecidedRequest => self.be_undecided_for_hours("undecided").await,
            Fault::Refusals => self.have_requests_refused().await,
            Fault::BundleWithoutParent => {
                let parent = json!([{"kind": "ConfigMap", "name": "nowhere", "key": "ca.crl"}]);
                self.issuer("meshed", |spec| spec["crl"] = json!({"parents": parent}))
                    .await
            }
            Fault::TokenDownForLong => {
                // The next CRL is made four seconds after the one before: the token is away by then.
                for name in ["in-time", "late"] {
                    self.issues(name).await?;
                }
                self.revoke("in-time").await?;
                self.published("in-time").await?;
                self.revoke("late").await?;
                self.accepted("late").await?;
                Ok(self.library.rules("* rv=CKR_DEVICE_REMOVED")?)
            }
            Fault::StderrUnread => readers::stop(&self.controller),
            Fault::TokenDown => {
                self.library.rules("* rv=CKR_DEVICE_REMOVED")?;
                self.asks("awaited").await
            }
            Fault::WrongPins => self.have_two_wrong_pins().await,
            Fault::NoPinRecord => self.lose_the_record().await,
            Fault::CrashingLibrary => Ok(self.library.rules("C_Sign abort")?),
            Fault::WrongSignature => self.have_a_wrong_signature().await,
            Fault::WrongLint => self.have_a_wrong_lint().await,
            Fault::Clock => {
                self.between.fault.be_ahead(SignedDuration::from_mins(2));
                Ok(())
            }
            Fault::ApiServer => self.between.fault.refuse(Some(503)),
            Fault::LogWithoutFolder => self.have_a_rotation_fail().await,
            Fault::SecondInstallation => {
                self.cluster.create_namespace(SECOND).await?;
                let options = ControllerOptions {
                    kubeconfig: Some(self.cluster.plane().admin_kubeconfig()),
                    namespace: SECOND.to_owned(),
                    name: "second".to_owned(),
                    ..ControllerOptions::new(self.configuration.to_string(), &self.programs)
                };
                self.second = Some(Controller::start(&self.cluster, &options).await?);
                Ok(())
            }
        }
    }

    /// Mends a fault.
    pub(super) async fn mend(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::ConfigurationRefused => self.configure(|_| {}),
            Fault::CaEnds => self.delete_issuer("ends").await,
            Fault::IssuerWithoutToken => self.delete_issuer("tokenless").await,
            Fault::WaitingRequest => self.requests.delete("waiting").await,
            Fault::UndecidedRequest => self.requests.delete("undecided").await,
            Fault::BundleWithoutParent => self.delete_issuer("meshed").await,
            Fault::TokenDownForLong => {
                self.library.rules("")?;
                self.published("late").await
            }
            Fault::StderrUnread => readers::go_on(&self.controller),
            Fault::Refusals => Ok(()),
            Fault::TokenDown | Fault::CrashingLibrary => Ok(self.library.rules("")?),
            Fault::WrongPins => self.clear_the_record().await,
            Fault::NoPinRecord => self.create_the_record().await,
            Fault::WrongSignature => {
                self.library.rules("")?;
                self.requests.reaches("wrong-0", "Issued").await.map(drop)
            }
            Fault::WrongLint => {
                self.bug.take().context("no bug")?.mend()?;
                self.requests.reaches("linted", "Issued").await?;
                self.delete_issuer(WITH_URL).await
            }
            Fault::Clock => {
                self.between.fault.be_ahead(SignedDuration::ZERO);
                Ok(())
            }
            Fault::ApiServer => self.between.fault.refuse(None),
            Fault::LogWithoutFolder => {
                let folder = self.folder.path();
                fs::rename(folder.join(AWAY), folder.join(LOGS))?;
                self.requests.reaches("unlogged-0", "Issued").await?;
                // Whatever waited for the log is signed.
                self.issues("logged").await
            }
            Fault::SecondInstallation => {
                let second = self.second.take().context("no second installation")?;
                second.stop().await.map(drop)
            }
        }
    }

    /// Makes the token sign wrongly until a request gets a wrong signature. A probe may get the first wrong signature, and
    /// the issuer is then not ready.
    async fn have_a_wrong_signature(&self) -> Result<()> {
        for number in 0..20 {
            self.library.rules("")?;
            self.cluster.issuer_is_ready(&issuer()).await?;
            self.library.rules("C_Sign corrupt")?;
            self.ask(&format!("wrong-{number}"), &issuer(), |_| {})
                .await?;
            sleep(Duration::from_secs(1)).await;
            let metrics = self.controller.metrics().await?;
            if metrics.sum("pkcs11_issuer_bugs_total", &[]) > 0.0 {
                return Ok(());
            }
        }
        bail!("no request was signed while the token was wrong")
    }

    /// Has a lint fail for the certificate of a request.
    async fn have_a_wrong_lint(&mut self) -> Result<()> {
        let urls = json!(["http://ca.example/ca.cer"]);
        let profile = json!({"extensions": {"aia": {"caIssuers": urls}}});
        self.issuer(WITH_URL, |spec| spec["profile"] = profile)
            .await?;
        let issuer = IssuerName::cluster(WITH_URL);
        self.cluster.issuer_is_ready(&issuer).await?;
        let process = self.controller.process().id();
        self.bug = Some(Bug::returns_false(process, RECOGNIZES)?);
        self.ask("linted", &issuer, |_| {}).await
    }

    /// Takes the folder of the log away, and has lines written until the file is old enough for a rotation.
    async fn have_a_rotation_fail(&self) -> Result<()> {
        let folder = self.folder.path();
        fs::rename(folder.join(LOGS), folder.join(AWAY))?;
        let asked = Cell::new(0_u32);
        until("the log to fail", WITHIN, async || {
            let name = format!("unlogged-{}", asked.get());
            self.ask(&name, &issuer(), |_| {}).await?;
            asked.set(asked.get() + 1);
            sleep(Duration::from_secs(1)).await;
            let metrics = self.controller.metrics().await?;
            let failing = metrics.sum("pkcs11_issuer_log_failing", &[]);
            Ok((failing > 0.0).then_some(()))
        })
        .await
    }

    /// Asks for the revocation of the certificate of a request.
    async fn revoke(&self, request: &str) -> Result<()> {
        let revocation = json!({
            "apiVersion": "pkcs11-issuer.dev/v1alpha1", "kind": "CertificateRevocation",
            "metadata": {"namespace": HERE, "name": request},
            "spec": {
                "issuerRef": issuer().reference(), "certificateRequestRef": {"name": request},
                "reason": "Superseded",
            },
        });
        self.cluster.apply(&revocation).await
    }

    async fn accepted(&self, revocation: &str) -> Result<()> {
        self.says(revocation, "Accepted").await
    }

    async fn published(&self, revocation: &str) -> Result<()> {
        self.says(revocation, "Published").await
    }

    /// Waits until a condition of a revocation is true.
    async fn says(&self, revocation: &str, condition: &str) -> Result<()> {
        let name = format!("certificaterevocation/{revocation}");
        let condition = format!("--for=condition={condition}");
        // The token's worker and the CRL may each pause for a minute between two tries.
        let within = format!("--timeout={}s", WITHIN.as_secs());
        let wait = ["wait", &condition, &within, "-n", HERE, &name];
        self.cluster.plane().kubectl(&wait).await.map(drop)
    }

    /// Has a line written to the issuance log, whatever the token does: the configuration is read again.
    pub(super) fn write_a_line(&self, number: u32) -> Result<()> {
        self.configure(|all| {
            let keys = &mut all["tokens"]["issuing"]["grants"][0]["keys"];
            if let Some(keys) = keys.as_array_mut() {
                keys.push(json!(format!("unused-{number}")));
            }
        })
    }
}
