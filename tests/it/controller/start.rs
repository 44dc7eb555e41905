//! A controller that cannot start says so on stderr in one line and exits with a failure.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use control_plane::until;
use rig::PATIENCE;
use serde_json::json;

/// Runs the controller with a configuration and returns its exit code and stderr.
fn run(configuration: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("config.yaml");
    fs::write(&file, configuration)?;
    let output = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .arg("run")
        .arg("--config")
        .arg(&file)
        .args([
            "--health-address",
            "127.0.0.1:0",
            "--metrics-address",
            "127.0.0.1:0",
        ])
        .args(more)
        .env_clear()
        .output()?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

const GOOD: &str =
    "{modules: {m: {path: /lib/m.so}}, tokens: {t: {module: m, label: t, pinFile: /pin}}}";

#[test]
fn each_mistake_in_the_configuration_is_one_error_that_names_it() -> Result<()> {
    let cases = [
        ("{modules: {}, tokens: {}, more: 1}", "more"),
        (
            "{modules: {m: {path: lib.so}}, tokens: {t: {module: m, label: t, pinFile: /pin}}}",
            "lib.so",
        ),
        (
            "{modules: {m: {path: /lib/m.so}}, tokens: {t: {module: n, label: t, pinFile: /pin}}}",
            "n",
        ),
        (
            "{modules: {m: {path: /lib/m.so}}, tokens: {t: {module: m, pinFile: /pin}}}",
            "label",
        ),
    ];
    for (configuration, named) in cases {
        let (code, stderr) = run(configuration, &[])?;
        assert_eq!(code, Some(1), "{stderr}");
        let errors: Vec<_> = stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(errors.len(), 1, "{stderr}");
        assert!(
            errors[0].contains("config.yaml") && errors[0].contains(named),
            "{stderr}"
        );
    }
    Ok(())
}

#[test]
fn a_controller_without_a_cluster_says_which_setting_is_missing() -> Result<()> {
    let (code, stderr) = run(GOOD, &[])?;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("give --kubeconfig or set KUBECONFIG"),
        "{stderr}"
    );
    Ok(())
}

#[test]
fn a_controller_without_its_worker_program_says_which_flag_to_set() -> Result<()> {
    let (code, stderr) = run(GOOD, &["--worker", "/nowhere/worker"])?;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("/nowhere/worker; give --worker"),
        "{stderr}"
    );
    Ok(())
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a controller whose API server accepts connections and never answers.
fn waiting_for_an_api_server(server: &TcpListener, folder: &Path) -> Result<Running> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", server.local_addr()?)}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    });
    let (config, cluster) = (folder.join("config.yaml"), folder.join("kubeconfig"));
    fs::write(&config, GOOD)?;
    fs::write(&cluster, kubeconfig.to_string())?;
    let worker = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?.worker;
    let child = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .args(["run", "--health-address", "127.0.0.1:0"])
        .args(["--metrics-address", "127.0.0.1:0"])
        .args(["--cluster-resource-namespace", "ours", "--identity", "one"])
        .arg("--config")
        .arg(config)
        .arg("--kubeconfig")
        .arg(cluster)
        .arg("--worker")
        .arg(worker)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Running(child))
}

#[tokio::test]
async fn the_controller_gives_up_core_dumps_and_new_privileges() -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let folder = tempfile::tempdir()?;
    let running = waiting_for_an_api_server(&server, folder.path())?;
    let process = format!("/proc/{}", running.0.id());
    until("the controller to harden itself", PATIENCE, async || {
        let status = fs::read_to_string(format!("{process}/status"))?;
        Ok(status.contains("NoNewPrivs:\t1").then_some(()))
    })
    .await?;
    let limits = fs::read_to_string(format!("{process}/limits"))?;
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let core = core.context("/proc has no limit of core files")?;
    let core: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(core, ["0", "0"]);
    Ok(())
}
