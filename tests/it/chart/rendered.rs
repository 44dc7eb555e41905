//! Tests, without a cluster, the objects that the chart renders in addition to the pod.

use anyhow::{Context as _, Result};
use control_plane::helm;
use rig::chart_path;
use serde_json::{Value, json};

use super::{named, only, render, value_set, value_sets, workload};

/// Returns each rule of the roles as text.
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
async fn helm_lint_accepts_every_value_set() -> Result<()> {
    let path = chart_path();
    let path = path.to_str().context("not UTF-8")?;
    let sets = value_sets()?;
    assert!(sets.len() >= 9);
    for set in sets {
        let file = set.path.to_str().context("not UTF-8")?;
        let said = helm(&["lint", "--strict", path, "--values", file]).await?;
        assert!(!said.contains("[WARNING]"), "{}: {said}", set.name);
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
async fn rights_of_disabled_features_are_left_out() -> Result<()> {
    let off = json!({
        "certificateRequests": false,
        "certificateSigningRequests": false,
        "events": false,
    });
    let least = rules(&render(&value_set("softhsm", off)?).await?).concat();
    for resource in [
        "cert-manager.io",
        "certificates.k8s.io",
        "subjectaccessreviews",
        "events.k8s.io",
    ] {
        assert!(!least.contains(resource), "{resource}: {least}");
    }
    for certificate_requests in [json!("auto"), json!(true)] {
        let on = json!({"certificateRequests": certificate_requests});
        let some = rules(&render(&value_set("softhsm", on)?).await?).concat();
        assert!(some.contains("cert-manager.io"), "{some}");
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
async fn only_the_controllers_container_has_the_identity_of_the_pod() -> Result<()> {
    const IDENTITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    for name in ["softhsm", "sidecar", "copied-library", "device-plugin"] {
        let objects = render(&value_set(name, json!({}))?).await?;
        let spec = &workload(&objects)?["spec"]["template"]["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
        let volume = named(&spec["volumes"], "identity")?;
        let expected = json!({"name": "identity", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}},
            ]}},
        ]}});
        assert_eq!(*volume, expected, "{name}");
        let containers = [&spec["initContainers"], &spec["containers"]];
        let containers = containers.into_iter().filter_map(Value::as_array).flatten();
        let with_identity: Vec<_> = containers
            .filter(|container| {
                let mounts = container["volumeMounts"].as_array().into_iter().flatten();
                let mut mounts = mounts.map(|mount| (&mount["name"], &mount["mountPath"]));
                mounts.any(|(name, path)| *name == "identity" || *path == IDENTITY)
            })
            .map(|container| &container["name"])
            .collect();
        assert_eq!(with_identity, ["pkcs11-issuer"], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn issuers_can_be_left_out_of_edit_and_admin_or_out_of_all_roles() -> Result<()> {
    let aggregated = async |rbac: Value| -> Result<Vec<(String, Value)>> {
        let objects = render(&value_set("softhsm", json!({"rbac": rbac}))?).await?;
        let mut found = Vec::new();
        for object in &objects {
            let labels = object["metadata"]["labels"].as_object();
            for label in labels.into_iter().flat_map(|labels| labels.keys()) {
                let role = label.strip_prefix("rbac.authorization.k8s.io/aggregate-to-");
                if let Some(role) = role {
                    found.push((role.to_owned(), object["rules"][0]["verbs"].clone()));
                }
            }
        }
        found.sort_by_key(|(role, verbs)| (role.clone(), verbs.to_string()));
        Ok(found)
    };
    let read = json!(["get", "list", "watch"]);
    let write = json!(["create", "delete", "deletecollection", "patch", "update"]);
    let pair = |role: &str, verbs: &Value| (role.to_owned(), verbs.clone());
    assert_eq!(
        aggregated(json!({})).await?,
        [
            pair("admin", &write),
            pair("admin", &read),
            pair("edit", &write),
            pair("edit", &read),
            pair("view", &read)
        ]
    );
    assert_eq!(
        aggregated(json!({"aggregateEdit": false})).await?,
        [
            pair("admin", &read),
            pair("edit", &read),
            pair("view", &read)
        ]
    );
    assert_eq!(aggregated(json!({"aggregate": false})).await?, []);
    Ok(())
}

#[tokio::test]
async fn secrets_can_be_read_in_the_named_namespaces_and_everywhere_only_on_request() -> Result<()>
{
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
async fn the_crds_match_the_code_and_are_kept_by_default() -> Result<()> {
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

/// Whether two values are equal, where numbers compare by value because helm writes 0.0 as 0.
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
async fn the_pin_record_has_no_data_and_is_kept() -> Result<()> {
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
async fn signed_checkpoints_come_with_their_settings_a_map_that_is_kept_and_one_right() -> Result<()>
{
    let checkpoints = json!({"token": "issuing", "key": "audit", "every": "30s"});
    let audit = json!({"cluster": "prod", "checkpoints": checkpoints});
    let heads = "pkcs11-issuer-log-heads";
    let may_update = |objects: &[Value]| {
        let rules = objects.iter().filter(|object| object["kind"] == "Role");
        let rules = rules.filter_map(|role| role["rules"].as_array()).flatten();
        rules
            .filter(|rule| rule["resourceNames"] == json!([heads]))
            .cloned()
            .collect::<Vec<_>>()
    };
    let is_heads = |object: &&Value| object["metadata"]["name"] == heads;

    let without = render(&value_set("softhsm", json!({}))?).await?;
    assert_eq!(without.iter().find(is_heads), None);
    assert_eq!(may_update(&without), Vec::<Value>::new());

    let objects = render(&value_set("softhsm", json!({"audit": audit}))?).await?;
    let map = objects.iter().find(is_heads).context("no map")?;
    assert_eq!(
        (&map["kind"], &map["data"]),
        (&json!("ConfigMap"), &Value::Null)
    );
    assert_eq!(
        map["metadata"]["annotations"]["helm.sh/resource-policy"],
        "keep"
    );
    assert_eq!(
        may_update(&objects),
        [
            json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [heads], "verbs": ["update"]})
        ]
    );
    let config = objects
        .iter()
        .find_map(|object| object["data"]["config.yaml"].as_str())
        .context("no configuration")?;
    for line in [
        "cluster: prod",
        "key: audit",
        "every: 30s",
        "token: issuing",
    ] {
        assert!(config.contains(line), "{config}");
    }
    Ok(())
}

#[tokio::test]
async fn extra_objects_are_templates_written_as_objects_or_strings() -> Result<()> {
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
