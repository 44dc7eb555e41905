//! The issuance log: processor time of its lines per certificate, all threads together, and memory after a million lines.
//! Also the time to verify a log.

use std::{
    fs,
    io::BufReader,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bench::{Report, Row, median};
use futures::future::try_join_all;
use jiff::Timestamp;
use pkcs11_issuer::{
    audit::{
        Certificate, CertificateEntry, IssuanceLog, LogError, LogRun, LoggedIssuer, LoggedRequest,
        LoggedToken, Program, RequestKind, Requester, Subject, verify::Verifier,
    },
    config::{FileSink, Fsync, LogSettings, OnFailure},
};
use tokio::runtime::Builder;

use super::Failed;

/// Certificates per measurement, and requests in flight at the same time.
const CERTIFICATES: usize = 4000;
const IN_FLIGHT: [usize; 2] = [1, DRAIN];
const DRAIN: usize = 32;

/// The goals: microseconds of processor time per certificate, seconds to verify a gigabyte, and mebibytes by which the process may
/// be larger after a million lines than after a thousand.
///
/// The first goal is for a drain. With one request in flight, half of the time is what it costs to wake a thread on a core
/// that sleeps, so that figure says more about the machine than about the log.
const MOST_SPENT: f64 = 30.0;
const MOST_SECONDS: f64 = 10.0;
const MOST_GROWTH: f64 = 1.0;

/// Measurements per median.
const ROUNDS: usize = 5;

/// Octets of a leaf certificate with a P-256 key and three names.
const CERTIFICATE: usize = 900;

fn clock() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// Measures the log and adds rows to the report.
pub(super) fn measure(report: &mut Report) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for in_flight in IN_FLIGHT {
        let log = open(folder.path(), &format!("{in_flight}.log"))?;
        let mut spent = Vec::new();
        for _ in 0..ROUNDS {
            let before = on_processors()?;
            runtime.block_on(issue(&log, CERTIFICATES, in_flight))?;
            let took = (on_processors()? - before) / 1e3;
            spent.push(took / f64::from(u32::try_from(CERTIFICATES)?));
        }
        let spent = median(&spent);
        println!(
            "issuance log, {in_flight} in flight: {spent:.1} µs of processor time per certificate"
        );
        let name = format!("issuance log, {in_flight} in flight, CPU per certificate");
        let row = Row::new(name, "µs", spent);
        report.push(if in_flight == DRAIN {
            row.at_most(MOST_SPENT)
        } else {
            row
        });
        log.stopped();
        runtime.block_on(log.close(Duration::from_secs(60)))?;
        let seconds = verify(&folder.path().join(format!("{in_flight}.log")))?;
        println!("issuance log, {in_flight} in flight: {seconds:.1} s to verify a gigabyte");
        let name = format!("issuance log, {in_flight} in flight, verification of a gigabyte");
        report.push(Row::new(name, "s", seconds).at_most(MOST_SECONDS));
    }
    let log = IssuanceLog::to("null", fs::File::create("/dev/null")?, run()?, clock)?;
    runtime.block_on(issue(&log, 334, 32))?;
    let few = resident()?;
    runtime.block_on(issue(&log, 333_000, 32))?;
    let many = resident()?;
    println!("issuance log: {few:.1} MiB resident after 1000 lines, {many:.1} MiB after 1000000");
    let of = |lines, resident| {
        let name = format!("issuance log, resident after {lines} lines");
        Row::new(name, "MiB", resident)
    };
    report.push(of("1 000", few));
    report.push(of("1 000 000", many).at_most(few + MOST_GROWTH));
    Ok(())
}

/// Verifies a log as `audit verify` does, and returns the seconds that a gigabyte takes.
fn verify(log: &Path) -> Result<f64, Failed> {
    let octets = f64::from(u32::try_from(fs::metadata(log)?.len())?);
    let began = Instant::now();
    let mut verifier = Verifier::trusting([]);
    verifier.read("log", BufReader::new(fs::File::open(log)?))?;
    let report = verifier.finish();
    let seconds = began.elapsed().as_secs_f64();
    match report.faults.first() {
        None => Ok(seconds * 1e9 / octets),
        Some(fault) => Err(fault.to_string().into()),
    }
}

