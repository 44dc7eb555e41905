//! What the chart renders, without a cluster.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use control_plane::helm;
use pkcs11_issuer::{args::Args, config::Config};
use rig::chart_path;
use serde_json::{Value, json};

use super::{named, only, render, value_set, value_sets, workload};

/// The controller's container.
async fn controller(values: &Value) -> Result<Value> {
    let objects = render(values).await?;
    let containers = &workload(&objects)?["spec"]["template"]["spec"]["containers"];
    Ok(named(containers, "pkcs11-issuer")?.clone())
}

/// The roles' rules, each as text, for looking something up in them.
fn rules(objects: &[Value]) -> Vec<String> {
    let roles = objects.iter().filter(|object| {
        object["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("Role"))
    });
    roles
        .flat_map(|role| role["rules"].as_array().into_iter().flatten())
        .map(Value::to_string)
        .collect()
}

#[tokio::test]
async fn helm_lint_is_content_with_every_value_set() -> Result<()> {
    let path = chart_path();
    let path = path.to_str().context("not UTF-8")?;
    let (chart, sets) = (fs::canonicalize(path)?, value_sets()?);
    assert!(sets.len() >= 5);
    for set in sets {
        let file = chart.join(format!("ci/{}-values.yaml", set.name));
        let file = file.to_str().context("not UTF-8")?;
        let said = helm(&["lint", "--strict", path, "--values", file]).await?;
        assert!(!said.contains("[WARNING]"), "{}: {said}", set.name);
    }
    Ok(())
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

fn only_config(objects: &[Value]) -> Result<&str> {
    let mut texts = objects
        .iter()
        .filter_map(|object| object["data"]["config.yaml"].as_str());
    texts.next().context("no configuration")
}

#[tokio::test]
async fn a_sidecar_listens_where_the_configuration_looks_and_runs_as_the_same_user() -> Result<()> {
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
            format!("--socket={socket}")
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

#[tokio::test]
async fn common_labels_are_on_every_object_and_in_no_selector() -> Result<()> {
    let mut values = value_set("copied-library", json!({"extraObjects": null}))?;
    values["metrics"] = json!({"serviceMonitor": {"enabled": true}});
    for object in render(&values).await? {
        let what = format!("{} {}", object["kind"], object["metadata"]["name"]);
        assert_eq!(object["metadata"]["labels"]["team"], "pki", "{what}");
        let spec = &object["spec"];
        for selector in ["selector", "podSelector"] {
            assert!(!spec[selector].to_string().contains("team"), "{what}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn rights_of_what_is_off_are_left_out() -> Result<()> {
    let off = json!({"certificateSigningRequests": false, "events": false});
    let least = rules(&render(&value_set("softhsm", off)?).await?).concat();
    for resource in [
        "certificates.k8s.io",
        "subjectaccessreviews",
        "events.k8s.io",
    ] {
        assert!(!least.contains(resource), "{resource}: {least}");
    }
    let pods = json!({"podCertificateRequests": true, "clusterTrustBundles": true});
    let most = rules(&render(&value_set("softhsm", pods)?).await?).concat();
    for granted in [
        "podcertificaterequests/status",
        "clustertrustbundles",
        r#"["sign","attest"]"#,
    ] {
        assert!(most.contains(granted), "{granted}: {most}");
    }
    Ok(())
}

#[tokio::test]
async fn secrets_can_be_read_in_the_named_namespaces_and_everywhere_only_when_told() -> Result<()> {
    let readable = async |changes: Value| -> Result<Vec<String>> {
        let objects = render(&value_set("softhsm", changes)?).await?;
        let reads = |role: &&Value| role["rules"].to_string().contains(r#""secrets""#);
        let roles = objects.iter().filter(reads);
        let place = |role: &Value| {
            role["metadata"]["namespace"]
                .as_str()
                .unwrap_or("*")
                .to_owned()
        };
        Ok(roles.map(place).collect())
    };
    let own = super::NAMESPACE;
    assert_eq!(readable(json!({})).await?, [own]);
    let mut named = readable(json!({"secretNamespaces": ["payments", "shop"]})).await?;
    named.sort();
    assert_eq!(named, ["payments", own, "shop"]);
    assert_eq!(
        readable(json!({"secretsInAllNamespaces": true})).await?,
        ["*", own]
    );
    Ok(())
}

#[tokio::test]
async fn only_a_deployment_of_several_replicas_has_a_disruption_budget() -> Result<()> {
    for (name, changes, wanted) in [
        ("softhsm", json!({}), Some(json!({"maxUnavailable": 1}))),
        ("softhsm", json!({"replicas": 1}), None),
        (
            "softhsm",
            json!({"podDisruptionBudget": {"enabled": false}}),
            None,
        ),
        (
            "softhsm",
            json!({"podDisruptionBudget": {"maxUnavailable": 0}}),
            Some(json!({"maxUnavailable": 0})),
        ),
        (
            "copied-library",
            json!({}),
            Some(json!({"minAvailable": "50%"})),
        ),
        ("device-plugin", json!({}), None),
    ] {
        let objects = render(&value_set(name, changes)?).await?;
        let found = only(&objects, "PodDisruptionBudget").ok().map(|budget| {
            let mut spec = budget["spec"].clone();
            let fields = spec.as_object_mut().unwrap();
            fields.retain(|field, _| field.ends_with("vailable"));
            spec
        });
        assert_eq!(found, wanted, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn the_kinds_are_those_of_the_code_and_stay_unless_told_otherwise() -> Result<()> {
    for (changes, policy) in [
        (json!({}), json!("keep")),
        (json!({"crds": {"keep": false}}), Value::Null),
    ] {
        let objects = render(&value_set("softhsm", changes)?).await?;
        let is_kind = |object: &&Value| object["kind"] == "CustomResourceDefinition";
        let mut kinds: Vec<_> = objects.iter().filter(is_kind).collect();
        kinds.sort_by_key(|kind| kind["metadata"]["name"].to_string());
        let code = pkcs11_issuer::api::crds();
        let mut code: Vec<_> = code
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?;
        code.sort_by_key(|kind| kind["metadata"]["name"].to_string());
        assert_eq!(kinds.len(), code.len());
        for (kind, code) in kinds.iter().zip(&code) {
            let meta = &kind["metadata"];
            assert!(same(&kind["spec"], &code["spec"]), "{}", meta["name"]);
            assert_eq!(meta["annotations"]["helm.sh/resource-policy"], policy);
        }
    }
    let without = render(&value_set("softhsm", json!({"crds": {"enabled": false}}))?).await?;
    assert!(only(&without, "CustomResourceDefinition").is_err());
    Ok(())
}

/// Whether two texts say the same: helm writes 0.0 as 0.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (one, other) => one == other,
    }
}

#[tokio::test]
async fn the_record_of_pin_tries_has_no_data_and_stays() -> Result<()> {
    let objects = render(&value_set("softhsm", json!({}))?).await?;
    let record = only(&objects, "Secret")?;
    assert_eq!(record["metadata"]["name"], "pkcs11-issuer-pin-state");
    assert_eq!(
        (&record["data"], &record["stringData"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        record["metadata"]["annotations"]["helm.sh/resource-policy"],
        "keep"
    );
    Ok(())
}

#[tokio::test]
async fn further_objects_are_templates_written_as_objects_or_texts() -> Result<()> {
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}-text'}}";
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-object"}});
    let values = value_set("softhsm", json!({"extraObjects": [text, object]}))?;
    let objects = render(&values).await?;
    let names: Vec<_> = objects
        .iter()
        .map(|object| &object["metadata"]["name"])
        .collect();
    for name in ["pkcs11-issuer-text", "pkcs11-issuer-object"] {
        assert!(names.contains(&&json!(name)), "{names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_monitor_finds_the_port_of_the_metrics() -> Result<()> {
    let objects = render(&value_set("device-plugin", json!({}))?).await?;
    let (monitor, service) = (
        only(&objects, "ServiceMonitor")?,
        only(&objects, "Service")?,
    );
    assert_eq!(
        monitor["spec"]["endpoints"][0]["port"],
        service["spec"]["ports"][0]["name"]
    );
    let selector = monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .context("selector")?;
    for (label, value) in selector {
        assert_eq!(&service["metadata"]["labels"][label], value);
    }
    let objects = render(&value_set("sidecar", json!({}))?).await?;
    let monitor = only(&objects, "PodMonitor")?;
    let pod = &workload(&objects)?["spec"]["template"];
    let port = monitor["spec"]["podMetricsEndpoints"][0]["port"]
        .as_str()
        .context("port")?;
    named(
        &named(&pod["spec"]["containers"], "pkcs11-issuer")?["ports"],
        port,
    )?;
    for (label, value) in monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .context("selector")?
    {
        assert_eq!(&pod["metadata"]["labels"][label], value);
    }
    Ok(())
}
