//! Tests a cluster that lacks a kind or a right for a while. The controller is ready without cert-manager. It needs no
//! restart to use kinds and rights that come later or come back.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use control_plane::{Signal, install_cert_manager_kinds, until};
use rig::{
    Authority, Cluster, Controller, ControllerOptions, IssuerName, Metrics, NAMESPACE, PATIENCE,
    Programs, Status, apply_rights, csr_for, request_spec, signing_request_spec,
};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;
use tokio::time::Instant;

use super::{issuer, programs};

/// Longest time until the controller reacts to a change, with a margin for a machine under load.
const BACK_WITHIN: Duration = Duration::from_secs(15);
/// The namespace of a second installation.
const SECOND: &str = "second";
const FAILED: &str = "a list or watch has failed";

struct Case {
    // Dropped in this order.
    controller: Controller,
    cluster: Cluster,
    authority: Authority,
    programs: Programs,
}

impl Case {
    /// Starts a controller in a cluster without cert-manager, and waits until it is ready.
    async fn start() -> Result<Self> {
        let programs = programs()?;
        let authority = Authority::new(KeyKind::P256)?;
        let cluster = Cluster::start_without_cert_manager(&programs).await?;
        let configuration = authority.configuration(&[]).to_string();
        let options = ControllerOptions::new(configuration, &programs);
        Ok(Self {
            controller: Controller::start(&cluster, &options).await?,
            cluster,
            authority,
            programs,
        })
    }

    async fn issues_a_kubernetes_csr(&self, name: &str) -> Result<()> {
        let requests = self.cluster.signing_requests("csr-maker").await?;
        let spec = signing_request_spec(&issuer(), &csr_for("web.example")?);
        requests.create(name, spec, json!({})).await?;
        requests.approve(name).await?;
        requests.is_issued(name).await.map(drop)
    }

    async fn issues_a_certificate_request(&self, name: &str) -> Result<()> {
        let requests = self.cluster.requests("default").await?;
        let spec = request_spec(&issuer(), &csr_for("web.example")?);
        requests.create(name, spec).await?;
        requests.approve(name).await?;
        requests.reaches(name, "Issued").await.map(drop)
    }

    async fn failures(&self, kind: &str) -> Result<f64> {
        let metrics = self.controller.metrics().await?;
        Ok(metrics.sum("pkcs11_issuer_watch_failures_total", &[("kind", kind)]))
    }

    /// Waits until the metrics count this many issuers.
    async fn counts_issuers(&self, count: f64) -> Result<()> {
        until("the issuers to be counted", PATIENCE, async || {
            let metrics = self.controller.metrics().await?;
            let counted = metrics.sum("pkcs11_issuer_issuers", &[]);
            Ok((counted.to_bits() == count.to_bits()).then_some(()))
        })
        .await
    }

    /// Installs or upgrades a chart with only the cluster issuer. Helm waits for the issuer by the rules of kstatus.
    async fn helm_installs_the_issuer(&self, timeout: &str) -> Result<()> {
        let chart = self.cluster.plane().log_dir().join("issuer-chart");
        fs::create_dir_all(chart.join("templates"))?;
        let about = json!({"apiVersion": "v2", "name": "issuer", "version": "1.0.0"});
        fs::write(chart.join("Chart.yaml"), about.to_string())?;
        let object = json!({
            "apiVersion": "pkcs11-issuer.dev/v1alpha1", "kind": "PKCS11ClusterIssuer",
            "metadata": {"name": "issuing"}, "spec": self.authority.issuer_spec(),
        });
        fs::write(chart.join("templates/issuer.yaml"), object.to_string())?;
        let chart = chart.to_str().context("not UTF-8")?;
        let upgrade = ["upgrade", "--install", "issuer", chart, "--wait"];
        let helm = [&upgrade[..], &["--timeout", timeout]].concat();
        self.cluster.plane().helm("default", &helm).await.map(drop)
    }
}

/// Helm waits for the first look at an issuer, however long that takes.
async fn helm_waits_for_the_first_look(case: &Case) -> Result<()> {
    case.controller.process().signal(Signal::STOP)?;
    let waited = case.helm_installs_the_issuer("3s").await;
    let status = case.cluster.issuer_status(&issuer()).await;
    case.controller.process().signal(Signal::CONT)?;
    ensure!(
        waited.is_err(),
        "helm has not waited for an issuer that nobody has looked at"
    );
    assert_eq!(*status?.json(), json!({"observedGeneration": -1}));
    case.helm_installs_the_issuer("60s").await?;
    let status = case.cluster.issuer_status(&issuer()).await?;
    let ready = status.ready().context("no condition")?;
    assert_eq!(ready.status, "True");
    assert_eq!(status.json()["observedGeneration"], 1);
    Ok(())
}

