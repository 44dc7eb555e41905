//! A pod of the chart's workload as a process: its arguments, environment, configuration and identity are read from what
//! the API server has, not retyped. What a process cannot have is replaced: addresses, and paths of mounts.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use control_plane::{Process, Program, until};
use rig::{Cluster, PATIENCE, Programs};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{NAMESPACE, RELEASE, named};

/// The controller of one pod. Dropping it kills it.
pub(super) struct Pod {
    process: Process,
}

impl Pod {
    /// Starts the first container of the Deployment's pod template, under the template's service account, and waits
    /// until its probes succeed.
    pub(super) async fn start(cluster: &Cluster, programs: &Programs, name: &str) -> Result<Self> {
        let deployment = read(cluster, "deployment", RELEASE).await?;
        let spec = &deployment["spec"]["template"]["spec"];
        let container = named(&spec["containers"], "pkcs11-issuer")?;
        let account = spec["serviceAccountName"].as_str().context("no account")?;
        let kubeconfig = cluster.plane().service_account(NAMESPACE, account)?;

        let folder = cluster.plane().log_dir().join(name);
        let mut program = Program::new(&programs.controller)
            .env("PKCS11_ISSUER_KUBECONFIG", kubeconfig)
            .env("PKCS11_ISSUER_WORKER", &programs.worker)
            .env("PKCS11_ISSUER_HEALTH_ADDRESS", "127.0.0.1:0")
            .env("PKCS11_ISSUER_METRICS_ADDRESS", "127.0.0.1:0")
            .separate_stdout();
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => name,
                Some("metadata.uid") => "3a1ba5b4-6f4f-4a1e-9d0c-1f5ff1f1a001",
                Some(other) => bail!("no pod has {other} here"),
                None => variable["value"].as_str().context("no value")?,
            };
            program = program.env(variable["name"].as_str().context("no name")?, value);
        }
        let mut args = Vec::new();
        for arg in container["args"].as_array().context("no arguments")? {
            args.push(arg.as_str().context("no text")?.to_owned());
        }
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let volume = named(&spec["volumes"], mount["name"].as_str().context("no name")?)?;
            let config_map = volume["configMap"]["name"]
                .as_str()
                .context("no ConfigMap")?;
            let content = read(cluster, "configmap", config_map).await?;
            write(&folder, &content["data"])?;
            let path = mount["mountPath"].as_str().context("no path")?;
            let here = folder.to_str().context("not UTF-8")?;
            for arg in &mut args {
                *arg = arg.replace(path, here);
            }
        }
        let pod = Self {
            process: Process::start(name, program.args(args), cluster.plane().log_dir())?,
        };
        probes_succeed(&pod.process, container).await?;
        Ok(pod)
    }

    /// Ends it as the kubelet does.
    pub(super) async fn stop(self) -> Result<()> {
        let status = self.process.terminate(PATIENCE).await?;
        anyhow::ensure!(status.success(), "{status}");
        Ok(())
    }
}

/// Waits until the probes of a controller's container succeed. Its log tells where it answers.
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

/// An object of the release namespace, as the API server has it.
pub(super) async fn read(cluster: &Cluster, kind: &str, name: &str) -> Result<Value> {
    let get = ["get", kind, name, "--namespace", NAMESPACE, "-o", "json"];
    Ok(serde_json::from_str(&cluster.plane().kubectl(&get).await?)?)
}

/// Whether a probe of this path would succeed.
async fn succeeds(address: &str, path: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}

fn write(folder: &Path, data: &Value) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (file, text) in data.as_object().context("no data")? {
        fs::write(folder.join(file), text.as_str().context("no text")?)?;
    }
    Ok(())
}
