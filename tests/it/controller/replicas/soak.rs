//! Injects faults of every kind in random order, for as long as you like: `make soak`.

mod crls;
mod log;

use std::{env, time::Duration};

use anyhow::{Context as _, Result, bail};
use control_plane::Signal;
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Replicas, SHORT_SECONDS, all_issued, make};

/// Longer than a Lease lasts, so that the other replicas take over and give back.
const OUTAGE: Duration = Duration::from_secs(SHORT_SECONDS.unsigned_abs() + 2);
/// The time from one request to the next.
const PACE: Duration = Duration::from_millis(100);

/// A fault to inject.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed(usize),
    Terminated(usize),
    Stopped(usize),
    TokenAway(usize),
    ApiServerRestarted,
    ApiServerStopped,
    EtcdStopped,
    WebhookDown,
    WebhookSilent,
}

/// Returns any fault.
fn any_fault() -> impl Strategy<Value = Fault> {
    let replica = || 0..3_usize;
    prop_oneof![
        replica().prop_map(Fault::Killed),
        replica().prop_map(Fault::Terminated),
        replica().prop_map(Fault::Stopped),
        replica().prop_map(Fault::TokenAway),
        Just(Fault::ApiServerRestarted),
        Just(Fault::ApiServerStopped),
        Just(Fault::EtcdStopped),
        Just(Fault::WebhookDown),
        Just(Fault::WebhookSilent),
    ]
}

/// Returns the `first` events and then `SOAK_FAULTS` others (3 by default), each with the pause that follows it, in an order
/// that depends on `SOAK_SEED` alone.
fn planned<T: Clone + std::fmt::Debug>(
    first: impl Strategy<Value = Vec<T>>,
    event: impl Strategy<Value = T>,
) -> Result<Vec<(T, Duration)>> {
    let count = given("SOAK_FAULTS")?.map_or(Ok(3), usize::try_from)?;
    let seed = given("SOAK_SEED")?.unwrap_or_else(|| std::process::id().into());
    println!("{count} random faults; to have the same again: make soak SEED={seed}");
    let pause = (0..5000_u64).prop_map(Duration::from_millis);
    let random = TestRng::from_seed(
        RngAlgorithm::ChaCha,
        &[seed; 4].map(u64::to_le_bytes).concat(),
    );
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let more = prop::collection::vec((event, pause.clone()), count);
    let first = first.prop_flat_map(move |first| {
        let pauses = prop::collection::vec(pause.clone(), first.len());
        (Just(first), pauses)
    });
    let plan = (first, more).new_tree(&mut runner);
    let ((first, pauses), more) = plan.map_err(anyhow::Error::msg)?.current();
    Ok(first.into_iter().zip(pauses).chain(more).collect())
}

/// Has the events of a plan happen, one after the other.
async fn one_by_one<T: Copy + std::fmt::Debug>(
    plan: Vec<(T, Duration)>,
    happens: impl AsyncFn(T) -> Result<()>,
) -> Result<()> {
    let count = plan.len();
    for (number, (event, pause)) in (1..).zip(plan) {
        println!("{number} of {count}: {event:?}");
        let happened = happens(event).await;
        happened.with_context(|| format!("fault {number}, {event:?}"))?;
        sleep(pause).await;
    }
    Ok(())
}

impl Fault {
    /// Injects the fault and ends it.
    async fn happens(self, replicas: &Replicas) -> Result<()> {
        let plane = replicas.cluster.plane();
        let cert_manager = replicas.cluster.cert_manager()?;
        let stopped = async |process: &control_plane::Process| {
            process.signal(Signal::STOP)?;
            sleep(OUTAGE).await;
            process.signal(Signal::CONT)
        };
        match self {
            Self::Killed(replica) => {
                let controller = &replicas.controllers[replica];
                controller.kill();
                sleep(OUTAGE).await;
                controller.restart().await
            }
            Self::Terminated(replica) => {
                let controller = &replicas.controllers[replica];
                let ended = controller.stop().await?;
                if !ended.success() {
                    bail!("a replica ended with {ended}");
                }
                controller.restart().await
            }
            Self::Stopped(replica) => stopped(replicas.controllers[replica].process()).await,
            Self::TokenAway(replica) => {
                let store = replicas.authorities[replica].token().store();
                store.take_away()?;
                sleep(OUTAGE).await;
                Ok(store.give_back()?)
            }
            Self::ApiServerRestarted => {
                plane.stop_api_server();
                plane.start_api_server().await
            }
            Self::ApiServerStopped => stopped(plane.api_server()).await,
            Self::EtcdStopped => stopped(plane.etcd()).await,
            Self::WebhookDown => {
                cert_manager.stop_webhook();
                sleep(OUTAGE).await;
                cert_manager.start_webhook().await
            }
            Self::WebhookSilent => {
                cert_manager.pause_webhook()?;
                sleep(OUTAGE).await;
                cert_manager.resume_webhook()
            }
        }
    }
}

/// Returns a number from the environment.
fn given(name: &str) -> Result<Option<u64>> {
    let text = env::var(name).ok();
    let number = text.map(|text| text.parse().with_context(|| format!("{name}={text}")));
    number.transpose()
}

/// Makes a request every [`PACE`] during these faults, and checks what became of each. Afterwards all replicas sign again.
async fn under_load(replicas: &Replicas, faulty: impl Future<Output = Result<()>>) -> Result<()> {
    let requests = replicas.requests().await?;
    let over = CancellationToken::new();
    let steadily = async {
        let mut names = Vec::new();
        while !over.is_cancelled() {
            let name = format!("web-{}", names.len());
            make(&requests, &name).await?;
            names.push(name);
            sleep(PACE).await;
        }
        anyhow::Ok(names)
    };
    let faulty = async {
        faulty.await?;
        over.cancel();
        anyhow::Ok(())
    };
    let (names, ()) = tokio::try_join!(steadily, faulty)?;
    all_issued(&requests, &names).await?;
    println!("{} requests, all issued", names.len());
    replicas.one_certificate_each(&requests, &names).await?;
    replicas.see(3).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes: make soak"]
async fn whatever_fails_in_any_order_no_request_is_lost_and_none_gets_two_certificates()
-> Result<()> {
    let plan = planned(Just(Vec::new()), any_fault())?;
    let replicas = Replicas::start(&format!("{SHORT_SECONDS}s")).await?;
    let faulty = one_by_one(plan, async |fault: Fault| fault.happens(&replicas).await);
    under_load(&replicas, faulty).await
}