/// Takes the rights away, ends all watches, and gives the rights back.
async fn rights_come_back(case: &Case) -> Result<()> {
    let plane = case.cluster.plane();
    let binding = ["delete", "clusterrolebinding", "pkcs11-issuer"];
    plane.kubectl(&binding).await?;
    plane.stop_api_server();
    plane.start_api_server().await?;
    let before = case.failures("CertificateSigningRequest").await?;
    until("refused watches", PATIENCE, async || {
        let failed = case.failures("CertificateSigningRequest").await?;
        Ok((failed >= before + 8.0).then_some(()))
    })
    .await?;
    let log = case.controller.process().log()?;
    let lines: Vec<Value> = log
        .lines()
        .filter(|line| line.contains(FAILED) && line.contains("forbidden"))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    for kind in ["CertificateSigningRequest", "PKCS11ClusterIssuer"] {
        let of_kind = lines.iter().filter(|line| line["kind"] == kind);
        let errors = of_kind.map(|line| line["error"].as_str().context("no error"));
        let errors: Vec<_> = errors.collect::<Result<_>>()?;
        // An API server that has just started gives several reasons.
        ensure!((1..=4).contains(&errors.len()), "{kind}: {errors:#?}");
        let again = errors.windows(2).any(|two| two[0] == two[1]);
        ensure!(!again, "{kind}: {errors:#?}");
    }
    ensure!(
        !log.contains("ApiError") && !log.contains("Status {"),
        "{log}"
    );
    apply_rights(plane, &json!({})).await?;
    case.issues_a_kubernetes_csr("rights-back").await
}

/// Removes our kinds, and with them every issuer, and installs them again.
async fn our_kinds_come_back(case: &Case) -> Result<()> {
    let before = case.failures("PKCS11ClusterIssuer").await?;
    case.cluster.remove_kinds().await?;
    case.counts_issuers(0.0).await?;
    until("watches of the missing kinds", PATIENCE, async || {
        let failed = case.failures("PKCS11ClusterIssuer").await?;
        Ok((failed >= before + 4.0).then_some(()))
    })
    .await?;
    case.cluster.install_kinds(&case.programs).await?;
    let spec = case.authority.issuer_spec();
    case.cluster.apply_issuer(&issuer(), &spec).await?;
    let applied = Instant::now();
    case.cluster.issuer_is_ready(&issuer()).await?;
    let took = applied.elapsed();
    eprintln!("our kinds came back: {took:?}");
    ensure!(took < BACK_WITHIN, "{took:?}");
    case.issues_a_kubernetes_csr("kinds-back").await
}

/// Checks that the annotation triggers a look: the issuer reports that its Secret is gone before the next round.
async fn an_annotation_asks_for_a_look(case: &Case) -> Result<()> {
    let name = IssuerName::cluster("asked");
    let spec = case.authority.issuer_spec_with_secret("asked-ca");
    case.cluster.apply_issuer(&name, &spec).await?;
    let missing = |status: &Status| {
        status
            .ready()
            .is_some_and(|ready| ready.reason == "CertificateMissing")
    };
    case.cluster.issuer_reaches(&name, missing).await?;
    let chain = case.authority.chain();
    case.cluster
        .apply_secret(NAMESPACE, "asked-ca", &chain)
        .await?;
    case.cluster.issuer_is_ready(&name).await?;
    // A ready issuer is not looked at again before the next round, in 45 to 60 seconds.
    let delete = ["delete", "secret", "asked-ca", "-n", NAMESPACE];
    case.cluster.plane().kubectl(&delete).await?;
    let look = "pkcs11-issuer.dev/look=now";
    let annotate = ["annotate", "pkcs11clusterissuer", "asked", look];
    case.cluster.plane().kubectl(&annotate).await?;
    let asked = Instant::now();
    case.cluster.issuer_reaches(&name, missing).await?;
    ensure!(asked.elapsed() < BACK_WITHIN, "{:?}", asked.elapsed());
    Ok(())
}

