//! Rights that are missing, and those that are too wide.

use std::{cell::RefCell, collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::{Authority, NAMESPACE, PATIENCE};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use super::{Installed, everything, named_first, rendered};
use crate::doctor::Reported;

/// Rights that Kubernetes gives every service account (`system:cluster-trust-bundle-discovery`).
const OF_EVERY_ACCOUNT: [&str; 2] = [
    "get clustertrustbundles.certificates.k8s.io",
    "list clustertrustbundles.certificates.k8s.io",
];

/// Takes the approver's rights away, and gives it too many.
pub(super) async fn of_the_approver(installed: &Installed) -> Result<()> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "blanket"},
        "rules": [{"apiGroups": ["cert-manager.io"], "resources": ["signers"], "verbs": ["approve"]}],
    });
    installed.0.apply(&role).await?;
    let account = "--serviceaccount=cert-manager:cert-manager";
    let bind = [
        "create",
        "clusterrolebinding",
        "blanket",
        "--clusterrole=blanket",
        account,
    ];
    installed.kubectl(&bind).await?;
    until_named(installed, "blanket-approver").await?;
    installed
        .kubectl(&["delete", "clusterrolebinding", "blanket"])
        .await?;
    let approver = "cert-manager-controller-approve:cert-manager-io";
    installed
        .kubectl(&["delete", "clusterrolebinding", approver])
        .await?;
    until_named(installed, "approver-rights").await?;
    installed
        .kubectl(&[
            "create",
            "clusterrolebinding",
            approver,
            &format!("--clusterrole={approver}"),
            account,
        ])
        .await
}

/// Checks that with every feature on, and without the roles, exactly the rights of the chart are missing.
pub(super) async fn those_of_the_chart(installed: &Installed) -> Result<()> {
    installed.deploy(&everything()).await?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.yaml");
    let authority = Authority::new(KeyKind::P256)?;
    fs::write(
        &config,
        authority.configuration_with_checkpoints(&[]).to_string(),
    )?;
    installed
        .kubectl(&["delete", "clusterrole", "pkcs11-issuer"])
        .await?;
    installed.own(&["delete", "role", "pkcs11-issuer"]).await?;
    let mut expected = granted(&rendered(&everything()).await?);
    ensure!(expected.len() > 40, "{expected:?}");
    expected.retain(|right| !OF_EVERY_ACCOUNT.contains(&right.as_str()));
    let lacking = RefCell::default();
    // The API server's authorizer follows within a moment.
    let what = "exactly the rights of the chart to be missing";
    let named = until(what, PATIENCE, async || {
        let mut command = installed.command()?;
        command.arg("--config").arg(&config);
        let reported = Reported::of(command.args(["--only", "controller-rights"]))?;
        let subjects = reported
            .checks
            .iter()
            .filter_map(|it| it["subject"].as_str());
        let missing: BTreeSet<_> = subjects.map(str::to_owned).collect();
        ensure!(missing.is_subset(&expected), "{missing:?} of {expected:?}");
        let rest: Vec<_> = expected.difference(&missing).cloned().collect();
        let is_all = rest.is_empty();
        lacking.replace(rest);
        Ok(is_all.then_some(reported))
    });
    let named = named.await;
    let named = named.with_context(|| format!("not missing: {:?}", lacking.borrow()))?;
    named_first("controller-rights", &named)
}

/// Waits until the API server's authorizer has noticed a change of roles.
async fn until_named(installed: &Installed, id: &str) -> Result<()> {
    until(id, PATIENCE, async || {
        let reported = installed.reported()?;
        let first = reported.first();
        Ok(first.is_some_and(|it| it["id"] == id).then_some(()))
    })
    .await?;
    installed.is_named_first(id)
}

/// Returns the rights of the controller's roles, as doctor names them.
fn granted(objects: &[Value]) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for role in objects {
        let place = match role["kind"].as_str() {
            Some("ClusterRole") => String::new(),
            Some("Role") => format!(" in {NAMESPACE}"),
            _ => continue,
        };
        if role["metadata"]["name"] != "pkcs11-issuer" {
            continue;
        }
        for rule in role["rules"].as_array().into_iter().flatten() {
            let texts = |field: &str| {
                let all = rule[field]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
                    .into_iter();
                all.filter_map(|text| text.as_str().map(str::to_owned))
                    .collect::<Vec<_>>()
            };
            let names = match texts("resourceNames") {
                names if names.is_empty() => vec![String::new()],
                names => names.into_iter().map(|name| format!(" {name}")).collect(),
            };
            for (group, resource, verb, name) in combinations(
                &texts("apiGroups"),
                &texts("resources"),
                &texts("verbs"),
                &names,
            ) {
                let resource = match group.as_str() {
                    "" => resource,
                    group => format!("{resource}.{group}"),
                };
                rights.insert(format!("{verb} {resource}{name}{place}"));
            }
        }
    }
    rights
}

/// Returns every combination.
fn combinations(
    groups: &[String],
    resources: &[String],
    verbs: &[String],
    names: &[String],
) -> Vec<(String, String, String, String)> {
    let mut all = Vec::new();
    for group in groups {
        for resource in resources {
            for verb in verbs {
                for name in names {
                    all.push((group.clone(), resource.clone(), verb.clone(), name.clone()));
                }
            }
        }
    }
    all
}
