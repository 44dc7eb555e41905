//! Tests etcd and kube-apiserver.

use super::*;

const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: payments}}";

#[tokio::test]
async fn two_control_planes_at_once_share_nothing() -> Result<()> {
    let (one, other) = tokio::try_join!(start(), start())?;
    one.apply(NAMESPACE).await?;
    one.kubectl(&["get", "namespace", "payments"]).await?;
    let error = other
        .kubectl(&["get", "namespace", "payments"])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");

    let folder = one.log_dir().to_owned();
    assert_eq!(processes_of(&folder)?.len(), 2, "etcd and kube-apiserver");
    drop(one);
    assert_eq!(processes_of(&folder)?, [0; 0]);
    assert!(!folder.exists());
    other.apply(NAMESPACE).await
}

/// Compiles only if a control plane can be in a shared `static` and can be started from a spawned task.
#[test]
fn a_control_plane_can_be_shared_and_started_from_any_task() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>(_: impl FnOnce() -> T) {}
    shared::<ControlPlane>();
    shared::<CertManager>();
    sent(|| ControlPlane::start(Options::default()));
    sent(|| until("nothing", PATIENCE, async || Ok(Some(()))));
}

#[tokio::test]
async fn objects_outlast_the_api_server() -> Result<()> {
    let plane = start().await?;
    plane.apply(NAMESPACE).await?;
    plane.stop_api_server();
    assert!(plane.kubectl(&["get", "namespaces"]).await.is_err());
    plane.start_api_server().await?;
    plane.kubectl(&["get", "namespace", "payments"]).await?;
    // The one log has the requests from before and after the restart.
    assert_eq!(
        plane
            .audit_log()?
            .writes()
            .on("namespaces")
            .of("payments", "payments")
            .len(),
        1
    );
    Ok(())
}

#[tokio::test]
async fn an_identity_has_the_groups_of_its_account_and_only_the_rights_it_was_given() -> Result<()>
{
    let plane = start().await?;
    plane.apply(NAMESPACE).await?;
    let kubeconfig = plane.service_account("payments", "web")?;
    let whoami = plane
        .kubectl_as(&kubeconfig, &["auth", "whoami", "-o", "json"])
        .await?;
    let whoami: serde_json::Value = serde_json::from_str(&whoami)?;
    assert_eq!(
        whoami["status"]["userInfo"]["username"],
        "system:serviceaccount:payments:web"
    );
    let groups = &whoami["status"]["userInfo"]["groups"];
    assert_eq!(
        *groups,
        serde_json::json!([
            "system:serviceaccounts",
            "system:serviceaccounts:payments",
            "system:authenticated"
        ])
    );

    let secret = [
        "create",
        "secret",
        "generic",
        "pin",
        "--from-literal=pin=1234",
        "--namespace=payments",
    ];
    let error = plane.kubectl_as(&kubeconfig, &secret).await.unwrap_err();
    assert!(error.to_string().contains("forbidden"), "{error}");
    plane.kubectl(&secret).await?;

    let writes = plane.audit_log()?.writes().on("secrets");
    assert_eq!(
        writes
            .clone()
            .answered(403)
            .by("system:serviceaccount:payments:web")
            .len(),
        1
    );
    assert_eq!(
        writes
            .clone()
            .succeeded()
            .by("admin")
            .of("payments", "pin")
            .len(),
        1
    );
    assert!(
        writes
            .iter()
            .all(|event| event.request_object.is_none() && event.response_object.is_none())
    );
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_cannot_start_says_why() {
    let options = Options {
        api_server_args: vec!["--no-such-flag".to_owned()],
        ..Options::default()
    };
    let error = format!("{:#}", ControlPlane::start(options).await.unwrap_err());
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
}

/// The owner in this test is this package's own program.
#[tokio::test]
async fn a_killed_owner_leaves_no_process_behind_and_its_folder_is_swept() -> Result<()> {
    let logs = tempfile::tempdir()?;
    let owner = Program::new(env!("CARGO_BIN_EXE_control-plane")).separate_stdout();
    let owner = Process::start("owner", owner, logs.path())?;
    let kubeconfig = owner.line("admin.kubeconfig", PATIENCE).await?;
    let folder = Path::new(&kubeconfig)
        .parent()
        .context("the kubeconfig has no folder")?;
    assert_eq!(
        processes_of(folder)?.len(),
        4,
        "etcd, kube-apiserver and two processes of cert-manager"
    );

    owner.signal(Signal::KILL)?;
    owner.wait(PATIENCE).await?;
    until("the children to be gone", PATIENCE, async || {
        Ok(processes_of(folder)?.is_empty().then_some(()))
    })
    .await?;

    assert!(folder.exists(), "a killed owner cannot remove its folder");
    drop(start().await?);
    assert!(
        !folder.exists(),
        "the next control plane must sweep the folder"
    );
    Ok(())
}