/// Starts the controller of a second installation, whose only token is called `other`.
async fn second(case: &Case, name: &str, args: &[&str]) -> Result<Controller> {
    let mut configuration = case.authority.configuration(&[]);
    let tokens = configuration["tokens"]
        .as_object_mut()
        .context("no tokens")?;
    let token = tokens.remove("issuing").context("no token")?;
    tokens.insert("other".to_owned(), token);
    let options = ControllerOptions {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        kubeconfig: Some(case.cluster.plane().admin_kubeconfig()),
        namespace: SECOND.to_owned(),
        name: name.to_owned(),
        ..ControllerOptions::new(configuration.to_string(), &case.programs)
    };
    Controller::start(&case.cluster, &options).await
}

fn clashes(metrics: &Metrics) -> f64 {
    metrics.sum("pkcs11_issuer_clashes_total", &[])
}

/// A second installation without a class gives way to the first, and both say so.
async fn a_second_installation_gives_way(case: &Case) -> Result<()> {
    case.cluster.create_namespace(SECOND).await?;
    let second = second(case, "second", &[]).await?;
    for (controller, said) in [
        (&case.controller, "also answers this issuer"),
        (&second, "left an issuer to"),
    ] {
        let line = controller.process().line(said, PATIENCE).await?;
        let line: Value = serde_json::from_str(&line)?;
        assert_eq!(line["issuer"], issuer().to_string());
        assert_eq!(clashes(&controller.metrics().await?), 1.0);
    }
    let status = case.cluster.issuer_is_ready(&issuer()).await?;
    assert_eq!(status.json()["installation"], NAMESPACE);
    case.issues_a_kubernetes_csr("first-of-two").await?;
    ensure!(second.stop().await?.success());
    Ok(())
}

/// A second installation with a class answers the issuers of its class, and the first leaves them alone.
async fn classes_divide_the_issuers(case: &Case) -> Result<()> {
    let second = second(case, "classy", &["--class", "second"]).await?;
    let name = IssuerName::cluster("of-second");
    let mut spec = case.authority.issuer_spec();
    spec["class"] = json!("second");
    case.cluster.apply_issuer(&name, &spec).await?;
    let requests = case.cluster.signing_requests("csr-maker").await?;
    let request = signing_request_spec(&name, &csr_for("web.example")?);
    requests.create("of-second", request, json!({})).await?;
    requests.approve("of-second").await?;
    let answered = case.cluster.issuer_reaches(&name, |status| {
        status.json()["installation"] == SECOND
            && status
                .ready()
                .is_some_and(|ready| ready.reason == "TokenUnknown")
    });
    answered.await?;
    // The first answers its own issuer meanwhile, and the second leaves that alone.
    case.issues_a_kubernetes_csr("of-first").await?;
    assert_eq!(clashes(&second.metrics().await?), 0.0);
    let log = case.cluster.plane().audit_log()?.writes();
    let written = log.by(rig::CONTROLLER).of("", "of-second");
    ensure!(written.iter().next().is_none(), "{written:?}");
    spec["class"] = json!("");
    let changed = case.cluster.apply_issuer(&name, &spec).await;
    let refused = format!("{:#}", changed.err().context("the class has changed")?);
    ensure!(refused.contains("class never changes"), "{refused}");
    ensure!(second.stop().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_and_rights_that_come_or_come_back_are_used_without_a_restart() -> Result<()> {
    let case = Case::start().await?;
    helm_waits_for_the_first_look(&case).await?;
    case.issues_a_kubernetes_csr("alone").await?;
    assert_eq!(case.failures("CertificateRequest").await?, 0.0);

    install_cert_manager_kinds(case.cluster.plane()).await?;
    let installed = Instant::now();
    case.issues_a_certificate_request("later").await?;
    eprintln!("cert-manager came: {:?}", installed.elapsed());

    rights_come_back(&case).await?;
    our_kinds_come_back(&case).await?;
    a_second_installation_gives_way(&case).await?;
    classes_divide_the_issuers(&case).await?;
    an_annotation_asks_for_a_look(&case).await?;

    let deleted = Instant::now();
    let delete = ["delete", "pkcs11clusterissuer", "--all"];
    case.cluster.plane().kubectl(&delete).await?;
    case.counts_issuers(0.0).await?;
    eprintln!("a deleted issuer was counted for {:?}", deleted.elapsed());
    Ok(())
}
