//! Compares signatures per second through `hsm::Token` with a bare PKCS#11 loop, which has as many threads on the same
//! token and uses `cryptoki`'s `Session::sign` with its three calls. Then compares both on a token that takes a
//! millisecond for each call.
//!
//! Reports medians of five alternated runs. `BENCH_SECONDS` sets the length of a run (default 2). Prints a table and
//! writes `target/bench/hsm.json`. CPU time per signature shows where the time goes, whatever else the machine does.

mod bare;
mod cost;
mod network;
mod ours;

use std::{
    collections::BTreeMap,
    env,
    io::Read,
    num::NonZeroU16,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use bench::{Report, Row, median, percentile};
use hsm::{
    BoxFuture, Hash, KeySelector, Launch, LoginGate, LoginOutcome, LoginPermit, LoginRefused,
    Mechanism, Pin, Token, TokenInfo, TokenSelector, TokenSpec,
};
use softhsm_test_helpers::{KeyKind, Store, TestToken};

use self::{cost::Cost, ours::Release};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const RUNS: usize = 5;
const DIGEST: [u8; 32] = [7; 32];

struct Case {
    name: &'static str,
    label: &'static str,
    kind: KeyKind,
    mechanism: Mechanism,
    verifier: &'static dyn VerificationAlgorithm,
}

const CASES: [Case; 2] = [
    Case {
        name: "RSA-2048",
        label: "rsa",
        kind: KeyKind::Rsa2048,
        mechanism: Mechanism::RsaPkcs1(Hash::Sha256),
        verifier: &RSA_PKCS1_2048_8192_SHA256,
    },
    Case {
        name: "P-256",
        label: "ec",
        kind: KeyKind::P256,
        mechanism: Mechanism::Ecdsa(Hash::Sha256),
        verifier: &ECDSA_P256_SHA256_ASN1,
    },
];

fn main() -> Result<(), Failed> {
    // The bare loop needs SoftHSM's variable in its environment, so this program starts itself again for it.
    if env::args().nth(1).as_deref() == Some("bare") {
        let mut task = String::new();
        std::io::stdin().read_to_string(&mut task)?;
        let report = bare::run(&serde_json::from_str(&task)?)?;
        println!("{report}");
        return Ok(());
    }
    let sessions = u16::try_from(thread::available_parallelism()?.get())?;
    let seconds = env::var("BENCH_SECONDS")
        .ok()
        .map_or(Ok(2.0), |seconds| seconds.parse())?;
    let length = Duration::from_secs_f64(seconds);
    let token = Store::new()?.make_token("bench")?;
    let library = Library::of(&token);
    // The controller uses the same runtime.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut report = Report::new("hsm");
    for (id, case) in (1_u8..).zip(&CASES) {
        let test_key = token.generate_key(case.label, &[id], case.kind)?;
        let public = UnparsedPublicKey::new(case.verifier, test_key.public_octets().to_vec());
        let verified = Release::Verified(Arc::new(public));
        let hsm = {
            let _inside = runtime.enter();
            Token::start(
                spec(&token, &library, sessions),
                Arc::new(Gate(token.user_pin().into())),
            )
        };
        let selector = KeySelector {
            label: Some(case.label.into()),
            ..KeySelector::default()
        };
        let key = runtime.block_on(hsm.find_key(&selector, soon()))?;
        let (mut bare, mut raw, mut released) = (Vec::new(), Vec::new(), Vec::new());
        let (mut costs, mut bare_costs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (bare_rate, bare_cost) = bare::rate(&token, &library, case, sessions, length)?;
            bare.push(bare_rate);
            bare_costs.push(bare_cost);
            let before = Cost::now()?;
            let unverified = ours::rate(&hsm, &key, case.mechanism, &Release::AsItIs, length);
            let rate = runtime.block_on(unverified)?;
            costs.push(before.until(Cost::now()?, rate * seconds));
            raw.push(rate);
            let verifying = ours::rate(&hsm, &key, case.mechanism, &verified, length);
            released.push(runtime.block_on(verifying)?);
        }
        let bare = median(&bare);
        let name = case.name;
        let mut beside_bare = |what: &str, unit, value, bare| {
            report.push(Row::new(format!("{name}{what}"), unit, value).beside(bare));
        };
        beside_bare(" through hsm::Token", "signatures/s", median(&raw), bare);
        beside_bare(
            ", verified before release",
            "signatures/s",
            median(&released),
            bare,
        );
        let (bare_p50, bare_p99) = bare::latency(&token, &library, case, length)?;
        let (p50, p99) = runtime.block_on(ours::latency(&hsm, &key, case.mechanism, length))?;
        beside_bare(" one in flight, p50", "µs", p50, bare_p50);
        beside_bare(" one in flight, p99", "µs", p99, bare_p99);
        let bare_cost = median(&bare_costs);
        for (what, unit, of) in cost::PARTS {
            let each = median(&costs.iter().map(of).collect::<Vec<f64>>());
            let row = Row::new(format!("{name} {what}"), unit, each);
            // The bare loop does the same work as worker and library.
            report.push(if what == cost::WORKER {
                row.beside(bare_cost)
            } else {
                row
            });
        }
        runtime.block_on(hsm.shutdown());
    }
    runtime.block_on(network::measure(&mut report, &token, sessions, length))?;
    report.print("bare PKCS#11");
    report.write()?;
    Ok(())
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

    fn withdraw<'a>(&'a self, _: &'a TokenInfo) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn record<'a>(&'a self, _: &'a TokenInfo, _: &'a str, _: LoginOutcome) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// Library, with the environment that a process needs to use it.
struct Library {
    module: PathBuf,
    env: BTreeMap<String, String>,
}

impl Library {
    fn of(token: &TestToken) -> Self {
        Self {
            module: token.module().into(),
            env: token.env(),
        }
    }
}

fn spec(token: &TestToken, library: &Library, sessions: u16) -> TokenSpec {
    TokenSpec {
        name: "bench".into(),
        launch: Launch::Child {
            program: env!("CARGO_BIN_EXE_pkcs11-hsm-worker").into(),
            module: library.module.clone(),
            env: library.env.clone(),
        },
        token: TokenSelector::by_serial(token.serial()),
        sessions: NonZeroU16::new(sessions),
        hang_after: Duration::from_secs(30),
    }
}

fn percentiles(took: &[f64]) -> (f64, f64) {
    (percentile(took, 50), percentile(took, 99))
}
