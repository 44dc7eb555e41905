//! Tests the containers of the pod: their arguments, images, mounts, devices and privileges.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use pkcs11_issuer::{
    args::{Args, Command},
    config::Config,
};
use serde_json::{Value, json};

use super::{named, render, value_set, value_sets, workload};

/// Returns the controller's container.
async fn controller(values: &Value) -> Result<Value> {
    let objects = render(values).await?;
    let containers = &workload(&objects)?["spec"]["template"]["spec"]["containers"];
    Ok(named(containers, "pkcs11-issuer")?.clone())
}

#[tokio::test]
async fn the_program_takes_the_arguments_and_the_configuration_of_every_value_set() -> Result<()> {
    for set in value_sets()? {
        let objects = render(&set.values).await?;
        let containers = &workload(&objects)?["spec"]["template"]["spec"]["containers"];
        let args = named(containers, "pkcs11-issuer")?["args"].as_array();
        let args = args
            .context("no arguments")?
            .iter()
            .filter_map(Value::as_str);
        Args::try_parse_from(std::iter::once("pkcs11-issuer").chain(args))
            .with_context(|| set.name.clone())?;
        let text = only_config(&objects)?;
        let config =
            Config::parse(Path::new("config.yaml"), text).with_context(|| set.name.clone())?;
        let configured: Vec<_> = config.tokens().map(|token| token.name()).collect();
        let wanted: Vec<_> = set.values["tokens"]
            .as_object()
            .context("tokens")?
            .keys()
            .collect();
        assert_eq!(configured, wanted, "{}", set.name);
    }
    Ok(())
}

#[tokio::test]
async fn health_and_metrics_listen_at_the_configured_address() -> Result<()> {
    for (listen, address) in [("::", "[::]"), ("0.0.0.0", "0.0.0.0")] {
        let values = value_set("softhsm", json!({"listenAddress": listen}))?;
        let container = controller(&values).await?;
        let args = container["args"].as_array().context("no arguments")?;
        let args = args.iter().filter_map(Value::as_str);
        let args = Args::try_parse_from(std::iter::once("pkcs11-issuer").chain(args))?;
        let Command::Run(run) = args.command else {
            anyhow::bail!("run was expected");
        };
        assert_eq!(run.health_address.to_string(), format!("{address}:8081"));
        assert_eq!(run.metrics_address.to_string(), format!("{address}:9402"));
    }
    Ok(())
}

