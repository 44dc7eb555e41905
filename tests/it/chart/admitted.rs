//! Tests with a real API server that every object of the chart is valid, and that every pod passes Pod Security
//! *restricted*, except for the one rule that host paths break.

use std::fs;

use anyhow::{Context as _, Result};
use control_plane::{ControlPlane, Options, install_monitors};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{render, value_sets, workload};

/// Namespaces with two levels of Pod Security, and the namespaces that the value sets name.
const NAMESPACES: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: pkcs11-issuer-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: payments}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: restricted, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Namespace
metadata: {name: privileged, labels: {pod-security.kubernetes.io/enforce: privileged}}
";

async fn plane() -> Result<&'static ControlPlane> {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_try_init(async || {
            let plane = ControlPlane::start(Options::default()).await?;
            plane.apply(NAMESPACES).await?;
            install_monitors(&plane).await?;
            anyhow::Ok(plane)
        })
        .await
}

/// Applies objects in a server-side dry run with strict validation of fields. A warning is an error.
async fn dry_run(
    plane: &ControlPlane,
    command: &[&str],
    name: &str,
    object: &Value,
) -> Result<String> {
    let file = plane.log_dir().join(format!("{name}.json"));
    fs::write(&file, object.to_string())?;
    let file = file.to_str().context("not UTF-8")?;
    let mut args = command.to_vec();
    args.extend([
        "--dry-run=server",
        "--validate=strict",
        "--warnings-as-errors",
        "-f",
        file,
    ]);
    plane.kubectl(&args).await
}

/// Returns the pod of a workload as an object of its own, in a namespace.
async fn pod(plane: &ControlPlane, set: &str, values: &Value, namespace: &str) -> Result<String> {
    let objects = render(values).await?;
    let template = &workload(&objects)?["spec"]["template"];
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]});
    pod["metadata"] = template["metadata"].clone();
    pod["metadata"]["name"] = json!("pkcs11-issuer");
    pod["metadata"]["namespace"] = json!(namespace);
    dry_run(plane, &["create"], &format!("pod-{set}-{namespace}"), &pod).await
}

#[tokio::test]
async fn the_api_server_admits_every_object_of_every_value_set() -> Result<()> {
    let plane = plane().await?;
    for set in value_sets()? {
        let objects = render(&set.values).await?;
        let count = objects.len();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let command = ["apply", "--server-side"];
        let said = dry_run(plane, &command, &set.name, &list)
            .await
            .with_context(|| set.name.clone())?;
        let admitted = said
            .lines()
            .filter(|line| line.ends_with("(server dry run)"));
        assert_eq!(admitted.count(), count, "{}: {said}", set.name);
    }
    Ok(())
}

#[tokio::test]
async fn the_check_of_objects_detects_an_unknown_field_and_a_wrong_value() -> Result<()> {
    let plane = plane().await?;
    let values = super::value_set("softhsm", json!({}))?;
    let objects = render(&values).await?;
    for (name, pointer, value) in [
        ("unknown-field", "/spec/template/spec/extra", json!(1)),
        ("wrong-value", "/spec/replicas", json!(-1)),
    ] {
        let mut wrong = workload(&objects)?.clone();
        let (parent, field) = pointer.rsplit_once('/').context("a pointer")?;
        wrong.pointer_mut(parent).context("a field")?[field] = value;
        assert!(
            dry_run(plane, &["apply", "--server-side"], name, &wrong)
                .await
                .is_err(),
            "{name}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn every_pod_is_restricted_except_for_host_path_volumes() -> Result<()> {
    let plane = plane().await?;
    for set in value_sets()? {
        let said = pod(plane, &set.name, &set.values, "restricted").await;
        if set.name != "host-device" {
            said.with_context(|| set.name.clone())?;
            continue;
        }
        let refused = said
            .err()
            .context("host paths must not be admitted")?
            .to_string();
        let (_, broken) = refused
            .split_once("violates PodSecurity \"restricted:latest\": ")
            .context(refused.clone())?;
        assert_eq!(
            broken,
            "restricted volume types (volumes \"hsm-pcie-0\", \"hsm-pcie-1\" use restricted volume type \"hostPath\")"
        );
        pod(plane, &set.name, &set.values, "privileged").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_privileged_container_is_valid_and_needs_a_privileged_namespace() -> Result<()> {
    let plane = plane().await?;
    let privileged = json!({"modules": {"pcie": {"privileged": true}}});
    let values = super::value_set("device-plugin", privileged)?;
    let refused = pod(plane, "privileged", &values, "restricted").await;
    let refused = refused
        .err()
        .context("a restricted namespace must not admit a privileged container")?
        .to_string();
    assert!(
        refused.contains("privileged (container \"pkcs11-issuer\""),
        "{refused}"
    );
    pod(plane, "privileged", &values, "privileged").await?;
    Ok(())
}
