//! Runs a pod of the chart's workload as processes. Arguments, environment, configuration, volumes and identity come from
//! the objects on the API server. Images, addresses and paths of mounts are replaced, because a process cannot have them.

use anyhow::{Context as _, Result, bail, ensure};
use control_plane::{Process, Program, until};
use rig::{Cluster, PATIENCE, Programs};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
};

use super::{NAMESPACE, RELEASE, named, volumes::Volumes};

/// The UID of a pod that is not on the API server.
const UID: &str = "3a1ba5b4-6f4f-4a1e-9d0c-1f5ff1f1a001";

/// The processes of one pod. Dropping it kills them.
pub(crate) struct Pod {
    process: Process,
    _sidecars: Vec<Process>,
}

impl Pod {
    /// Starts the containers of the Deployment's pod template as kubelet does, the controller under the template's service
    /// account, and waits until the controller's probes succeed.
    pub(crate) async fn start(cluster: &Cluster, programs: &Programs, name: &str) -> Result<Self> {
        let deployment = read(cluster, "deployment", RELEASE).await?;
        let spec = &deployment["spec"]["template"]["spec"];
        let logs = cluster.plane().log_dir();
        let volumes = Volumes::bring(cluster, spec, &logs.join(name)).await?;
        let mut sidecars = Vec::new();
        for container in list(&spec["initContainers"]) {
            if container["restartPolicy"] == "Always" {
                ensure!(
                    container["command"][0] == "pkcs11-hsm-worker",
                    "{container}"
                );
                let program = program(&programs.worker, container, &volumes, name)?;
                let name = container["name"].as_str().context("no name")?;
                sidecars.push(Process::start(name, program, logs)?);
            } else {
                run_to_its_end(container, &volumes, name).await?;
            }
        }
        let container = named(&spec["containers"], "pkcs11-issuer")?;
        let account = spec["serviceAccountName"].as_str().context("no account")?;
        let kubeconfig = cluster.plane().service_account(NAMESPACE, account)?;
        let program = program(&programs.controller, container, &volumes, name)?
            .env("PKCS11_ISSUER_KUBECONFIG", kubeconfig)
            .env("PKCS11_ISSUER_WORKER", &programs.worker)
            .env("PKCS11_ISSUER_HEALTH_ADDRESS", "127.0.0.1:0")
            .env("PKCS11_ISSUER_METRICS_ADDRESS", "127.0.0.1:0")
            .separate_stdout();
        let pod = Self {
            process: Process::start(name, program, logs)?,
            _sidecars: sidecars,
        };
        probes_succeed(&pod.process, container).await?;
        Ok(pod)
    }

    /// Ends the pod as kubelet does.
    pub(crate) async fn stop(self) -> Result<()> {
        let status = self.process.terminate(PATIENCE).await?;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

/// Returns a container's program with its arguments and variables.
fn program(
    path: &std::path::Path,
    container: &Value,
    volumes: &Volumes,
    pod: &str,
) -> Result<Program> {
    let mut program = Program::new(path).args(texts(&container["args"], volumes)?);
    for (name, value) in variables(container, pod, UID)? {
        program = program.env(name, volumes.here(&value));
    }
    Ok(program)
}

/// Runs an init container with the programs of this machine and, as in a container, without a terminal.
async fn run_to_its_end(container: &Value, volumes: &Volumes, pod: &str) -> Result<()> {
    let variables = variables(container, pod, UID)?.into_iter();
    let output = Command::new("setsid")
        .arg("--wait")
        .args(texts(&container["command"], volumes)?)
        .args(texts(&container["args"], volumes)?)
        .envs(variables.map(|(name, value)| (name, volumes.here(&value))))
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("run setsid")?;
    ensure!(
        output.status.success(),
        "{}: {}{}",
        container["name"],
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn texts(list_of_texts: &Value, volumes: &Volumes) -> Result<Vec<String>> {
    let text = |value: &Value| Ok(volumes.here(value.as_str().context("no text")?));
    list(list_of_texts).map(text).collect()
}

/// Returns the environment of a container in a pod with this name and UID.
pub(super) fn variables(container: &Value, pod: &str, uid: &str) -> Result<Vec<(String, String)>> {
    let variable = |variable: &Value| {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.name") => pod,
            Some("metadata.uid") => uid,
            Some(other) => bail!("unknown field for a variable: {other}"),
            None => variable["value"].as_str().context("no value")?,
        };
        let name = variable["name"].as_str().context("no name")?;
        Ok((name.to_owned(), value.to_owned()))
    };
    list(&container["env"]).map(variable).collect()
}

/// Returns the elements of a list that may be absent.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Waits until the probes of a controller's container succeed. Takes the address from its log.
pub(super) async fn probes_succeed(process: &Process, container: &Value) -> Result<()> {
    let line = process.line(r#""message":"started""#, PATIENCE).await?;
    let line: Value = serde_json::from_str(&line)?;
    let address = line["health"].as_str().context("no address")?;
    for probe in ["livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str();
        let path = path.with_context(|| format!("no {probe}"))?;
        until(&format!("{path} to succeed"), PATIENCE, async || {
            process.check_running()?;
            Ok(succeeds(address, path).await?.then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Returns an object in the release namespace as the API server has it.
pub(crate) async fn read(cluster: &Cluster, kind: &str, name: &str) -> Result<Value> {
    let get = ["get", kind, name, "--namespace", NAMESPACE, "-o", "json"];
    Ok(serde_json::from_str(&cluster.plane().kubectl(&get).await?)?)
}

/// Whether a probe of this path succeeds.
async fn succeeds(address: &str, path: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}