fn run() -> Result<LogRun, Failed> {
    let program = Program {
        version: "0.0.0",
        commit: "bench",
    };
    Ok(LogRun::new("prod", "replica-0", program)?)
}

fn open(folder: &Path, name: &str) -> Result<IssuanceLog, Failed> {
    let settings = LogSettings {
        stdout: false,
        file: Some(FileSink {
            path: folder.join(name),
            rotate_size: None,
            rotate_age: None,
            fsync: Fsync::Never,
        }),
        on_failure: OnFailure::Wait,
    };
    Ok(IssuanceLog::start(&settings, run()?, clock)?)
}

/// Writes the lines of certificates, as the pipeline does.
async fn issue(log: &IssuanceLog, certificates: usize, in_flight: usize) -> Result<(), Failed> {
    let groups = ["system:serviceaccounts", "system:authenticated"].map(str::to_owned);
    let names = ["DNS:web.shop.svc", "DNS:web.shop.svc.cluster.local"].map(str::to_owned);
    let usages = ["digital signature", "server auth"].map(str::to_owned);
    let (groups, names, usages) = (Arc::new(groups), Arc::new(names), Arc::new(usages));
    for _ in 0..certificates.div_ceil(in_flight) {
        let lines = (0..in_flight).map(|_| one(log, &groups[..], &names[..], &usages[..]));
        try_join_all(lines).await?;
    }
    Ok(())
}

async fn one(
    log: &IssuanceLog,
    groups: &[String],
    names: &[String],
    usages: &[String],
) -> Result<(), LogError> {
    let hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let subject = Subject {
        request: LoggedRequest {
            kind: RequestKind::CertificateRequest,
            namespace: Some("shop"),
            name: "web-1",
            uid: "2f1c6b0e-6f5a-4a3c-9a43-0f2f2b1c6b0e",
            certificate: Some("web"),
        },
        requester: Requester {
            username: "system:serviceaccount:cert-manager:cert-manager",
            uid: Some("2f1c6b0e-6f5a-4a3c-9a43-0f2f2b1c6b0e"),
            groups,
        },
        approval: None,
        issuer: LoggedIssuer {
            kind: "PKCS11ClusterIssuer",
            namespace: None,
            name: "issuing",
            uid: Some("2f1c6b0e-6f5a-4a3c-9a43-0f2f2b1c6b0e"),
            generation: Some(1),
            profile_sha256: Some(hash),
            grant_sha256: Some(hash),
        },
    };
    let entry = CertificateEntry::new(
        &subject,
        &Certificate {
            csr_sha256: hash,
            token: LoggedToken {
                name: "issuing",
                label: "issuing",
                serial: "1404389111",
            },
            key_id: &[1, 2],
            issuer_certificate_sha256: hash,
            serial: "40000000000000000000000000000000",
            subject: "CN=web",
            names,
            usages,
            ca: false,
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::UNIX_EPOCH,
            tbs_sha256: hash,
        },
    );
    log.accepted(log.signing(&entry, &[])?).await?;
    log.accepted(log.signed(&entry, &[0x30; CERTIFICATE]))
        .await?;
    log.published(&entry);
    Ok(())
}

/// Returns the processor time of all threads of this process, in nanoseconds.
fn on_processors() -> Result<f64, Failed> {
    let mut whole = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let schedule = fs::read_to_string(task?.path().join("schedstat"))?;
        let spent = schedule.split_whitespace().next().ok_or("no schedstat")?;
        whole += spent.parse::<f64>()?;
    }
    Ok(whole)
}

/// Returns the resident memory of this process in MiB.
fn resident() -> Result<f64, Failed> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kibibytes.ok_or("no VmRSS")?.parse::<f64>()? / 1024.0)
}
