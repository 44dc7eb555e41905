//! Dependencies may only point down: which module may name which, and where each crate may be named.
//!
//! Unit tests are exempt, because they may build what the code itself gets as arguments.

use crate::source::{Source, paths_in};

/// Every module of the root package, lowest first, with the modules that it may name.
/// A new module fails the test until it is placed here.
const MODULES: &[(&str, &[&str])] = &[
    ("duration", &[]),
    ("message", &[]),
    ("telemetry", &["message"]),
    ("issuance", &["duration", "message"]),
    ("api", &["duration", "issuance"]),
    ("config", &["duration", "issuance"]),
    ("audit", &["config"]),
    ("metrics", &["audit", "telemetry"]),
    ("trace", &["metrics", "telemetry"]),
    ("server", &["metrics"]),
    (
        "ownership",
        &["api", "audit", "duration", "metrics", "telemetry"],
    ),
    ("args", &["duration", "ownership", "telemetry"]),
    ("pins", &["api", "audit", "config", "duration", "telemetry"]),
    ("lanes", &[]),
    (
        "signers",
        &[
            "api",
            "audit",
            "config",
            "duration",
            "issuance",
            "lanes",
            "message",
            "metrics",
            "pins",
            "telemetry",
            "trace",
        ],
    ),
    (
        "checkpoints",
        &[
            "audit",
            "config",
            "metrics",
            "ownership",
            "signers",
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
            "trace",
        ],
    ),
    (
        "revocation",
        &[
            "api",
            "audit",
            "issuance",
            "metrics",
            "ownership",
            "pipeline",
            "server",
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
            "revocation",
            "signers",
            "telemetry",
            "trace",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "args",
            "audit",
            "checkpoints",
            "config",
            "duration",
            "issuance",
            "message",
            "metrics",
            "ownership",
            "pins",
            "pipeline",
            "reconcile",
            "revocation",
            "server",
            "signers",
            "telemetry",
            "trace",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
];

/// Crates that only these modules of the root package may name.
const CRATES: &[(&str, &[&str])] = &[
    ("anstream", &["cli", "telemetry"]),
    ("anstyle", &["cli", "telemetry"]),
    ("anyhow", &["cli", "main"]),
    ("clap", &["args", "main", "telemetry"]),
    ("comfy_table", &["cli"]),
    ("cryptoki", &[]),
    ("http_body_util", &["cli", "server"]),
    ("hyper", &["server"]),
    ("hyper_rustls", &["cli"]),
    ("hyper_timeout", &["cli"]),
    ("hyper_util", &["cli", "server"]),
    ("indicatif", &["cli"]),
    ("plotters", &["cli"]),
    ("rcgen", &[]),
    ("rpassword", &["cli"]),
    (
        "hsm",
        &[
            "checkpoints",
            "cli",
            "main",
            "pins",
            "pipeline",
            "reconcile",
            "revocation",
            "signers",
        ],
    ),
    (
        "k8s_openapi",
        &[
            "api",
            "cli",
            "ownership",
            "pins",
            "reconcile",
            "revocation",
            "signers",
        ],
    ),
    (
        "kube",
        &[
            "api",
            "cli",
            "ownership",
            "pins",
            "reconcile",
            "revocation",
            "telemetry",
            "signers",
        ],
    ),
    ("opentelemetry", &["trace"]),
    ("opentelemetry_http", &["cli", "trace"]),
    ("opentelemetry_otlp", &["trace"]),
    ("opentelemetry_sdk", &["trace"]),
    ("prometheus_client", &["metrics"]),
    (
        "tokio",
        &[
            "audit",
            "checkpoints",
            "cli",
            "main",
            "ownership",
            "pins",
            "pipeline",
            "reconcile",
            "revocation",
            "server",
            "signers",
            "trace",
        ],
    ),
    (
        "tokio_util",
        &[
            "cli",
            "ownership",
            "pins",
            "reconcile",
            "revocation",
            "server",
            "signers",
            "trace",
        ],
    ),
    ("tower", &["cli"]),
    ("tower_http", &["cli"]),
    ("webpki", &["cli"]),
];

/// Crates that the workspace members for the HSM may not name.
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
        "hsm/ceremony/src",
        &["kube", "k8s_openapi", "hyper", "x509_cert"],
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

/// Returns the top-level module that a file of the root package belongs to.
pub(crate) fn module_of(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    path.split('/')
        .next()
        .unwrap_or(path)
        .trim_end_matches(".rs")
}

/// Returns the module of the crate that a path enters by `crate::` or `super::`, if it is in [`MODULES`].
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

/// Checks the dependencies of the packages; `linkage.rs` tests the built program.
#[test]
fn only_the_worker_the_ceremony_and_the_test_helpers_depend_on_cryptoki() {
    for (manifest, expected) in [
        ("Cargo.toml", false),
        ("hsm/Cargo.toml", false),
        ("hsm/ceremony/Cargo.toml", true),
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
fn the_rules_detect_what_they_forbid() {
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
}
