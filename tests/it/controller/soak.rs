//! Tests changes of a cluster that inevitably take minutes: `make soak`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use control_plane::{ControlPlane, Options, install_cert_manager_kinds, until};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rig::{
    Authority, Cluster, Controller, ControllerOptions, IssuerName, NAMESPACE, apply_rights,
    csr_for, request_spec,
};
use serde_json::json;
use softhsm_test_helpers::KeyKind;

use super::{issuer, pods::pods, programs};

/// The client reads its token and the CA certificates of the API server again once a minute.
const RECOVERED_WITHIN: Duration = Duration::from_secs(150);
const ACCOUNT: &str = "pkcs11-issuer";

/// Credentials in files, as a pod has them: those of the API server as `localhost`, and the token of the controller.
struct Credentials(tempfile::TempDir);

impl Credentials {
    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Writes a serving certificate of a new CA, and the CA certificate.
    fn write_serving(&self, ca: &str) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, ca);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &ca)?;
        fs::write(self.path("serving.key"), key.serialize_pem())?;
        fs::write(self.path("serving.crt"), leaf.pem())?;
        fs::write(self.path("ca.crt"), ca.pem())?;
        Ok(())
    }

    /// Replaces the service account, which invalidates its earlier tokens, and writes a new token.
    async fn write_token(&self, plane: &ControlPlane) -> Result<()> {
        let of = ["serviceaccount", ACCOUNT, "--namespace", NAMESPACE];
        let gone = [&["delete", "--ignore-not-found"][..], &of].concat();
        plane.kubectl(&gone).await?;
        plane.kubectl(&[&["create"][..], &of].concat()).await?;
        let create = ["create", "token", ACCOUNT, "--namespace", NAMESPACE];
        let token = plane.kubectl(&create).await?;
        fs::write(self.path("token"), token.trim())?;
        Ok(())
    }

    fn kubeconfig(&self, plane: &ControlPlane) -> Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {
                "server": plane.url().replace("127.0.0.1", "localhost"),
                "certificate-authority": self.path("ca.crt"),
            }}],
            "users": [{"name": "u", "user": {"tokenFile": self.path("token")}}],
        });
        let path = self.path("kubeconfig");
        fs::write(&path, config.to_string())?;
        Ok(path)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path is not UTF-8")
}

async fn issues(cluster: &Cluster, name: &str) -> Result<()> {
    let requests = cluster.requests("default").await?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    requests.create(name, spec).await?;
    requests.approve(name).await?;
    until("a certificate", RECOVERED_WITHIN, async || {
        let status = requests.status(name).await?;
        let is_issued = status.ready().is_some_and(|ready| ready.reason == "Issued");
        Ok(is_issued.then_some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn new_credentials_and_kinds_of_the_cluster_are_used_without_a_restart() -> Result<()> {
    let programs = programs()?;
    let authority = Authority::new(KeyKind::P256)?;
    let credentials = Credentials(tempfile::tempdir()?);
    credentials.write_serving("first")?;
    let [certificate, key] = ["serving.crt", "serving.key"].map(|file| credentials.path(file));
    let sni = format!("{},{}", text(&certificate)?, text(&key)?);
    let bundles = |served: bool| {
        ["v1", "v1beta1"]
            .map(|version| format!("certificates.k8s.io/{version}/clustertrustbundles={served}"))
            .join(",")
    };
    let plane = ControlPlane::start(Options {
        api_server_args: vec![
            format!("--tls-sni-cert-key={sni}"),
            format!("--runtime-config={}", bundles(false)),
        ],
        ..Options::default()
    })
    .await?;
    install_cert_manager_kinds(&plane).await?;
    let cluster = Cluster::install(plane, None, &programs).await?;
    let plane = cluster.plane();
    apply_rights(plane, &json!({"clusterTrustBundles": true})).await?;
    credentials.write_token(plane).await?;
    let mut options = ControllerOptions::new(authority.configuration(&[]).to_string(), &programs);
    options.kubeconfig = Some(credentials.kubeconfig(plane)?);
    options.args = ["--cluster-trust-bundles", "--probe-interval", "5s"]
        .map(str::to_owned)
        .to_vec();
    let controller = Controller::start(&cluster, &options).await?;
    cluster
        .apply_issuer(&issuer(), &authority.issuer_spec())
        .await?;
    let pods_issuer = IssuerName::cluster("pods");
    let mut spec = authority.issuer_spec();
    spec["podCertificates"] = pods();
    cluster.apply_issuer(&pods_issuer, &spec).await?;
    issues(&cluster, "first").await?;

    // The API server now has a certificate of another CA, and serves ClusterTrustBundles.
    credentials.write_serving("second")?;
    plane.stop_api_server();
    let serve = format!("--runtime-config={}", bundles(true));
    plane.start_api_server_with(&[&serve]).await?;
    issues(&cluster, "after-the-ca").await?;
    let bundle = format!(
        "{}:trust-anchors",
        pods_issuer.signer_name().replace('/', ":")
    );
    until("the trust anchors", RECOVERED_WITHIN, async || {
        let get = ["get", "clustertrustbundle", bundle.as_str()];
        Ok(plane.kubectl(&get).await.ok())
    })
    .await?;

    // The API server no longer accepts the controller's token; the file has a new one.
    credentials.write_token(plane).await?;
    issues(&cluster, "after-the-token").await?;

    let log = controller.process().log()?;
    let lines = log.lines().count();
    ensure!(lines < 150, "{lines} lines:\n{log}");
    Ok(())
}
