//! Measures what the trace of one certificate costs. Switched off: nanoseconds per look. Switched on: microseconds of
//! processor time of the whole process, exporter included, while a collector in another process receives every span.
//!
//! Takes medians of five runs of `BENCH_CERTIFICATES` certificates (default 20000), prints a table and writes
//! `target/bench/traces.json`. Fails above a goal.

use std::{
    convert::Infallible,
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{self, Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use bench::{Report, Row, Spent, median, spread};
use futures::{executor::block_on, future::ready};
use opentelemetry_http::hyper::HyperClient;
use pkcs11_issuer::{
    metrics::Metrics,
    trace::{
        Clocks, Collector, Outcome, Record, Spans, Took, TracedCertificate, TracedLook, WorkStage,
        ended, recorded, stage,
    },
};

type Failed = Box<dyn std::error::Error>;

/// The goals: nanoseconds without traces, microseconds of processor time with them.
const MOST_OFF: f64 = 1000.0;
const MOST_ON: f64 = 40.0;

const RUNS: usize = 5;
/// The stages of a certificate within a look; the stage `queue` ends before the look.
const STAGES: [WorkStage; 3] = [WorkStage::Turn, WorkStage::Token, WorkStage::Write];
/// Certificates between two pauses, and the length of a pause: about two thousand certificates per second.
const BURST: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> Result<(), Failed> {
    if env::args().any(|argument| argument == "--take-spans") {
        return take_spans();
    }
    let certificates = env::var("BENCH_CERTIFICATES").map_or(Ok(20_000), |count| count.parse())?;
    let mut report = Report::new("traces");
    let off = measure(|| Ok(off(certificates)))?;
    let sink = Sink::start()?;
    let on = measure(|| on(certificates, &sink))?;
    for (what, unit, runs, most) in [
        ("off, per certificate", "ns", off, MOST_OFF),
        ("on, CPU per certificate", "µs", on, MOST_ON),
    ] {
        let row = Row::new(what, unit, median(&runs)).spread(spread(&runs));
        report.push(row.at_most(most));
    }
    report.print("");
    report.write()?;
    Ok(report.goals_are_reached()?)
}

fn measure(mut run: impl FnMut() -> Result<f64, Failed>) -> Result<Vec<f64>, Failed> {
    (0..RUNS).map(|_| run()).collect()
}

/// Returns the nanoseconds that the hooks of a look cost without traces.
fn off(certificates: usize) -> f64 {
    let with = timed(certificates, || block_on(recorded(false, look(true))).0);
    let without = timed(certificates, || block_on(look(false)));
    (with - without).max(0.0)
}

fn timed(count: usize, mut work: impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..count).for_each(|_| work());
    started.elapsed().as_secs_f64() * 1e9 / as_number(count)
}

/// Runs the stages of a certificate, with or without the hooks around them. No stage takes any time.
async fn look(hooks: bool) {
    for one in STAGES {
        let work = ready(Ok::<_, Infallible>(std::hint::black_box(one)));
        let done = match hooks {
            true => stage(one, work).await,
            false => work.await,
        };
        std::hint::black_box(done.is_ok());
    }
    if hooks {
        ended(|| Outcome::Denied);
    }
}

/// Returns the microseconds of processor time per certificate, from the record of its look to the collector's answer.
fn on(certificates: usize, sink: &Sink) -> Result<f64, Failed> {
    let metrics = Arc::new(Metrics::new("0.1.0", "unknown"));
    let collector = Collector {
        endpoint: format!("http://{}/v1/traces", sink.address),
        client: Arc::new(HyperClient::with_default_connector(
            Duration::from_secs(10),
            None,
        )),
        service: None,
        replica: "bench".to_owned(),
        version: "0.1.0",
    };
    let spans = Spans::start(collector, &metrics)?;
    let before = Spent::by_one(process::id())?;
    for number in 0..certificates {
        send(number, &spans);
        if number % BURST == 0 {
            thread::sleep(PAUSE);
        }
    }
    // The runtime of the exporter is its own, so any executor can wait for it.
    block_on(spans.end());
    let spent = Spent::by_one(process::id())?.cpu_seconds - before.cpu_seconds;
    let text = metrics.encode()?;
    if !text
        .lines()
        .any(|line| line == "pkcs11_issuer_spans_dropped_total 0")
    {
        return Err("the collector did not take every span, so the figure is too low".into());
    }
    Ok(spent * 1e6 / as_number(certificates))
}

fn send(number: usize, spans: &Spans) {
    let due = Instant::now();
    let uid = format!("6f0f9d1e-7c5b-4b7e-9d52-{number:012x}");
    let work = async {
        look(true).await;
        ended(|| {
            Outcome::Issued(TracedCertificate {
                serial: "3f2a90c1d4e5b6a7988776655443322a".to_owned(),
                token: "issuing".into(),
            })
        });
    };
    let ((), record) = block_on(recorded(true, work));
    let mut record: Record = record.unwrap_or_default();
    if let Some(first) = record.stages.first().copied() {
        let queue = Took {
            stage: WorkStage::Queue,
            began: due,
            ended: first.began,
            failed: false,
        };
        record.stages.insert(0, queue);
    }
    let look = TracedLook {
        kind: "CertificateRequest",
        request: format!("shop/web-{number}"),
        uid: &uid,
        issuer: "PKCS11ClusterIssuer issuing".to_owned(),
        token: Some("issuing".to_owned()),
        since: due,
        record,
    };
    let clocks = Clocks {
        steady: Instant::now(),
        day: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    };
    spans.send(look, clocks);
}

fn as_number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A collector in another process that accepts every span and keeps none.
struct Sink {
    address: String,
    process: Child,
}

impl Sink {
    fn start() -> Result<Self, Failed> {
        let mut process = Command::new(env::current_exe()?)
            .arg("--take-spans")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let told = process.stdout.take().ok_or("the collector has no stdout")?;
        BufReader::new(told).read_line(&mut address)?;
        Ok(Self {
            address: address.trim().to_owned(),
            process,
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn take_spans() -> Result<(), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        // An error means that the client is gone.
        thread::spawn(move || answer(stream).ok());
    }
    Ok(())
}

/// Answers each request of a connection, with HTTP/1.1 and a length.
fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body)?;
        stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )?;
    }
}
