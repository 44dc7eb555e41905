//! Tests the pods of the chart against the rules of OpenShift's SCC `restricted-v2`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{pod::list, render, value_set, value_sets, workload};

/// Fields by which the kinds of volumes that the SCC allows are recognised.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Returns what the SCC refuses in a pod: a user or an `fsGroup`, because both must be in the namespace's own
/// range (`runAsUser: MustRunAsRange`, `fsGroup: MustRunAs`), SELinux options, privileges, capabilities except
/// `NET_BIND_SERVICE`, seccomp profiles except `RuntimeDefault`, host namespaces and ports, and other kinds of volumes. The
/// SCC itself adds the user, the group, the drop of all capabilities and the profile where they are missing.
fn refused(pod: &Value) -> Vec<String> {
    let mut refused = wrong(&pod["securityContext"]);
    for container in list(&pod["initContainers"]).chain(list(&pod["containers"])) {
        let name = container["name"].as_str().unwrap_or_default();
        let mut of_container = wrong(&container["securityContext"]);
        if list(&container["ports"]).any(|port| !port["hostPort"].is_null()) {
            of_container.push("hostPort".to_owned());
        }
        let fields = of_container.iter();
        refused.extend(fields.map(|field| format!("{name}/{field}")));
    }
    let of_host = ["hostNetwork", "hostPID", "hostIPC"];
    let of_host = of_host.iter().filter(|field| pod[**field] == true);
    refused.extend(of_host.map(|field| (*field).to_owned()));
    for volume in list(&pod["volumes"]) {
        if !VOLUMES.iter().any(|kind| !volume[*kind].is_null()) {
            refused.push(format!("volume {}", volume["name"]));
        }
    }
    refused
}

/// Returns the fields of a security context, of a pod or a container, that the SCC refuses.
fn wrong(context: &Value) -> Vec<String> {
    let profile = &context["seccompProfile"]["type"];
    let mut added = list(&context["capabilities"]["add"]);
    let wrong = [
        ("runAsUser", !context["runAsUser"].is_null()),
        ("fsGroup", !context["fsGroup"].is_null()),
        ("seLinuxOptions", !context["seLinuxOptions"].is_null()),
        ("privileged", context["privileged"] == true),
        (
            "allowPrivilegeEscalation",
            context["allowPrivilegeEscalation"] == true,
        ),
        (
            "seccompProfile",
            !profile.is_null() && profile != "RuntimeDefault",
        ),
        (
            "capabilities",
            added.any(|capability| capability != "NET_BIND_SERVICE"),
        ),
    ];
    let wrong = wrong.iter().filter(|(_, is_wrong)| *is_wrong);
    wrong.map(|(field, _)| (*field).to_owned()).collect()
}

async fn pod(values: &Value) -> Result<Value> {
    Ok(workload(&render(values).await?)?["spec"]["template"]["spec"].clone())
}

#[tokio::test]
async fn restricted_v2_admits_every_pod_with_the_value_for_openshift_except_host_paths()
-> Result<()> {
    for set in value_sets()? {
        let values = value_set(&set.name, json!({"openshift": true}))?;
        let refused = refused(&pod(&values).await?);
        let expected: &[&str] = match set.name.as_str() {
            "host-device" => &["volume \"hsm-pcie-0\"", "volume \"hsm-pcie-1\""],
            _ => &[],
        };
        assert_eq!(refused, expected, "{}", set.name);
    }
    Ok(())
}

#[tokio::test]
async fn restricted_v2_refuses_the_fixed_user_and_group_of_other_clusters() -> Result<()> {
    let default = pod(&value_set("softhsm", json!({}))?).await?;
    assert_eq!(refused(&default), ["runAsUser", "fsGroup"]);
    let context = json!({"allowPrivilegeEscalation": true, "capabilities": {"add": ["SYS_ADMIN"]}});
    let values = json!({"openshift": true, "containerSecurityContext": context});
    let wrong = pod(&value_set("softhsm", values)?).await?;
    assert_eq!(
        refused(&wrong),
        [
            "pkcs11-issuer/allowPrivilegeEscalation",
            "pkcs11-issuer/capabilities"
        ]
    );
    Ok(())
}
