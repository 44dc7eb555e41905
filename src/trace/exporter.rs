//! Sends spans to a collector, by OTLP over HTTP, from a thread of its own.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry::{InstrumentationScope, KeyValue, trace::SpanId};
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{SpanData, SpanExporter},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::spans::{Clocks, TracedLook, spans};
use crate::{
    metrics::Metrics,
    telemetry::{ErrorChain, RepeatFilter},
};

/// Spans that may wait for the collector; any further one is dropped and counted.
const QUEUE: usize = 4096;
/// The most spans in one message.
const BATCH: usize = 512;
/// How long a span waits for others.
const EVERY: Duration = Duration::from_secs(2);

/// The collector, and how this process names itself to it.
#[derive(Debug)]
pub struct Collector {
    /// URL of its receiver for traces.
    pub endpoint: String,
    /// Client to call it with. The further settings of a call, such as headers, come from OpenTelemetry's environment variables.
    pub client: Arc<dyn HttpClient>,
    /// Value of OTEL_SERVICE_NAME, if it is set.
    pub service: Option<String>,
    /// Name of this replica.
    pub replica: String,
    /// Version of this program.
    pub version: &'static str,
}

/// Reason why no spans can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SpansError {
    /// The endpoint or an environment variable of OpenTelemetry is not usable.
    #[error(
        "the collector of traces cannot be used; correct --otlp-endpoint or the variables OTEL_EXPORTER_OTLP_*"
    )]
    Settings(#[source] ExporterBuildError),
    /// The operating system gave no thread.
    #[error("failed to start the thread that sends traces")]
    Thread(#[source] io::Error),
}

/// Queue of spans for the collector, or none if traces are off. Clones share it.
///
/// *Guarantees*: sending never waits. A span for which the queue has no place, or that the collector does not take, is dropped
/// and counted.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Arc<Running>>);

#[derive(Debug)]
struct Running {
    queue: mpsc::Sender<SpanData>,
    scope: InstrumentationScope,
    last_id: AtomicU64,
    metrics: Arc<Metrics>,
    close: CancellationToken,
    /// Closed when the thread has ended.
    ended: watch::Receiver<()>,
}

impl Spans {
    /// Starts the thread.
    ///
    /// # Errors
    /// The settings are not usable, or there is no thread.
    pub fn start(collector: Collector, metrics: &Arc<Metrics>) -> Result<Self, SpansError> {
        let scope = InstrumentationScope::builder("pkcs11-issuer")
            .with_version(collector.version)
            .build();
        let exporter = exporter(collector).map_err(SpansError::Settings)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SpansError::Thread)?;
        let mut seed = [0; 8];
        aws_lc_rs::rand::fill(&mut seed)
            .map_err(|_| SpansError::Thread(io::Error::other("no random octets")))?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        let close = CancellationToken::new();
        let export = export(waiting, exporter, Arc::clone(metrics), close.clone());
        thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || {
                runtime.block_on(export);
                drop(alive);
            })
            .map_err(SpansError::Thread)?;
        Ok(Self(Some(Arc::new(Running {
            queue,
            scope,
            last_id: AtomicU64::new(u64::from_ne_bytes(seed)),
            metrics: Arc::clone(metrics),
            close,
            ended,
        }))))
    }

    /// Returns whether traces are on.
    #[must_use]
    pub const fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Queues the spans of a look. `clocks` is the present time.
    pub fn send(&self, look: TracedLook<'_>, clocks: Clocks) {
        let Some(running) = &self.0 else { return };
        for span in spans(look, clocks, &running.scope, || running.next_id()) {
            if running.queue.try_send(span).is_err() {
                running.metrics.spans_dropped(1);
            }
        }
    }

    /// Sends the spans that wait, and ends. Waits until the collector has taken them; drop the future to give up.
    pub async fn end(&self) {
        let Some(running) = &self.0 else { return };
        running.close.cancel();
        // An error means that the thread has ended, because it never sends anything.
        running.ended.clone().changed().await.ok();
    }
}

impl Running {
    /// Returns an ID that no other span of this process has. Those of several replicas differ, because each begins at random.
    fn next_id(&self) -> SpanId {
        let count = self.last_id.fetch_add(1, Ordering::Relaxed);
        // An odd factor maps different numbers to different ones, and not to neighbours.
        SpanId::from(count.wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1))
    }
}

fn exporter(collector: Collector) -> Result<impl SpanExporter + 'static, ExporterBuildError> {
    let Collector {
        endpoint,
        client,
        service,
        replica,
        version,
    } = collector;
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_shared_http_client(client)
        .build()?;
    let resource = Resource::builder_empty()
        .with_service_name("pkcs11-issuer")
        .with_attributes([
            KeyValue::new("service.version", version),
            KeyValue::new("service.instance.id", replica),
        ])
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            // OTEL_RESOURCE_ATTRIBUTES. It takes precedence over our own names.
            Box::new(EnvResourceDetector::new()),
        ]);
    let resource = match service {
        Some(service) => resource.with_service_name(service),
        None => resource,
    };
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// Sends spans, batch by batch, until `close` is cancelled and the queue is empty.
async fn export(
    mut waiting: mpsc::Receiver<SpanData>,
    exporter: impl SpanExporter,
    metrics: Arc<Metrics>,
    close: CancellationToken,
) {
    let mut said = RepeatFilter::default();
    loop {
        let batch = next_batch(&mut waiting, &close).await;
        let count = batch.len();
        if count == 0 {
            return;
        }
        match exporter.export(batch).await {
            Ok(()) => said.clear(),
            Err(error) => {
                metrics.spans_dropped(count);
                let text = ErrorChain(&error).to_string();
                if said.is_news(&text, Instant::now()) {
                    warn!(
                        error = text,
                        "the collector does not take spans; they are dropped and counted"
                    );
                }
            }
        }
    }
}

/// Waits for a full batch, or for the first span and then as long as a span may wait. The batch is empty only at the end.
async fn next_batch(
    waiting: &mut mpsc::Receiver<SpanData>,
    close: &CancellationToken,
) -> Vec<SpanData> {
    let mut batch = Vec::new();
    let gather = async {
        if waiting.recv_many(&mut batch, BATCH).await > 0 {
            timeout(EVERY, fill(waiting, &mut batch)).await.ok();
        }
    };
    if close.run_until_cancelled(gather).await.is_none() {
        waiting.close();
        fill(waiting, &mut batch).await;
    }
    batch
}

async fn fill(waiting: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    while batch.len() < BATCH && waiting.recv_many(batch, BATCH - batch.len()).await > 0 {}
}

#[cfg(test)]
mod tests;
