//! Runs etcd and kube-apiserver as plain processes.

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

/// Options of a control plane.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further flags of kube-apiserver, such as `--runtime-config=…` or `--feature-gates=…`.
    pub api_server_args: Vec<String>,
    /// The API server's audit policy in YAML. The default policy records every write with its content, which takes time in
    /// the API server and space on the disk.
    pub audit_policy: Option<String>,
}

/// A running control plane. Dropping it ends its processes and removes its folder.
///
/// The folder is kept, and its path printed on standard error, when the control plane is dropped in a panic (when an
/// assertion fails) or when the environment variable `CONTROL_PLANE_KEEP` is set.
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
    /// When the programs are not built, or one of them ends or is not ready within two minutes; the message quotes the end
    /// of its log.
    pub async fn start(options: Options) -> Result<Self> {
        retry_on_taken_port(|| Self::try_start(&options)).await
    }

    async fn try_start(options: &Options) -> Result<Self> {
        let tools = Tools::locate()?;
        let folder = Folder::new()?;
        let authority = Authority::new()?;
        let [etcd_port, api_port] = free_ports()?;
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");

        // The data need not survive a crash of the machine, so etcd does not wait for the disk. There are no peers: port 0.
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

    /// Returns a new client of the calling runtime, with all rights. Processes under test use another identity.
    ///
    /// # Errors
    ///
    /// When the kubeconfig cannot be read.
    pub async fn admin(&self) -> Result<kube::Client> {
        self.client(&self.admin_kubeconfig()).await
    }

    /// Returns a new client of the calling runtime, with the identity of a kubeconfig.
    ///
    /// # Errors
    ///
    /// When the kubeconfig cannot be read.
    pub async fn client(&self, kubeconfig: &Path) -> Result<kube::Client> {
        kubeconfig::client(kubeconfig).await
    }

    /// Returns the path of the kubeconfig with all rights.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.kubeconfig_path("admin")
    }

    /// Writes a kubeconfig with the identity of this service account and its two groups, as a Pod's token would have.
    /// The account need not exist, because RBAC decides by name.
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

    /// Writes a kubeconfig with the identity of a user, optionally in a group.
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
    /// When kubectl fails; the message is kubectl's.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.run_kubectl(&self.admin_kubeconfig(), args, "").await
    }

    /// Runs kubectl with the identity of a kubeconfig.
    ///
    /// # Errors
    ///
    /// When kubectl fails; the message is kubectl's.
    pub async fn kubectl_as(&self, kubeconfig: &Path, args: &[&str]) -> Result<String> {
        self.run_kubectl(kubeconfig, args, "").await
    }

    /// Runs [`helm`](crate::helm) in a namespace of this cluster, with all rights.
    ///
    /// # Errors
    ///
    /// As [`helm`](crate::helm).
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
    /// When kubectl fails; the message is kubectl's.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        self.run_kubectl(
            &self.admin_kubeconfig(),
            &["apply", "--server-side", "-f", "-"],
            manifests,
        )
        .await?;
        Ok(())
    }

    /// Returns the requests to the API server so far. A request is logged when its response is complete.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn audit_log(&self) -> Result<AuditLog> {
        AuditLog::read(&self.folder.path().join("audit.log"))
    }

    /// Returns the API server's process, to measure its resources.
    pub fn api_server(&self) -> &Process {
        &self.api_server
    }

    /// Returns etcd's process, to measure its resources.
    pub fn etcd(&self) -> &Process {
        &self.etcd
    }

    /// Kills the API server, as when its machine loses power. etcd continues to run.
    pub fn stop_api_server(&self) {
        self.api_server.kill();
    }

    /// Starts the API server again, on the same port and etcd, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// As [`ControlPlane::start`].
    pub async fn start_api_server(&self) -> Result<()> {
        self.start_api_server_with(&[]).await
    }

    /// Starts the API server again, like [`ControlPlane::start_api_server`], with further flags for this run only.
    ///
    /// # Errors
    ///
    /// As [`ControlPlane::start`].
    pub async fn start_api_server_with(&self, more: &[&str]) -> Result<()> {
        retry_on_taken_port(async || {
            self.api_server.restart_with(more)?;
            self.ready().await
        })
        .await
    }

    /// Returns the URL of etcd, without TLS. Writes to it bypass the admission by the API server.
    pub fn etcd_url(&self) -> &str {
        &self.etcd_url
    }

    /// Returns the prefix of the API server's keys in etcd, without a trailing slash.
    pub fn etcd_prefix(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Returns the URL of the API server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the CA certificate with which a client verifies the API server, in PEM.
    pub fn ca_certificate(&self) -> String {
        self.authority.certificate()
    }

    /// Returns the folder with the logs of all processes. Processes under test may write their logs there as well.
    pub fn log_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the programs that this control plane runs.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Issues a certificate for a server on 127.0.0.1, and returns it with the CA certificate that verifies it.
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
            // kubectl caches discovery by host and port, and an earlier control plane may have had this port.
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
            // kubectl may close the pipe without reading its input; that is not an error.
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
        // Unique, in case another control plane's etcd has taken the port of its own etcd.
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
        // This plug-in waits for service accounts that only kube-controller-manager creates.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--allow-privileged".to_owned(),
        format!("--audit-policy-file={}", policy.display()),
        format!(
            "--audit-log-path={}",
            folder.path().join("audit.log").display()
        ),
        // In MB. So large that the log is never rotated and one file has everything.
        "--audit-log-maxsize=100000".to_owned(),
    ])
}
