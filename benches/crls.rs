//! Measures how many requests for a CRL of 10 kB one core answers over HTTP, the kernel's work included.
//!
//! The server has a thread of its own, whose processor time counts. `BENCH_CLIENTS` clients (default 16) ask again and again for
//! `BENCH_SECONDS` seconds (default 5), on connections that stay open and then on a connection for each request. Takes the median
//! of three runs, prints a table and writes `target/bench/crls.json`.

use std::{
    env, fs,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use bench::{Report, Row, median, spread};
use jiff::{SignedDuration, Timestamp};
use pkcs11_issuer::{
    metrics::Metrics,
    server::{CrlServer, CrlSource, NotServed, ServedCrl},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The goal, in requests per second of processor time.
const LEAST: f64 = 2000.0;
const RUNS: usize = 3;
/// Octets of the CRL: about 200 entries.
const OCTETS: usize = 10_000;
const CA: &str = "00112233445566778899aabbccddeeff";

struct One(Arc<ServedCrl>);

impl CrlSource for One {
    fn find(&self, ca: &str, shard: &str) -> Result<Arc<ServedCrl>, NotServed> {
        if ca == CA && shard == "0" {
            Ok(Arc::clone(&self.0))
        } else {
            Err(NotServed::Unknown)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the server")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns the processor time of the calling thread.
fn processor_time() -> Result<Duration, Error> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().ok_or("no time")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Serves on a thread of its own until `stop`, and returns the address and the thread, which ends with its processor time.
fn serve(
    stop: CancellationToken,
) -> Result<(SocketAddr, thread::JoinHandle<Result<Duration, Error>>), Error> {
    let (tell, told) = mpsc::channel();
    let server = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let server = CrlServer::bind(([127, 0, 0, 1], 0).into()).await?;
            tell.send(server.address()?)?;
            let end = now() + SignedDuration::from_hours(24);
            let crl = ServedCrl::new(vec![0x30; OCTETS], "5a", now(), end);
            let metrics = Arc::new(Metrics::new("0", "0"));
            server
                .serve(Arc::new(One(Arc::new(crl))), metrics, now, stop)
                .await;
            processor_time()
        })
    });
    Ok((told.recv()?, server))
}

/// Asks until `until`, and returns the number of answers.
async fn ask(address: SocketAddr, keep: bool, until: Instant) -> Result<u32, Error> {
    let close = if keep { "" } else { "Connection: close\r\n" };
    let request = format!("GET /crl/{CA}/0.crl HTTP/1.1\r\nHost: crl\r\n{close}\r\n");
    let mut answers = 0;
    let mut buffer = vec![0; 2 * OCTETS];
    while Instant::now() < until {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        loop {
            stream.write_all(request.as_bytes()).await?;
            let mut read = 0;
            let whole = loop {
                let some = stream
                    .read(buffer.get_mut(read..).ok_or("too long")?)
                    .await?;
                if some == 0 {
                    return Err("the connection ended early".into());
                }
                read += some;
                let got = buffer.get(..read).unwrap_or_default();
                let head = got.windows(4).position(|four| four == b"\r\n\r\n");
                if let Some(head) = head.filter(|head| read >= head + 4 + OCTETS) {
                    break head + 4 + OCTETS;
                }
            };
            assert_eq!(read, whole, "an answer has other octets");
            answers += 1;
            if !keep || Instant::now() >= until {
                break;
            }
        }
    }
    Ok(answers)
}

/// Returns the requests per second of the server's processor time.
fn measure(clients: usize, seconds: u64, keep: bool) -> Result<f64, Error> {
    let stop = CancellationToken::new();
    let (address, server) = serve(stop.clone())?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let answers = runtime.block_on(async {
        let mut all = JoinSet::new();
        for _ in 0..clients {
            all.spawn(ask(address, keep, until));
        }
        let mut answers = 0;
        while let Some(some) = all.join_next().await {
            answers += some??;
        }
        Ok::<_, Error>(answers)
    })?;
    stop.cancel();
    let took = server.join().map_err(|_| "the server failed")??;
    Ok(f64::from(answers) / took.as_secs_f64())
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> Result<T, Error>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match env::var(name) {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(default),
    }
}

fn main() -> Result<(), Error> {
    let clients = number("BENCH_CLIENTS", 16)?;
    let seconds = number("BENCH_SECONDS", 5)?;
    let mut report = Report::new("crls");
    let mut slow = false;
    for (name, keep) in [
        ("connections that stay open", true),
        ("a connection each", false),
    ] {
        let runs: Result<Vec<_>, _> = (0..RUNS).map(|_| measure(clients, seconds, keep)).collect();
        let runs = runs?;
        let rate = median(&runs);
        slow |= rate < LEAST;
        let name = format!("CRL of 10 kB, {name}");
        report.push(Row::new(&name, "requests/s of a core", rate).spread(spread(&runs)));
    }
    report.print("");
    report.write()?;
    if slow {
        return Err(format!("slower than {LEAST} requests per second of a core").into());
    }
    Ok(())
}
