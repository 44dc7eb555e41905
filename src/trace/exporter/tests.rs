//! The exporter with collectors that do not work.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    time::SystemTime,
};

use opentelemetry_http::hyper::HyperClient;

use super::*;
use crate::trace::{Outcome, Record};

fn collector(address: SocketAddr) -> Collector {
    Collector {
        endpoint: format!("http://{address}/v1/traces"),
        client: Arc::new(HyperClient::with_default_connector(
            Duration::from_secs(10),
            None,
        )),
        service: None,
        replica: "a".to_owned(),
        version: "0.1.0",
    }
}

/// Sends spans one by one, each as the end of a request.
fn send(spans: &Spans, count: usize) {
    let now = Instant::now();
    let clocks = Clocks {
        steady: now,
        day: SystemTime::UNIX_EPOCH,
    };
    for _ in 0..count {
        let look = TracedLook {
            kind: "CertificateRequest",
            request: "shop/web".to_owned(),
            uid: "6f0f9d1e-7c5b-4b7e-9d52-0f0e0d0c0b0a",
            issuer: "issuing".to_owned(),
            token: None,
            since: now,
            record: Record {
                outcome: Some(Outcome::Denied),
                ..Record::default()
            },
        };
        spans.send(look, clocks);
    }
}

fn dropped(metrics: &Metrics) -> usize {
    let text = metrics.encode().unwrap();
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.strip_prefix("pkcs11_issuer_spans_dropped_total "));
    count.map_or(0, |count| count.parse().unwrap())
}

/// A collector that accepts connections and never answers.
#[tokio::test]
async fn a_collector_that_hangs_makes_nobody_wait_and_every_span_beyond_the_queue_is_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = Arc::new(Metrics::new("0.1.0", "unknown"));
    let spans = Spans::start(collector(silent.local_addr().unwrap()), &metrics).unwrap();
    let all = 3 * QUEUE;
    send(&spans, all);
    // At most one batch is with the collector; the others wait or were dropped.
    let dropped = dropped(&metrics);
    assert!(dropped >= all - QUEUE - BATCH, "{dropped}");
    assert!(dropped <= all - QUEUE, "{dropped}");
    // The caller limits how long it waits for the last spans.
    let ended = timeout(Duration::from_millis(50), spans.end()).await;
    assert!(ended.is_err());
}

#[tokio::test]
async fn spans_are_dropped_and_counted_without_a_collector_and_the_end_does_not_hang() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let metrics = Arc::new(Metrics::new("0.1.0", "unknown"));
    let spans = Spans::start(collector(nobody), &metrics).unwrap();
    send(&spans, 7);
    spans.end().await;
    assert_eq!(dropped(&metrics), 7);
    send(&spans, 1);
    assert_eq!(dropped(&metrics), 8);
}

#[tokio::test]
async fn without_a_collector_nothing_is_kept() {
    let spans = Spans::default();
    assert!(!spans.are_wanted());
    send(&spans, 1);
    spans.end().await;
}

/// Where the process that has the variable of OpenTelemetry finds the collector.
const COLLECTOR: &str = "COLLECTOR_OF_THIS_TEST";

/// A variable holds for a whole process. So the test runs itself once more, with the variable.
#[tokio::test]
async fn the_headers_of_the_environment_reach_the_collector() {
    if let Ok(address) = env::var(COLLECTOR) {
        let metrics = Arc::new(Metrics::new("0.1.0", "unknown"));
        let spans = Spans::start(collector(address.parse().unwrap()), &metrics).unwrap();
        send(&spans, 1);
        spans.end().await;
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = module_path!().split_once("::").unwrap().1;
    let mut sender = Command::new(env::current_exe().unwrap())
        .arg("--exact")
        .arg(format!(
            "{path}::the_headers_of_the_environment_reach_the_collector"
        ))
        .env(COLLECTOR, listener.local_addr().unwrap().to_string())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (stream, _) = listener.accept().unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    sender.kill().unwrap();
    sender.wait().unwrap();
    assert!(head.contains(&"x-tenant: shop".to_owned()), "{head:?}");
}