#[tokio::test]
async fn the_controller_and_then_its_sidecars_end_before_the_kubelet_kills_them() -> Result<()> {
    for (grace, drain) in [(2, 1), (3, 2), (30, 20), (600, 400)] {
        let changes = json!({"terminationGracePeriodSeconds": grace});
        let objects = render(&value_set("sidecar", changes)?).await?;
        let pod = &workload(&objects)?["spec"]["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], grace);
        let args = named(&pod["containers"], "pkcs11-issuer")?["args"].to_string();
        let told = format!("\"--drain-timeout={drain}s\"");
        assert!(args.contains(&told), "{told}: {args}");
        let sidecar = &named(&pod["initContainers"], "hsm-softhsm")?["args"];
        let told = sidecar.as_array().context("no arguments")?.iter();
        let mut told = told.filter_map(|arg| arg.as_str()?.strip_prefix("--drain-timeout="));
        let seconds: u32 = told.next().context("no drain time")?.parse()?;
        assert!((drain..grace).contains(&seconds), "{seconds} of {grace}");
    }
    Ok(())
}

fn only_config(objects: &[Value]) -> Result<&str> {
    let mut texts = objects
        .iter()
        .filter_map(|object| object["data"]["config.yaml"].as_str());
    texts.next().context("no configuration")
}

#[tokio::test]
async fn a_sidecar_listens_on_the_configured_socket_and_runs_as_the_same_user() -> Result<()> {
    let objects = render(&value_set("sidecar", json!({}))?).await?;
    let pod = &workload(&objects)?["spec"]["template"]["spec"];
    let sidecar = named(&pod["initContainers"], "hsm-softhsm")?;
    let controller = named(&pod["containers"], "pkcs11-issuer")?;
    assert_eq!(sidecar["restartPolicy"], "Always");
    let socket = "/run/hsm/softhsm/worker.sock";
    assert_eq!(
        sidecar["args"],
        json!([
            "listen",
            "--module=/usr/lib/softhsm/libsofthsm2.so",
            format!("--socket={socket}"),
            "--drain-timeout=25",
            "--log-format=json"
        ])
    );
    let config: Value = serde_saphyr::from_str(only_config(&objects)?)?;
    assert_eq!(config["modules"], json!({"softhsm": {"socket": socket}}));
    for container in [sidecar, controller] {
        let mount = named(&container["volumeMounts"], "hsm-softhsm")?;
        assert_eq!(mount["mountPath"], "/run/hsm/softhsm");
        assert_eq!(container["securityContext"]["runAsUser"], Value::Null);
    }
    assert_eq!(
        named(&pod["volumes"], "hsm-softhsm")?["emptyDir"],
        json!({})
    );
    assert_eq!(
        named(&sidecar["env"], "SOFTHSM2_CONF")?["value"],
        "/etc/softhsm/softhsm2.conf"
    );
    Ok(())
}

#[tokio::test]
async fn a_copied_library_is_fetched_before_the_controller_starts() -> Result<()> {
    let objects = render(&value_set("copied-library", json!({}))?).await?;
    let pod = &workload(&objects)?["spec"]["template"]["spec"];
    let copy = named(&pod["initContainers"], "copy-luna")?;
    assert_eq!(
        copy["command"],
        json!([
            "cp",
            "-R",
            "-L",
            "/usr/safenet/lunaclient/.",
            "/opt/hsm/luna/"
        ])
    );
    assert!(
        copy["image"]
            .as_str()
            .context("image")?
            .contains("@sha256:0000")
    );
    let controller = named(&pod["containers"], "pkcs11-issuer")?;
    let mount = named(&controller["volumeMounts"], "hsm-luna")?;
    assert_eq!(mount["readOnly"], true);
    Ok(())
}

#[tokio::test]
async fn devices_and_privileges_go_to_the_container_that_loads_the_library() -> Result<()> {
    let own = value_set(
        "device-plugin",
        json!({"modules": {"pcie": {"privileged": true}}}),
    )?;
    let controller = controller(&own).await?;
    assert_eq!(controller["resources"]["limits"]["vendor.example/hsm"], 1);
    assert_eq!(controller["securityContext"]["privileged"], true);

    let device = json!({"devices": {"vendor.example/hsm": 2}, "privileged": true});
    let values = value_set("sidecar", json!({"modules": {"softhsm": device}}))?;
    let objects = render(&values).await?;
    let pod = &workload(&objects)?["spec"]["template"]["spec"];
    let sidecar = named(&pod["initContainers"], "hsm-softhsm")?;
    assert_eq!(sidecar["resources"]["limits"]["vendor.example/hsm"], 2);
    assert_eq!(sidecar["securityContext"]["privileged"], true);
    let controller = named(&pod["containers"], "pkcs11-issuer")?;
    assert_eq!(
        controller["resources"]["limits"]["vendor.example/hsm"],
        Value::Null
    );
    assert_eq!(controller["securityContext"]["privileged"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn an_image_is_named_by_its_digest_or_by_the_version_of_the_program() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let digest = format!("sha256:{}", "1".repeat(64));
    let repository = "ghcr.io/pkcs11-issuer/pkcs11-issuer";
    for (image, wanted) in [
        (json!({}), format!("{repository}:{version}")),
        (json!({"tag": "edge"}), format!("{repository}:edge")),
        (json!({"digest": digest}), format!("{repository}@{digest}")),
        (
            json!({"tag": "edge", "digest": digest}),
            format!("{repository}:edge@{digest}"),
        ),
    ] {
        let values = value_set("softhsm", json!({"image": image}))?;
        assert_eq!(controller(&values).await?["image"], wanted);
    }
    Ok(())
}
