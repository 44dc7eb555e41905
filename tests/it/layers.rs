//! An arrow may only point down: which module may name which, and which crate may be named where.
//!
//! Tests beside the code are free: they may build what the code itself is handed.

use crate::source::{Source, paths_in};

/// Every module of the root package, lowest first, with the modules that it may name.
/// A new module fails until somebody has placed it here.
const MODULES: &[(&str, &[&str])] = &[
    ("duration", &[]),
    ("message", &[]),
    ("telemetry", &["message"]),
    ("issuance", &["duration", "message"]),
    ("api", &["duration", "issuance"]),
    ("config", &["duration", "issuance"]),
    ("audit", &[]),
    ("metrics", &["audit"]),
    ("server", &["metrics"]),
    ("ownership", &["api", "duration", "metrics", "telemetry"]),
    ("args", &["duration", "ownership", "telemetry"]),
    ("pins", &["api", "config", "duration", "telemetry"]),
    ("lanes", &[]),
    (
        "signers",
        &[
            "api",
            "config",
            "duration",
            "issuance",
            "lanes",
            "metrics",
            "pins",
            "telemetry",
        ],
    ),
    (
        "pipeline",
        &[
            "api",
            "audit",
            "config",
            "duration",
            "issuance",
            "message",
            "metrics",
            "signers",
            "telemetry",
        ],
    ),
    (
        "reconcile",
        &[
            "api",
            "audit",
            "config",
            "duration",
            "issuance",
            "lanes",
            "message",
            "metrics",
            "ownership",
            "pins",
            "pipeline",
            "signers",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "args",
            "audit",
            "config",
            "duration",
            "issuance",
            "message",
            "metrics",
            "ownership",
            "pins",
            "pipeline",
            "reconcile",
            "server",
            "signers",
            "telemetry",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
];

/// Crates that only these modules of the root package may name.
const CRATES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli", "main"]),
    ("clap", &["args", "main", "telemetry"]),
    ("cryptoki", &[]),
    ("http_body_util", &["server"]),
    ("hyper", &["server"]),
    ("hyper_rustls", &["cli"]),
    ("hyper_timeout", &["cli"]),
    ("hyper_util", &["cli", "server"]),
    ("rcgen", &[]),
    (
        "hsm",
        &["cli", "main", "pins", "pipeline", "reconcile", "signers"],
    ),
    (
        "k8s_openapi",
        &["api", "cli", "ownership", "pins", "reconcile", "signers"],
    ),
    (
        "kube",
        &[
            "api",
            "cli",
            "ownership",
            "pins",
            "reconcile",
            "telemetry",
            "signers",
        ],
    ),
    ("prometheus_client", &["metrics"]),
    (
        "tokio",
        &[
            "cli",
            "main",
            "ownership",
            "pins",
            "pipeline",
            "reconcile",
            "server",
            "signers",
        ],
    ),
    (
        "tokio_util",
        &["cli", "ownership", "pins", "reconcile", "server", "signers"],
    ),
    ("tower", &["cli"]),
    ("tower_http", &["cli"]),
];

/// What the pure parts may not do: they are handed time, randomness and whatever was read.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "aws_lc_rs::rand",
    "kube::runtime",
    "std::env",
    "std::fs",
    "std::net::TcpStream",
    "std::process",
    "std::thread",
    "tokio",
];

/// What only the shell may hold; a kind in `api` may say how its own client is made.
const CLIENT: &[&str] = &[
    "kube::Api",
    "kube::Client",
    "kube::api::Api",
    "kube::client",
];

/// Files and folders of the root package that are pure.
const PURE: &[&str] = &[
    "src/duration.rs",
    "src/lanes.rs",
    "src/message.rs",
    "src/issuance.rs",
    "src/issuance/",
    "src/api.rs",
    "src/api/",
    "src/ownership/duration.rs",
    "src/ownership/lease.rs",
    "src/ownership/members.rs",
    "src/ownership/rendezvous.rs",
    "src/ownership/view.rs",
    "src/reconcile/attend/keep.rs",
    "src/reconcile/attend/newer.rs",
    "src/reconcile/attend/queue.rs",
    "src/reconcile/attend/queue/",
    "src/reconcile/attend/uid.rs",
    "src/reconcile/issuer/expiry.rs",
    "src/reconcile/issuer/rounds.rs",
    "src/reconcile/issuer/rounds/",
    "src/reconcile/issuer/status.rs",
    "src/reconcile/request/conclude.rs",
    "src/reconcile/request/decide.rs",
    "src/reconcile/request/decide/",
    "src/reconcile/request/kind.rs",
    "src/reconcile/request/kind/",
    "src/reconcile/seat.rs",
    "src/reconcile/trust/anchors.rs",
    "src/signers/limiter/",
];

/// Crates that the members for the HSM may not name.
const MEMBERS: &[(&str, &[&str])] = &[
    (
        "hsm/src",
        &[
            "cryptoki",
            "pkcs11_issuer",
            "kube",
            "k8s_openapi",
            "x509_cert",
            "hyper",
        ],
    ),
    (
        "hsm/worker/src",
        &["pkcs11_issuer", "kube", "k8s_openapi", "x509_cert", "hyper"],
    ),
    (
        "hsm/two-calls/src",
        &["hsm", "pkcs11_issuer", "kube", "k8s_openapi", "tokio"],
    ),
];

