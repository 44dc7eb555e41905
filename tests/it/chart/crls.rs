//! Tests of what the chart installs for CRLs, and only then.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{named, only, render, value_set, workload};

#[tokio::test]
async fn crls_come_with_their_port_service_ingress_and_rights_and_none_of_it_without_them()
-> Result<()> {
    let about_crls = |objects: &[Value]| -> Vec<String> {
        let names = objects.iter().filter(|object| {
            object["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.ends_with("-crl"))
        });
        names.map(|object| object["kind"].to_string()).collect()
    };
    let off = render(&value_set("softhsm", json!({}))?).await?;
    assert!(about_crls(&off).is_empty());
    for text in ["--crl-address", "8082"] {
        assert!(!json!(off).to_string().contains(text), "{text}");
    }

    let values =
        json!({"crl": {"enabled": true, "ingress": {"enabled": true, "host": "pki.example"}}});
    let on = render(&value_set("softhsm", values)?).await?;
    assert_eq!(about_crls(&on), ["\"Service\"", "\"Ingress\""]);
    let container = &workload(&on)?["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().context("no arguments")?;
    assert!(args.contains(&json!("--crl-address=[::]:8082")), "{args:?}");
    let port = named(&container["ports"], "crl")?;
    assert_eq!(
        *port,
        json!({"name": "crl", "containerPort": 8082, "protocol": "TCP"})
    );
    let policy = only(&on, "NetworkPolicy")?;
    let ports: Vec<_> = policy["spec"]["ingress"]
        .as_array()
        .context("no rules")?
        .iter()
        .map(|rule| &rule["ports"][0]["port"])
        .collect();
    assert_eq!(ports, ["metrics", "crl"]);
    let ingress = only(&on, "Ingress")?;
    let expected = json!({"rules": [{"host": "pki.example", "http": {"paths": [{
        "path": "/crl/", "pathType": "Prefix",
        "backend": {"service": {"name": "pkcs11-issuer-crl", "port": {"name": "http"}}},
    }]}}]});
    assert_eq!(ingress["spec"], expected);
    let role = on
        .iter()
        .find(|object| object["kind"] == "Role")
        .context("no role")?;
    let rule = json!({
        "apiGroups": [""], "resources": ["configmaps"],
        "verbs": ["list", "watch", "create", "update", "delete"],
    });
    let rules = role["rules"].as_array().context("no rules")?;
    assert!(rules.contains(&rule), "{rules:?}");
    Ok(())
}
