//! Tests the chart's roles, which Kubernetes aggregates into its own view, edit and admin.

use anyhow::{Result, ensure};
use control_plane::until;
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    rbac::v1::ClusterRole,
};
use kube::{Api, api::PostParams};
use rig::PATIENCE;
use serde_json::json;

use super::{NAMESPACE, objects::Objects, stage::stage};

const GROUP: &str = "pkcs11-issuer.dev";
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

#[tokio::test]
async fn the_view_role_reads_our_kinds_and_edit_and_admin_write_them() -> Result<()> {
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let roles = objects.known_of_cluster::<ClusterRole>();
    for (role, verb) in [("view", "list"), ("edit", "create"), ("admin", "create")] {
        until(
            "kube-controller-manager to aggregate our rules",
            PATIENCE,
            async || {
                let rules = roles.get(role).await?.rules.unwrap_or_default();
                let ours = rules.iter().any(|rule| {
                    let groups = rule.api_groups.iter().flatten();
                    groups.clone().any(|group| group == GROUP)
                        && rule.verbs.iter().any(|known| known == verb)
                });
                Ok(ours.then_some(()))
            },
        )
        .await?;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("e2e-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user(role)}],
        });
        stage.plane().apply(&binding.to_string()).await?;
    }

    let reviews = objects.known_of_cluster::<SubjectAccessReview>();
    let mut checks = 0;
    for (resource, namespace) in [
        ("pkcs11issuers", Some(NAMESPACE)),
        ("pkcs11clusterissuers", None),
        ("certificaterevocations", Some(NAMESPACE)),
    ] {
        for role in ["view", "edit", "admin"] {
            for verb in READ.into_iter().chain(WRITE) {
                let wanted = role != "view" || READ.contains(&verb);
                let what = format!("{role} may {verb} {resource}");
                // The authorizer sees a new binding after a moment.
                until(&format!("{what}: {wanted}"), PATIENCE, async || {
                    let may = may(&reviews, role, verb, resource, namespace).await?;
                    Ok((may == wanted).then_some(()))
                })
                .await?;
                checks += 1;
            }
        }
        ensure!(
            !may(
                &reviews,
                "admin",
                "update",
                &format!("{resource}/status"),
                namespace
            )
            .await?,
            "only the controller may write the status"
        );
    }
    ensure!(checks == 72, "{checks} checks");
    Ok(())
}

fn user(role: &str) -> String {
    format!("e2e-{role}")
}

async fn may(
    reviews: &Api<SubjectAccessReview>,
    role: &str,
    verb: &str,
    resource: &str,
    namespace: Option<&str>,
) -> Result<bool> {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user(role)),
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                verb: Some(verb.to_owned()),
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