/// The top-level module that a file of the root package belongs to.
fn module_of(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    path.split('/')
        .next()
        .unwrap_or(path)
        .trim_end_matches(".rs")
}

/// The module of the crate that a path enters by `crate::` or `super::`; only names of [`MODULES`] count.
fn entered(path: &[String]) -> Option<&str> {
    let ups = path
        .iter()
        .take_while(|segment| *segment == "crate" || *segment == "super")
        .count();
    let name = path.get(ups).filter(|_| ups > 0)?;
    MODULES
        .iter()
        .map(|(module, _)| *module)
        .find(|module| module == name)
}

fn names_crate(path: &[String], name: &str) -> bool {
    path.len() > 1 && path.first().is_some_and(|first| first == name)
}

fn contains(path: &[String], pattern: &str) -> bool {
    let pattern: Vec<&str> = pattern.split("::").collect();
    let exact = pattern.len() > 1 || path.len() > 1;
    exact
        && path
            .windows(pattern.len())
            .any(|window| window.iter().eq(pattern.iter()))
}

fn listed<'a>(table: &'a [(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, list)| *list)
}

#[test]
fn every_module_names_only_modules_below_it() {
    let mut wrong = Vec::new();
    for source in Source::below(&["src"]) {
        let module = module_of(&source.path);
        let Some(allowed) = listed(MODULES, module) else {
            wrong.push(format!(
                "{}: place the module {module:?} in tests/it/layers.rs",
                source.path
            ));
            continue;
        };
        for path in source.paths_outside_tests() {
            if let Some(other) =
                entered(&path).filter(|other| *other != module && !allowed.contains(other))
            {
                wrong.push(format!(
                    "{}: {} is not below {module}: {}",
                    source.path,
                    other,
                    path.join("::")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_is_named_only_where_it_belongs() {
    let mut wrong = Vec::new();
    for source in Source::below(&["src"]) {
        let module = module_of(&source.path);
        for path in source.paths_outside_tests() {
            let stray = CRATES
                .iter()
                .find(|(name, modules)| names_crate(&path, name) && !modules.contains(&module));
            if stray.is_some() {
                wrong.push(format!("{}: {}", source.path, path.join("::")));
            }
        }
    }
    for (folder, forbidden) in MEMBERS {
        for source in Source::below(&[folder]) {
            for path in source.paths_outside_tests() {
                if forbidden.iter().any(|name| names_crate(&path, name)) {
                    wrong.push(format!("{}: {}", source.path, path.join("::")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_parts_read_no_clock_no_random_source_no_file_and_no_cluster() {
    let mut wrong = Vec::new();
    for source in Source::below(&["src"]) {
        if !PURE.iter().any(|pure| {
            source.path == *pure || (pure.ends_with('/') && source.path.starts_with(pure))
        }) {
            continue;
        }
        for path in source.paths_outside_tests() {
            let client = CLIENT.iter().filter(|_| module_of(&source.path) != "api");
            if IMPURE
                .iter()
                .chain(client)
                .any(|pattern| contains(&path, pattern))
            {
                wrong.push(format!("{}: {}", source.path, path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The packages decide what is linked; the test of the built program is in `linkage.rs`.
#[test]
fn only_the_worker_and_the_test_helpers_depend_on_cryptoki() {
    for (manifest, expected) in [
        ("Cargo.toml", false),
        ("hsm/Cargo.toml", false),
        ("hsm/two-calls/Cargo.toml", true),
        ("hsm/worker/Cargo.toml", true),
        ("tests/bench/Cargo.toml", false),
        ("tests/control-plane/Cargo.toml", false),
        ("tests/rig/Cargo.toml", false),
        ("tests/softhsm/Cargo.toml", true),
    ] {
        let file = format!("{}/{manifest}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).unwrap();
        let found = text.lines().any(|line| {
            line.starts_with("cryptoki.")
                || line.starts_with("cryptoki ") && line.contains("workspace")
        });
        assert_eq!(found, expected, "{manifest}");
    }
}

#[test]
fn the_rules_see_what_they_forbid() {
    let path = |text: &str| paths_in(text.parse().unwrap()).pop().unwrap();
    assert_eq!(
        entered(&path("use crate::reconcile::decide;")),
        Some("reconcile")
    );
    assert_eq!(
        entered(&path("use crate::{reconcile::decide};")),
        Some("reconcile")
    );
    assert_eq!(
        entered(&path("super::super::reconcile::decide")),
        Some("reconcile")
    );
    assert_eq!(entered(&path("use super::csr::VerifiedCsr;")), None);
    assert!(names_crate(&path("use kube::Client;"), "kube"));
    assert!(names_crate(&path("use kube::{Client};"), "kube"));
    assert!(!names_crate(&path("use kubert::Client;"), "kube"));
    assert!(contains(&path("jiff::Timestamp::now"), "Timestamp::now"));
    assert!(contains(
        &path("use aws_lc_rs::rand::SystemRandom;"),
        "aws_lc_rs::rand"
    ));
    assert!(contains(&path("tokio::spawn"), "tokio"));
    assert!(!contains(&path("use jiff::Timestamp;"), "Timestamp::now"));
}
