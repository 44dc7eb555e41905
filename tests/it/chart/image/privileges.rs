//! Translates the security contexts of a pod to options of Docker.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

/// Returns the options of `docker run` for the security contexts of a pod and one of its containers. An unknown field is an
/// error, so that nothing that the chart renders is ignored.
pub(super) fn privileges(pod: &Value, container: &Value) -> Result<Vec<String>> {
    let mut context = fields(&pod["spec"]["securityContext"]);
    context.extend(fields(&container["securityContext"]));
    let mut options = vec![format!(
        "--user={}:{}",
        number(context.remove("runAsUser"))?,
        number(context.remove("runAsGroup"))?
    )];
    for (field, value) in context {
        match (field.as_str(), &value) {
            // Checked here, as kubelet checks the numeric user.
            ("runAsNonRoot", Value::Bool(true)) => ensure!(!options.contains(&"--user=0:0".into())),
            ("fsGroup", group) => options.push(format!("--group-add={group}")),
            ("supplementalGroups", Value::Array(groups)) => {
                options.extend(groups.iter().map(|group| format!("--group-add={group}")));
            }
            ("readOnlyRootFilesystem", Value::Bool(true)) => options.push("--read-only".to_owned()),
            ("allowPrivilegeEscalation", Value::Bool(false)) => {
                options.push("--security-opt=no-new-privileges".to_owned());
            }
            ("capabilities", capabilities) => options.extend(dropped(capabilities)?),
            // Docker uses its own profile by default.
            ("seccompProfile", profile) => {
                ensure!(profile["type"] == "RuntimeDefault", "{profile}");
            }
            _ => bail!("unknown field in the security context: {field}: {value}"),
        }
    }
    if let Some(memory) = container["resources"]["limits"]["memory"].as_str() {
        let mebibytes = memory.strip_suffix("Mi").context("not in Mi")?;
        options.push(format!("--memory={mebibytes}m"));
    }
    Ok(options)
}

fn dropped(capabilities: &Value) -> Result<Vec<String>> {
    ensure!(capabilities["add"].is_null(), "{capabilities}");
    let mut options = Vec::new();
    for capability in capabilities["drop"].as_array().context("nothing dropped")? {
        let capability = capability.as_str().context("no name")?;
        options.push(format!("--cap-drop={capability}"));
    }
    Ok(options)
}

fn fields(object: &Value) -> Map<String, Value> {
    object.as_object().cloned().unwrap_or_default()
}

fn number(value: Option<Value>) -> Result<u64> {
    value.as_ref().and_then(Value::as_u64).context("no number")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_containers_context_overrides_its_pods_and_an_unknown_field_is_an_error() {
        let pod = json!({"spec": {"securityContext": {
            "runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
        }}});
        let context = json!({"runAsUser": 4, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
        let mut container =
            json!({"securityContext": context, "resources": {"limits": {"memory": "64Mi"}}});
        let mut options = privileges(&pod, &container).unwrap();
        options.sort();
        let wanted = [
            "--cap-drop=ALL",
            "--group-add=3",
            "--memory=64m",
            "--read-only",
            "--user=4:2",
        ];
        assert_eq!(options, wanted);
        container["securityContext"]["privileged"] = json!(true);
        assert!(privileges(&pod, &container).is_err());
    }
}
