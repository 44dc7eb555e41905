//! Signatures per second through `hsm::Token` beside a bare PKCS#11 loop with as many threads on the same token.
//!
//! Five runs of each, alternated, medians. `BENCH_SECONDS` sets the length of a run (default 2). Prints a table and
//! writes `target/bench/hsm.json`.

use std::{
    env, fs,
    io::{Read, Write},
    num::NonZeroU16,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism as Pkcs11Mechanism,
    object::{Attribute, ObjectClass},
    session::UserType,
    types::AuthPin,
};
use hsm::{
    BoxFuture, Hash, Key, KeySelector, Launch, LoginGate, LoginOutcome, LoginPermit, LoginRefused,
    Mechanism, Pin, Token, TokenInfo, TokenSelector, TokenSpec,
};
use serde_json::{Value, json};
use softhsm_test_helpers::{KeyKind, Store, TestToken};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const RUNS: usize = 5;
const IN_FLIGHT: usize = 64;
const DIGEST: [u8; 32] = [7; 32];

struct Case {
    name: &'static str,
    label: &'static str,
    kind: KeyKind,
    mechanism: Mechanism,
}

const CASES: [Case; 2] = [
    Case {
        name: "RSA-2048",
        label: "rsa",
        kind: KeyKind::Rsa2048,
        mechanism: Mechanism::RsaPkcs1(Hash::Sha256),
    },
    Case {
        name: "P-256",
        label: "ec",
        kind: KeyKind::P256,
        mechanism: Mechanism::Ecdsa(Hash::Sha256),
    },
];

fn main() -> Result<(), Failed> {
    // The bare loop needs SoftHSM's variable in its environment, so this program starts itself for it.
    if env::args().nth(1).as_deref() == Some("bare") {
        let mut task = String::new();
        std::io::stdin().read_to_string(&mut task)?;
        let report = bare(&serde_json::from_str(&task)?)?;
        println!("{report}");
        return Ok(());
    }
    let sessions = u16::try_from(thread::available_parallelism()?.get())?;
    let seconds = env::var("BENCH_SECONDS")
        .ok()
        .map_or(Ok(2.0), |seconds| seconds.parse())?;
    let length = Duration::from_secs_f64(seconds);
    let token = Store::new()?.make_token("bench")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut rows = Vec::new();
    for (id, case) in (1_u8..).zip(&CASES) {
        token.generate_key(case.label, &[id], case.kind)?;
        let hsm = {
            let _inside = runtime.enter();
            Token::start(
                spec(&token, sessions),
                Arc::new(Gate(token.user_pin().into())),
            )
        };
        let selector = KeySelector {
            label: Some(case.label.into()),
            ..KeySelector::default()
        };
        let key = runtime.block_on(hsm.find_key(&selector, soon()))?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            theirs.push(bare_rate(&token, case, sessions, length)?);
            ours.push(runtime.block_on(rate(&hsm, &key, case.mechanism, length))?);
        }
        rows.push(row(
            format!("{} through hsm::Token", case.name),
            "signatures/s",
            median(ours),
            median(theirs),
        ));
        let (bare_p50, bare_p99) = bare_latency(&token, case, length)?;
        let (p50, p99) = runtime.block_on(latency(&hsm, &key, case.mechanism, length))?;
        rows.push(row(
            format!("{} one in flight, p50", case.name),
            "µs",
            p50,
            bare_p50,
        ));
        rows.push(row(
            format!("{} one in flight, p99", case.name),
            "µs",
            p99,
            bare_p99,
        ));
        runtime.block_on(hsm.shutdown());
    }
    report(&rows, sessions)
}

fn row(name: String, unit: &str, value: f64, beside: f64) -> Value {
    json!({"name": name, "unit": unit, "value": value.round(), "beside": beside.round(), "ratio": value / beside})
}

fn report(rows: &[Value], sessions: u16) -> Result<(), Failed> {
    println!(
        "{:<32} {:>12} {:>12} {:>7}",
        "", "ours", "bare PKCS#11", "ratio"
    );
    for row in rows {
        let number = |field: &str| row.get(field).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let text = |field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default();
        let (name, unit) = (text("name"), text("unit"));
        println!(
            "{name:<32} {:>12} {:>12} {:>7.3} {unit}",
            number("value"),
            number("beside"),
            number("ratio")
        );
    }
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, model)| model);
    let machine = format!("{sessions} × {}", model.unwrap_or("unknown CPU"));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    fs::create_dir_all(&directory)?;
    let text =
        serde_json::to_string_pretty(&json!({"bench": "hsm", "machine": machine, "rows": rows}))?;
    fs::write(directory.join("hsm.json"), text + "\n")?;
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

struct Gate(Vec<u8>);

impl LoginGate for Gate {
    fn permit<'a>(&'a self, _: &'a TokenInfo) -> BoxFuture<'a, Result<LoginPermit, LoginRefused>> {
        let permit = LoginPermit {
            pin: Pin::new(self.0.clone()),
            version: "1".into(),
        };
        Box::pin(async { Ok(permit) })
    }

    fn record<'a>(&'a self, _: &'a TokenInfo, _: &'a str, _: LoginOutcome) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

fn spec(token: &TestToken, sessions: u16) -> TokenSpec {
    TokenSpec {
        name: "bench".into(),
        launch: Launch::Child {
            program: env!("CARGO_BIN_EXE_pkcs11-hsm-worker").into(),
            module: token.module().into(),
            env: token.env(),
        },
        token: TokenSelector::Serial(token.serial().into()),
        sessions: NonZeroU16::new(sessions),
        hang_after: Duration::from_secs(30),
    }
}

