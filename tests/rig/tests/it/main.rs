//! Tests that every part of the rig does what its documentation says.

use anyhow::Result;
use control_plane::AuditEvent;
use rig::{CONTROLLER, IssuerName, Options, Rig, csr_for, request_spec};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_issued_once_approved_and_denied_when_denied_and_a_restart_keeps_the_record()
-> Result<()> {
    let rig = Rig::start(Options {
        namespaces: vec!["payments".to_owned()],
        ..Options::default()
    })
    .await?;
    let issuing = IssuerName::cluster("issuing");
    let payments = IssuerName::namespaced("payments", "issuing");
    let spec = rig.authority().issuer_spec();
    rig.cluster().apply_issuer(&issuing, &spec).await?;
    rig.cluster()
        .apply_secret("payments", "chain", &rig.authority().chain())
        .await?;
    let spec = rig.authority().issuer_spec_with_secret("chain");
    rig.cluster().apply_issuer(&payments, &spec).await?;
    rig.cluster().issuer_is_ready(&issuing).await?;
    rig.cluster().issuer_is_ready(&payments).await?;

    let requests = rig.cluster().requests("payments").await?;
    for (name, issuer) in [
        ("cluster", &issuing),
        ("namespaced", &payments),
        ("denied", &issuing),
    ] {
        let spec = request_spec(issuer, &csr_for("web.example")?);
        requests.create(name, spec).await?;
    }
    requests.approve("cluster").await?;
    requests.approve("namespaced").await?;
    requests.deny("denied").await?;
    for name in ["cluster", "namespaced"] {
        let status = requests.reaches(name, "Issued").await?;
        assert!(
            status
                .certificate()
                .is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE-----"))
        );
        assert_eq!(
            status.ca().map(|pem| pem.replace('\r', "")),
            Some(rig.authority().root().pem().replace('\r', ""))
        );
        rig.controller()
            .logged("published", "payments", name)
            .await?;
        assert_eq!(rig.controller().lines_of("payments", name)?.len(), 3);
    }
    let status = requests.reaches("denied", "Denied").await?;
    assert!(status.failure_time().is_some());
    let issued = [("result", "issued")];
    let metrics = rig.controller().metrics().await?;
    assert_eq!(
        metrics.sum("pkcs11_issuer_requests_total", &issued),
        2.0,
        "{}",
        metrics.text()
    );

    let ended = rig.controller().stop().await?;
    assert!(ended.success(), "{ended}");

    // The controller exits only after it has written its last Event.
    let log = rig.cluster().plane().audit_log()?.by(CONTROLLER);
    // 429: the API server tells watches of a new kind to come back until its cache is ready.
    // 404: the controller checks whether it has a Lease from an earlier run.
    let looks = |event: &AuditEvent| {
        let lease = event
            .object_ref
            .as_ref()
            .is_some_and(|object| object.resource == "leases");
        lease && event.verb == "get" && event.code() == Some(404)
    };
    let refused = log.clone().filter(|event| {
        event.code().is_some_and(|code| code >= 400 && code != 429) && !looks(event)
    });
    assert!(refused.is_empty(), "{refused:#?}");
    assert_eq!(
        log.clone().on("events").verb("create").len(),
        5,
        "one Event per issuer and request"
    );
    let status = log.writes().on("certificaterequests").subresource("status");
    assert_eq!(status.of("payments", "cluster").len(), 1);

    rig.controller().restart().await?;
    assert_eq!(rig.controller().lines_of("payments", "cluster")?.len(), 3);
    requests.delete("cluster").await?;
    assert!(requests.get("cluster").await.is_err());
    Ok(())
}
