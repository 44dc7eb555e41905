//! Measures one start among finished requests.

use std::time::{Duration, Instant};

use anyhow::Result;
use bench::{Spent, children};
use rig::{
    Authority, Cluster, Controller, ControllerOptions, Programs, Requests, csr_for, request_spec,
};

use crate::issuer;

/// Time from the start of the process to the approval of the request that comes during the start.
const MEANWHILE: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The measurements of one start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Seconds from the start of the process until it says that it is ready.
    pub(crate) ready: f64,
    /// Seconds from the approval of a request, half a second after the start of the process, until it is issued.
    pub(crate) approved_meanwhile: f64,
    /// Seconds from the start of the process until the last request in the list, approved before, is issued.
    pub(crate) approved_before: f64,
    /// Peak resident memory of the controller in MB of 10⁶ octets.
    pub(crate) controller_megabytes: f64,
    /// Peak resident memory of the worker in MB of 10⁶ octets.
    pub(crate) worker_megabytes: f64,
}

/// Starts a controller, measures it and ends it.
pub(crate) async fn measure(
    cluster: &Cluster,
    programs: &Programs,
    authority: &Authority,
    run: usize,
) -> Result<Start> {
    let requests = cluster.requests("default").await?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    let [before, meanwhile] = [format!("z-before-{run}"), format!("z-meanwhile-{run}")];
    requests.create_approved(&before, spec.clone()).await?;
    requests.create(&meanwhile, spec).await?;

    let began = Instant::now();
    let controller = launch(cluster, programs, authority, "restarted")?;
    let ready = async {
        is_ready(&controller).await?;
        anyhow::Ok(began.elapsed())
    };
    let approved_meanwhile = async {
        tokio::time::sleep(MEANWHILE).await;
        requests.approve(&meanwhile).await?;
        issued_after(&requests, &meanwhile, Instant::now()).await
    };
    let approved_before = issued_after(&requests, &before, began);
    let (ready, approved_meanwhile, approved_before) =
        tokio::try_join!(ready, approved_meanwhile, approved_before)?;

    let process = controller.process().id();
    let all = Spent::by(process)?.peak_megabytes;
    let mut worker_megabytes = 0.0;
    for child in children(process)? {
        worker_megabytes += Spent::by(child)?.peak_megabytes;
    }
    controller.stop().await?;
    Ok(Start {
        ready: ready.as_secs_f64(),
        approved_meanwhile,
        approved_before,
        controller_megabytes: all - worker_megabytes,
        worker_megabytes,
    })
}

/// Waits until a controller says that it is ready, without a timeout for reading the list.
pub(crate) async fn is_ready(controller: &Controller) -> Result<()> {
    while !controller.says_ready().await? {
        controller.process().check_running()?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Waits until a request is issued and returns the seconds since `then`.
pub(crate) async fn issued_after(requests: &Requests, name: &str, then: Instant) -> Result<f64> {
    loop {
        if requests.status(name).await?.certificate().is_some() {
            return Ok(then.elapsed().as_secs_f64());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Launches a controller with this name, which is also its identity.
pub(crate) fn launch(
    cluster: &Cluster,
    programs: &Programs,
    authority: &Authority,
    name: &str,
) -> Result<Controller> {
    let options = ControllerOptions {
        name: name.to_owned(),
        ..ControllerOptions::new(authority.configuration(&[]).to_string(), programs)
    };
    Controller::launch(cluster, &options)
}