/// Signatures per second with 64 askers.
async fn rate(
    hsm: &Token,
    key: &Key,
    mechanism: Mechanism,
    length: Duration,
) -> Result<f64, Failed> {
    let started = Instant::now();
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (hsm, key) = (hsm.clone(), key.clone());
            tokio::spawn(async move {
                let mut made = 0_u32;
                while started.elapsed() < length {
                    hsm.sign(&key, mechanism, &DIGEST, soon()).await?;
                    made += 1;
                }
                Ok::<_, hsm::HsmError>(made)
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += task.await??;
    }
    Ok(f64::from(made) / started.elapsed().as_secs_f64())
}

/// p50 and p99 in microseconds of one asker.
async fn latency(
    hsm: &Token,
    key: &Key,
    mechanism: Mechanism,
    length: Duration,
) -> Result<(f64, f64), Failed> {
    let (hsm, key) = (hsm.clone(), key.clone());
    let asker = tokio::spawn(async move {
        let mut took = Vec::new();
        let started = Instant::now();
        while started.elapsed() < length {
            let before = Instant::now();
            hsm.sign(&key, mechanism, &DIGEST, soon()).await?;
            took.push(before.elapsed().as_secs_f64() * 1e6);
        }
        Ok::<_, hsm::HsmError>(took)
    });
    Ok(percentiles(asker.await??))
}

fn percentiles(mut took: Vec<f64>) -> (f64, f64) {
    took.sort_by(f64::total_cmp);
    let at = |hundredth: usize| {
        took.get(took.len() * hundredth / 100)
            .copied()
            .unwrap_or(f64::NAN)
    };
    (at(50), at(99))
}

fn bare_rate(
    token: &TestToken,
    case: &Case,
    threads: u16,
    length: Duration,
) -> Result<f64, Failed> {
    let report = run_bare(token, case, threads, length)?;
    report
        .get("rate")
        .and_then(Value::as_f64)
        .ok_or_else(|| "no rate".into())
}

fn bare_latency(token: &TestToken, case: &Case, length: Duration) -> Result<(f64, f64), Failed> {
    let report = run_bare(token, case, 1, length)?;
    let number = |field: &str| {
        report
            .get(field)
            .and_then(Value::as_f64)
            .ok_or("no latency")
    };
    Ok((number("p50")?, number("p99")?))
}

fn run_bare(
    token: &TestToken,
    case: &Case,
    threads: u16,
    length: Duration,
) -> Result<Value, Failed> {
    let task = json!({
        "module": token.module(), "serial": token.serial(), "pin": token.user_pin(), "label": case.label,
        "rsa": case.kind == KeyKind::Rsa2048, "threads": threads, "seconds": length.as_secs_f64(),
    });
    let mut child = Command::new(env::current_exe()?)
        .arg("bare")
        .envs(token.env())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .ok_or("no standard input")?
        .write_all(task.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// `C_SignInit` and `C_Sign` as fast as they go, one session per thread, the same octets as the worker gives.
fn bare(task: &Value) -> Result<Value, Failed> {
    let text = |field: &str| {
        task.get(field)
            .and_then(Value::as_str)
            .ok_or_else(|| Failed::from(field.to_owned()))
    };
    let threads = usize::try_from(
        task.get("threads")
            .and_then(Value::as_u64)
            .ok_or("threads")?,
    )?;
    let length = Duration::from_secs_f64(
        task.get("seconds")
            .and_then(Value::as_f64)
            .ok_or("seconds")?,
    );
    let rsa = task.get("rsa").and_then(Value::as_bool).ok_or("rsa")?;
    let module = Pkcs11::new(text("module")?)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let serial = text("serial")?;
    let slots = module.get_slots_with_initialized_token()?;
    let right = |slot| {
        module
            .get_token_info(slot)
            .is_ok_and(|info| info.serial_number() == serial)
    };
    let slot = slots
        .into_iter()
        .find(|slot| right(*slot))
        .ok_or("no token")?;
    let anchor = module.open_ro_session(slot)?;
    anchor.login(
        UserType::User,
        Some(&AuthPin::from(text("pin")?.to_owned())),
    )?;
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label(text("label")?.into()),
    ];
    let key = anchor
        .find_objects(&template)?
        .first()
        .copied()
        .ok_or("no key")?;
    let made = Arc::new(AtomicU64::new(0));
    let start = Arc::new(Barrier::new(threads + 1));
    let mut signing = Vec::new();
    for _ in 0..threads {
        let session = module.open_ro_session(slot)?;
        let (made, start) = (Arc::clone(&made), Arc::clone(&start));
        signing.push(thread::spawn(move || {
            // As long as DigestInfo with SHA-256.
            let input = if rsa { vec![7; 51] } else { DIGEST.to_vec() };
            let mut took = Vec::new();
            start.wait();
            let started = Instant::now();
            while started.elapsed() < length {
                let before = Instant::now();
                let mechanism = if rsa {
                    Pkcs11Mechanism::RsaPkcs
                } else {
                    Pkcs11Mechanism::Ecdsa
                };
                session.sign(&mechanism, key, &input)?;
                took.push(before.elapsed().as_secs_f64() * 1e6);
            }
            made.fetch_add(
                u64::try_from(took.len()).unwrap_or_default(),
                Ordering::Relaxed,
            );
            Ok::<_, cryptoki::error::Error>(took)
        }));
    }
    start.wait();
    let started = Instant::now();
    let mut took = Vec::new();
    for thread in signing {
        took.extend(thread.join().map_err(|_| "a thread panicked")??);
    }
    let made = u32::try_from(made.load(Ordering::Relaxed))?;
    let rate = f64::from(made) / started.elapsed().as_secs_f64();
    let (p50, p99) = percentiles(took);
    Ok(json!({"rate": rate, "p50": p50, "p99": p99}))
}
