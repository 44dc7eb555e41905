//! `pkcs11-issuer run`: runs the controller, from its flags to its last drained request.

pub(super) mod client;
mod collector;
pub(super) mod crls;
mod debug;
mod drain;
mod flags;
mod issuance_log;
mod measured;
mod pod;
mod proxy;

use std::{collections::BTreeSet, env, fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::Client;
use tokio::{
    sync::{oneshot, watch as state},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::{
    client::client,
    collector::collector,
    debug::Debug,
    drain::{Drain, Leaving},
    flags::{answered, settings},
    issuance_log::{applied, in_force, report_trouble},
    pod::{POD_NAME, pod},
};
use super::{
    machine::{host_name, worker},
    signals::Signals,
    version::{COMMIT, PROGRAM, VERSION},
};
use crate::{
    api::issuer::{IssuerKind as _, PKCS11ClusterIssuer, PKCS11Issuer},
    args::Run,
    audit::{IssuanceLog, LogRun},
    checkpoints::{CheckpointWriter, Sources},
    config::Config,
    issuance::{crl, lint},
    metrics::Metrics,
    ownership::{Announcement, Ownership, Replica},
    pins::source::Secrets,
    pipeline::now,
    reconcile::{
        About, BUG, Context, DeletedCertificates, Ending, Events, Issuers, Notes, Queues,
        StoredIssuers, TrustBundles, answer, issuers, publish_usable_tokens, run_issuers,
        run_reissues, run_revocations,
    },
    revocation::CRL_BUG,
    server::{CrlServer, DebugServer, Readiness, Server},
    signers::{
        Tokens,
        limiter::{Limiter, Owners},
        reload,
    },
    telemetry::{self, ErrorChain, LastErrors, Unread},
    trace::Spans,
};

/// File in which a pod finds its namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// How long the collector may take for the last spans, after everything else has ended.
const LAST_SPANS_WITHIN: Duration = Duration::from_secs(3);

/// Exit code after a signal, even if the drain did not finish.
const ENDED: i32 = 0;

/// Runs the controller until SIGTERM or SIGINT, then drains within the drain time.
///
/// # Errors
/// The configuration, the kubeconfig, an address or the logging is unusable, or the worker program is missing.
pub async fn run(args: Run) -> anyhow::Result<()> {
    let signals = Signals::take(ENDED).context("failed to wait for signals")?;
    let errors = LastErrors::new(now);
    telemetry::start(
        args.log_format,
        &args.log_filter(env::var("RUST_LOG").ok().as_deref()),
        Unread::Drop,
        args.debug_address.map(|_| errors.clone()),
    )?;
    let text = Config::read(&args.config)?;
    let config = Config::parse(&args.config, &text)?;
    let worker = worker(args.worker.as_deref())?;
    let identity = args
        .identity
        .clone()
        .or_else(|| env::var(POD_NAME).ok())
        .map_or_else(|| host_name().context("give --identity"), Ok)?;
    let pod_namespace = fs::read_to_string(POD_NAMESPACE).ok();
    let namespace = args.cluster_resource_namespace(pod_namespace.as_deref());
    let metrics = Arc::new(Metrics::with_issuers(VERSION, COMMIT, args.issuer_metrics));
    let lints = lint::LINTS.iter().copied().flatten();
    let of_crls = crl::lint::LINTS.iter().copied().flatten();
    let lints: Vec<_> = lints
        .map(|lint| lint.name)
        .chain(of_crls.map(|lint| lint.name))
        .collect();
    metrics.expect_failures(&[BUG, CRL_BUG], &lints);
    metrics.expect_requests(&[PKCS11Issuer::KIND, PKCS11ClusterIssuer::KIND]);
    let readiness = Readiness::default();
    let server = Server::bind(args.health_address, args.metrics_address).await?;
    let debug = match args.debug_address {
        Some(address) => Some(Debug {
            server: DebugServer::bind(address).await?,
            errors,
        }),
        None => None,
    };
    let crls = crls::bind(args.crl_address).await?;
    let client = client(args.kubeconfig.as_deref(), &metrics).await?;
    let collector = collector(
        args.otlp_endpoint.as_deref(),
        |name| env::var(name).ok(),
        &identity,
        VERSION,
    )?;
    let endpoint = collector.as_ref().map(|one| one.endpoint.clone());
    let spans = match collector {
        Some(collector) => Spans::start(collector, &metrics)?,
        None => Spans::default(),
    };
    let (health, measured) = server
        .addresses()
        .context("failed to read the addresses of the server")?;
    let shown = debug.as_ref().map(|debug| debug.server.address());
    let shown = shown.transpose()?.map(|address| address.to_string());
    let crls_at = crls.as_ref().map(CrlServer::address).transpose()?;
    info!(
        version = VERSION,
        commit = COMMIT,
        namespace,
        identity,
        tokens = config.tokens().count(),
        health = %health,
        metrics = %measured,
        debug = shown,
        crls = crls_at.map(|address| address.to_string()),
        traces = endpoint,
        "started"
    );
    let serving = CancellationToken::new();
    let served =
        tokio::spawn(server.serve(readiness.clone(), Arc::clone(&metrics), serving.clone()));
    let replica = Replica {
        pod: pod(&namespace, pod_namespace.as_deref()),
        identity,
        namespace,
        duration: args.lease_duration,
    };
    let stop = signals.drain_within(args.drain_timeout);
    let run = LogRun::new(config.cluster(), &replica.identity, PROGRAM)?;
    let sinks = config.log().of_replica(&replica.identity);
    let log = IssuanceLog::start(&sinks, run, now)?;
    metrics.count_log(&log);
    let controller = Controller {
        args,
        config,
        config_text: text,
        worker,
        client,
        replica,
        metrics,
        readiness,
        log,
        spans: spans.clone(),
        debug,
        crls,
        serving: serving.clone(),
    };
    let drain = Box::pin(controller.run(stop)).await;
    let last = drain.end().min(Instant::now() + LAST_SPANS_WITHIN);
    if timeout_at(last, spans.end()).await.is_err() {
        warn!("abandoned the last spans; the collector does not take them");
    }
    serving.cancel();
    if let Ok(Err(broken)) = timeout_at(drain.end(), served).await {
        error!(error = %ErrorChain(&broken), "the health server failed");
    }
    info!("stopped");
    Ok(())
}

/// The controller, with everything that exists before its first watch.
struct Controller {
    args: Run,
    config: Config,
    config_text: String,
    worker: PathBuf,
    client: Client,
    replica: Replica,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    log: IssuanceLog,
    spans: Spans,
    debug: Option<Debug>,
    /// `None` if this controller makes no CRLs.
    crls: Option<CrlServer>,
    /// Cancelled when the servers of health, metrics and state must end.
    serving: CancellationToken,
}

impl Controller {
    /// Runs everything between the first watch and the last drained request.
    async fn run(self, stop: CancellationToken) -> Drain {
        let Self {
            args,
            config,
            config_text,
            worker,
            client,
            replica,
            metrics,
            readiness,
            log,
            spans,
            debug,
            crls,
            serving,
        } = self;
        log.started();
        log.configuration(&in_force(&config));
        let Replica {
            namespace,
            identity,
            ..
        } = replica.clone();
        let ending = Ending {
            stop,
            abandon: CancellationToken::new(),
        };
        let stop = &ending.stop;
        let tokens = Tokens::start(
            &config,
            &worker,
            &Secrets(client.clone()),
            &namespace,
            &identity,
            &metrics,
            &log,
        );
        // The replica's Lease lists no token until the replica can act on every request.
        let (usable, seen) = state::channel(BTreeSet::new());
        let (mut checkpoints, head) = CheckpointWriter::new(&config, &metrics, now);
        let told = Announcement { usable: seen, head };
        let (ownership, membership) =
            Ownership::new(client.clone(), replica, told, now, Arc::clone(&metrics));
        let leave = CancellationToken::new();
        let (leave_by, told_to_leave) = oneshot::channel();
        let membership = tokio::spawn(membership.run(told_to_leave));
        let namespaced = issuers::<PKCS11Issuer>(&client);
        let cluster = issuers::<PKCS11ClusterIssuer>(&client);
        let (known, woken) = Issuers::new();
        let (queues, asked) = Queues::new();
        let about = About {
            replica: identity.clone(),
            namespace: namespace.clone(),
            class: args.class.clone(),
            version: VERSION,
            commit: COMMIT,
            started: now(),
        };
        let trust = match args.cluster_trust_bundles {
            true => {
                stop.run_until_cancelled(TrustBundles::find(&client, &metrics))
                    .await
            }
            false => None,
        };
        let (events, events_task) = if args.events {
            let metrics = Arc::clone(&metrics);
            let (events, task) = Events::start(client.clone(), identity, metrics, leave.clone());
            (events, Some(task))
        } else {
            (Events::none(Arc::clone(&metrics)), None)
        };
        let limiter = Limiter::new(owners(&ownership), known.waker());
        let store = (client.clone(), namespace.clone());
        let register = crls::register(crls, store, &ownership, &metrics, &log, serving.clone());
        let context = Arc::new(Context {
            client: client.clone(),
            settings: settings(&args, namespace.clone()),
            tokens,
            ownership: Arc::clone(&ownership),
            stored: StoredIssuers {
                namespaced: namespaced.1.clone(),
                cluster: cluster.1.clone(),
                installation: namespace,
                class: args.class.clone(),
            },
            issuers: known,
            notes: Notes::new(Arc::clone(&metrics)),
            limiter,
            trust,
            register: Arc::clone(&register),
            deleted: DeletedCertificates::new(args.revoke_deleted_certificates),
            events,
            log,
            metrics,
            spans,
        });
        if let Some(debug) = debug {
            let (context, readiness) = (Arc::clone(&context), readiness.clone());
            tokio::spawn(debug.serve(context, queues, about, readiness, serving));
        }
        let known = CancellationToken::new();
        let ready = async {
            known.cancelled().await;
            show_readiness(ownership.held(), &readiness).await;
        };
        let share = async {
            known.cancelled().await;
            publish_usable_tokens(&context.tokens, &usable, stop).await;
        };
        let taken_up = |changed: &Config| applied(changed, &config, &context.log);
        let sources = Sources {
            log: &context.log,
            tokens: &context.tokens,
            ownership: &ownership,
        };
        let work = async {
            tokio::join!(
                stop.run_until_cancelled(checkpoints.run(sources)),
                stop.run_until_cancelled(report_trouble(&context.log)),
                stop.run_until_cancelled(ready),
                stop.run_until_cancelled(share),
                answer(
                    answered(&args),
                    woken,
                    asked,
                    Arc::clone(&context),
                    || known.cancel(),
                    ending.clone()
                ),
                run_issuers(namespaced, Arc::clone(&context), stop),
                run_issuers(cluster, Arc::clone(&context), stop),
                register.run(stop),
                run_revocations(Arc::clone(&context), stop),
                stop.run_until_cancelled(run_reissues(&context)),
                reload::follow(
                    &args.config,
                    config_text,
                    &context.tokens,
                    &context.metrics,
                    &taken_up,
                    stop
                ),
            )
        };
        let told = || readiness.set(false);
        let work = Box::pin(work);
        let drain = Drain::after(work, &ending, args.drain_timeout, told).await;
        // Nothing more is signed or published. The workers still run, for the last checkpoint.
        checkpoints.finish(sources, drain.signed_by()).await;
        // Give the Lease back only now: the other replicas take over at once.
        let leaving = Leaving {
            leave,
            membership,
            leave_by,
            events: events_task,
        };
        drain.leave(leaving, &context).await;
        if let Err(error) = context.log.close(drain.left_for_the_log()).await {
            error!(error = %ErrorChain(&error), "the last lines of the issuance log are missing");
        }
        drain
    }
}

/// Returns a function that counts the replicas of a token. They share the limits of its issuers.
fn owners(ownership: &Arc<Ownership>) -> Owners {
    let ownership = Arc::clone(ownership);
    Box::new(move |token| u32::try_from(ownership.share(token).get()).unwrap_or(u32::MAX))
}

/// Keeps the controller ready while its Lease is held.
async fn show_readiness(mut held: state::Receiver<bool>, readiness: &Readiness) {
    while let Ok(now) = held.wait_for(|held| *held != readiness.get()).await {
        readiness.set(*now);
        // The line about the Lease says why.
        debug!(ready = *now, "readiness");
    }
}
