//! The same signatures by a bare PKCS#11 loop, in a process of its own because SoftHSM needs a variable in the
//! environment.

use std::{
    env,
    io::Write,
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
use serde_json::{Value, json};
use softhsm_test_helpers::{KeyKind, TestToken};

use crate::{Case, DIGEST, Failed, Library, cost, percentiles};

/// Returns signatures per second, and the processor time per signature in microseconds.
pub(crate) fn rate(
    token: &TestToken,
    library: &Library,
    case: &Case,
    threads: u16,
    length: Duration,
) -> Result<(f64, f64), Failed> {
    let report = run_bare(token, library, case, threads, length)?;
    let number = |field: &str| report.get(field).and_then(Value::as_f64).ok_or("no rate");
    Ok((number("rate")?, number("cpu")?))
}

pub(crate) fn latency(
    token: &TestToken,
    library: &Library,
    case: &Case,
    length: Duration,
) -> Result<(f64, f64), Failed> {
    let report = run_bare(token, library, case, 1, length)?;
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
    library: &Library,
    case: &Case,
    threads: u16,
    length: Duration,
) -> Result<Value, Failed> {
    let task = json!({
        "module": library.module, "serial": token.serial(), "pin": token.user_pin(), "label": case.label,
        "rsa": case.kind == KeyKind::Rsa2048, "threads": threads, "seconds": length.as_secs_f64(),
    });
    let mut child = Command::new(env::current_exe()?)
        .arg("bare")
        .envs(&library.env)
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

/// Signs with `cryptoki`'s `Session::sign` as fast as possible: one session per thread, with input as long as the
/// worker's.
pub(crate) fn run(task: &Value) -> Result<Value, Failed> {
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
            // 51 octets: the length of a DigestInfo with SHA-256.
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
            // Read inside the thread: its time is no longer available after it has ended.
            Ok::<_, Failed>((took, cost::spent_by("/proc/thread-self".as_ref())?))
        }));
    }
    start.wait();
    let started = Instant::now();
    let (mut took, mut nanoseconds) = (Vec::new(), 0.0);
    for thread in signing {
        let (each, spent) = thread.join().map_err(|_| "a thread panicked")??;
        took.extend(each);
        nanoseconds += spent.nanoseconds;
    }
    let made = u32::try_from(made.load(Ordering::Relaxed))?;
    let rate = f64::from(made) / started.elapsed().as_secs_f64();
    let cpu = nanoseconds / 1000.0 / f64::from(made);
    let (p50, p99) = percentiles(&took);
    Ok(json!({"rate": rate, "cpu": cpu, "p50": p50, "p99": p99}))
}
