//! etcd and kube-apiserver as plain processes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::audit::{self, AuditLog};
use crate::authority::{Authority, Pair};
use crate::folder::Folder;
use crate::kubeconfig;
use crate::poll::until;
use crate::ports::{free_ports, retry_on_taken_port};
use crate::process::{Process, Program};
use crate::tools::Tools;

const READY: Duration = Duration::from_secs(120);

/// How a control plane differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further flags of kube-apiserver, such as `--runtime-config=…` or `--feature-gates=…`.
    pub api_server_args: Vec<String>,
    /// The API server's audit policy, YAML; by default one that records every write with its content, which costs the
    /// API server time and the disk space.
    pub audit_policy: Option<String>,
}

/// A running control plane; dropping it ends its processes and removes its folder.
///
/// Its folder stays, and standard error says where, when it is dropped in a panic, that is when an assertion fails,
/// and always when the environment variable `CONTROL_PLANE_KEEP` is set.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields are dropped in this order: first the processes, then the folder that they write to.
    api_server: Process,
    etcd: Process,
    authority: Authority,
    url: String,
    etcd_url: String,
    tools: Tools,
    folder: Folder,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver and waits until `/readyz` says ok.
    ///
    /// # Errors
    ///
    /// When the programs are not built, or one of them ends or is not ready within two minutes; the message has the
    /// end of its log.
    pub async fn start(options: Options) -> Result<Self> {
        retry_on_taken_port(|| Self::try_start(&options)).await
    }

    async fn try_start(options: &Options) -> Result<Self> {
        let tools = Tools::locate()?;
        let folder = Folder::new()?;
        let authority = Authority::new()?;
        let [etcd_port, api_port] = free_ports()?;
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");

        // Nothing here has to outlive the machine, so etcd need not wait for the disk. Peers there are none: port 0.
        let etcd = Program::new(tools.program("etcd")?).args([
            format!("--data-dir={}", folder.path().join("etcd").display()),
            format!("--listen-client-urls={etcd_url}"),
            format!("--advertise-client-urls={etcd_url}"),
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            "--unsafe-no-fsync".to_owned(),
        ]);
        let api_server = Program::new(tools.program("kube-apiserver")?)
            .args(api_server_flags(
                &folder, &authority, &etcd_url, api_port, options,
            )?)
            .args(options.api_server_args.clone());

        let etcd = Process::start("etcd", etcd, folder.path())?;
        let api_server = Process::start("kube-apiserver", api_server, folder.path())?;
        let plane = Self {
            api_server,
            etcd,
            authority,
            url: format!("https://127.0.0.1:{api_port}"),
            etcd_url,
            tools,
            folder,
        };
        let admin = plane
            .authority
            .client("admin", Some("system:masters"), None)?;
        plane.write_kubeconfig("admin", &admin)?;
        plane.ready().await?;
        Ok(plane)
    }

    /// A new client with all rights, on the runtime that calls. Tests and processes under test use another identity.
    ///
    /// # Errors
    ///
    /// When the kubeconfig cannot be read.
    pub async fn admin(&self) -> Result<kube::Client> {
        self.client(&self.admin_kubeconfig()).await
    }

    /// A new client with the identity that a kubeconfig of this control plane has.
    ///
    /// # Errors
    ///
    /// When the kubeconfig cannot be read.
    pub async fn client(&self, kubeconfig: &Path) -> Result<kube::Client> {
        kubeconfig::client(kubeconfig).await
    }

    /// The kubeconfig of the identity with all rights.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.kubeconfig_path("admin")
    }

    /// Makes a kubeconfig whose bearer is this service account, in its two groups, as a Pod's token would make it.
    /// The account need not exist, RBAC decides by name.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let of_namespace = format!("system:serviceaccounts:{namespace}");
        let pair =
            self.authority
                .client(&user, Some("system:serviceaccounts"), Some(&of_namespace))?;
        self.write_kubeconfig(&format!("{namespace}.{name}"), &pair)
    }

    /// Makes a kubeconfig whose bearer is a user, perhaps in a group.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn user(&self, name: &str, group: Option<&str>) -> Result<PathBuf> {
        let pair = self.authority.client(name, group, None)?;
        self.write_kubeconfig(&format!("user-{name}"), &pair)
    }

    /// Runs kubectl with all rights and returns its standard output.
    ///
    /// # Errors
    ///
    /// When kubectl fails; the message is what it says.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.run_kubectl(&self.admin_kubeconfig(), args, "").await
    }

    /// Runs kubectl with the identity of a kubeconfig.
    ///
    /// # Errors
    ///
    /// When kubectl fails; the message is what it says.
    pub async fn kubectl_as(&self, kubeconfig: &Path, args: &[&str]) -> Result<String> {
        self.run_kubectl(kubeconfig, args, "").await
    }

    /// Runs [`helm`](crate::helm) in a namespace of this cluster, with all rights.
    ///
    /// # Errors
    ///
    /// As helm.
    pub async fn helm(&self, namespace: &str, args: &[&str]) -> Result<String> {
        let kubeconfig = self.admin_kubeconfig();
        let kubeconfig = kubeconfig
            .to_str()
            .context("the path of the kubeconfig is not UTF-8")?;
        let here = ["--namespace", namespace, "--kubeconfig", kubeconfig];
        crate::helm(&[args, &here].concat()).await
    }

    /// Applies manifests, YAML or JSON, server-side and with all rights.
    ///
    /// # Errors
    ///
    /// When kubectl fails; the message is what it says.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        self.run_kubectl(
            &self.admin_kubeconfig(),
            &["apply", "--server-side", "-f", "-"],
            manifests,
        )
        .await?;
        Ok(())
    }

    /// What the API server was asked for until now. A request is recorded when its answer is complete.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn audit_log(&self) -> Result<AuditLog> {
        AuditLog::read(&self.folder.path().join("audit.log"))
    }

    /// The API server's process, for its cost.
    pub fn api_server(&self) -> &Process {
        &self.api_server
    }

    /// etcd's process, likewise.
    pub fn etcd(&self) -> &Process {
        &self.etcd
    }

    /// Kills the API server, as when its machine loses power. etcd goes on.
    pub fn stop_api_server(&self) {
        self.api_server.kill();
    }

    /// Starts the API server again, on the same port and etcd, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// As [`ControlPlane::start`].
    pub async fn start_api_server(&self) -> Result<()> {
        retry_on_taken_port(async || {
            self.api_server.restart()?;
            self.ready().await
        })
        .await
    }

    /// Where etcd serves clients, without TLS: what is written there is not admitted by the API server.
    pub fn etcd_url(&self) -> &str {
        &self.etcd_url
    }

    /// What the keys of the API server's objects begin with in etcd, without a slash at its end.
    pub fn etcd_prefix(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// The URL of the API server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The CA certificate by which a client knows the API server, PEM.
    pub fn ca_certificate(&self) -> String {
        self.authority.certificate()
    }

    /// The folder with the logs of all processes. Processes under test may write theirs there as well.
    pub fn log_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The programs that this control plane runs.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// A certificate for a server on 127.0.0.1, and the CA certificate to check it with.
    pub(crate) fn serving_certificate(&self, name: &str) -> Result<(Pair, String)> {
        Ok((self.authority.server(name)?, self.authority.certificate()))
    }

    async fn ready(&self) -> Result<()> {
        let client = self.admin().await?;
        until("the API server to be ready", READY, async || {
            self.etcd.check_running()?;
            self.api_server.check_running()?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(client
                .request_text(request)
                .await
                .ok()
                .filter(|answer| answer == "ok"))
        })
        .await?;
        Ok(())
    }

    async fn run_kubectl(&self, kubeconfig: &Path, args: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new(self.tools.program("kubectl")?)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(args)
            // Discovery is cached by host and port, and another control plane may have had this port.
            .arg("--cache-dir")
            .arg(self.folder.path().join("kubectl"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start kubectl")?;
        let mut stdin = child
            .stdin
            .take()
            .context("open kubectl's standard input")?;
        let feed = async move {
            // A kubectl that does not read its input closes the pipe, which is no fault.
            drop(stdin.write_all(input.as_bytes()).await);
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output.context("wait for kubectl")?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        String::from_utf8(output.stdout).context("read what kubectl prints")
    }

    fn write_kubeconfig(&self, name: &str, client: &Pair) -> Result<PathBuf> {
        let text = kubeconfig::render(&self.url, &self.authority.certificate(), name, client);
        let path = self.kubeconfig_path(name);
        self.folder.write(&path, &text)?;
        Ok(path)
    }

    fn kubeconfig_path(&self, name: &str) -> PathBuf {
        self.folder
            .path()
            .join(format!("{}.kubeconfig", name.replace(['/', ':'], "-")))
    }
}

fn api_server_flags(
    folder: &Folder,
    authority: &Authority,
    etcd_url: &str,
    port: u16,
    options: &Options,
) -> Result<Vec<String>> {
    let file = |name: &str, content: &str| folder.write(&folder.path().join(name), content);
    let serving = authority.server("kube-apiserver")?;
    let tokens = authority.server("service-account-tokens")?;
    let ca = file("ca.crt", &authority.certificate())?;
    let certificate = file("kube-apiserver.crt", &serving.certificate)?;
    let key = file("kube-apiserver.key", &serving.key)?;
    let token_certificate = file("service-account-tokens.crt", &tokens.certificate)?;
    let token_key = file("service-account-tokens.key", &tokens.key)?;
    let policy = options.audit_policy.as_deref().unwrap_or(audit::POLICY);
    let policy = file("audit-policy.yaml", policy)?;
    Ok(vec![
        format!("--etcd-servers={etcd_url}"),
        // Its own, should it find another control plane's etcd where its own could not get the port.
        format!("--etcd-prefix={}", folder.path().display()),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--client-ca-file={}", ca.display()),
        format!("--tls-cert-file={}", certificate.display()),
        format!("--tls-private-key-file={}", key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", token_certificate.display()),
        format!("--service-account-signing-key-file={}", token_key.display()),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        // It waits for service accounts that only kube-controller-manager makes.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--allow-privileged".to_owned(),
        format!("--audit-policy-file={}", policy.display()),
        format!(
            "--audit-log-path={}",
            folder.path().join("audit.log").display()
        ),
        // Never rotated, so that one file has everything. In MB.
        "--audit-log-maxsize=100000".to_owned(),
    ])
}
