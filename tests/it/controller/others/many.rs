//! Tests many issuers that name one Secret, with a token that is slow to start and an API server that is overloaded.

use std::time::{Duration, Instant};

use anyhow::Result;
use control_plane::{AuditLog, until};
use rig::{
    Authority, CONTROLLER, Cluster, Controller, ControllerOptions, IssuerName, NAMESPACE, Options,
    PATIENCE,
};
use serde_json::json;
use softhsm_test_helpers::{Function, KeyKind};

use crate::controller::{between::Between, programs};

const MANY: usize = 30;
/// Number of status writes that the API server refuses.
const TURNED_AWAY: usize = 10;
const SECRET: &str = "many-ca";
const KIND: &str = "/apis/pkcs11-issuer.dev/v1alpha1/pkcs11clusterissuers/";
/// The shortest time between two rounds at this `--probe-interval`: up to a quarter of it is jitter.
const INTERVAL: &str = "2s";
const ROUND: Duration = Duration::from_millis(1500);

fn name(number: usize) -> IssuerName {
    IssuerName::cluster(&format!("many-{number}"))
}

/// Returns the controller's calls of the API server.
fn log(cluster: &Cluster) -> Result<AuditLog> {
    Ok(cluster.plane().audit_log()?.by(CONTROLLER))
}

fn reads(cluster: &Cluster) -> Result<usize> {
    let secret = log(cluster)?.on("secrets").of(NAMESPACE, SECRET);
    Ok(secret.verb("get").len())
}

#[tokio::test]
async fn many_issuers_become_ready_with_one_write_each_and_read_a_shared_secret_once_a_round()
-> Result<()> {
    let authority = Authority::new(KeyKind::P256)?;
    let cluster = Cluster::start(&programs()?, Options::default().cert_manager).await?;
    let chain = authority.chain();
    cluster.apply_secret(NAMESPACE, SECRET, &chain).await?;
    let spec = authority.issuer_spec_with_secret(SECRET);
    let issuers: Vec<_> = (0..MANY)
        .map(|number| {
            json!({
                "apiVersion": "pkcs11-issuer.dev/v1alpha1", "kind": "PKCS11ClusterIssuer",
                "metadata": {"name": format!("many-{number}")}, "spec": spec,
            })
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": issuers});
    cluster.apply(&list).await?;
    let between = Between::start(cluster.plane(), cluster.controller_kubeconfig())?;
    between.be_busy(KIND, TURNED_AWAY);
    let library = authority.token().with_faults()?;
    // The token becomes usable only after the controller has looked at every issuer.
    library.rules("C_Login delay_ms=3000 count=1")?;
    let mut configuration = authority.configuration(&[]);
    configuration["modules"]["softhsm"] = json!({"path": library.module(), "env": library.env()});
    let options = ControllerOptions {
        args: ["--probe-interval", INTERVAL].map(str::to_owned).into(),
        kubeconfig: Some(between.kubeconfig().to_owned()),
        ..ControllerOptions::new(configuration.to_string(), &programs()?)
    };
    let controller = Controller::start(&cluster, &options).await?;
    for number in 0..MANY {
        cluster.issuer_is_ready(&name(number)).await?;
    }

    // The controller wrote each status once and reported no outage.
    let kind = "pkcs11clusterissuers.pkcs11-issuer.dev";
    let writes = log(&cluster)?.writes().on(kind).subresource("status");
    let said: Vec<_> = writes
        .iter()
        .filter_map(|write| write.request_object.as_ref())
        .map(|object| object["status"]["conditions"][0]["reason"].clone())
        .collect();
    assert_eq!(said, vec![json!("Verified"); MANY]);

    // Each refused write was retried once, after the requested pause and not much later.
    let answers = between.answers();
    let refused = answers.iter().filter(|answer| answer.code == 429);
    assert_eq!(refused.clone().count(), TURNED_AWAY);
    for refused in refused {
        let mut later = answers
            .iter()
            .filter(|answer| answer.path == refused.path && answer.at > refused.at);
        let next = later.next().unwrap();
        assert_eq!(next.code, 200, "{}", next.path);
        let pause = next.at - refused.at;
        assert!(pause >= Duration::from_secs(1), "{pause:?}");
        assert!(pause < Duration::from_secs(5), "{pause:?}");
    }

    // At rest, each round reads the Secret once and probes the key once for all issuers.
    let signatures = || library.calls(Function::C_Sign);
    let (start, read, signed) = (Instant::now(), reads(&cluster)?, signatures()?);
    until("three more rounds", PATIENCE, async || {
        Ok((reads(&cluster)? >= read + 3).then_some(()))
    })
    .await?;
    let most = start.elapsed().as_millis() / ROUND.as_millis() + 1;
    let (read, signed) = (reads(&cluster)? - read, signatures()? - signed);
    assert!(
        u128::try_from(read)? <= most,
        "{read} reads in {most} rounds"
    );
    assert!(
        u128::from(signed) <= most,
        "{signed} probes in {most} rounds"
    );
    controller.process().check_running()?;
    Ok(())
}
