//! The pure parts get everything as arguments: they use no clock, no random source, no file and no cluster.
//!
//! Unit tests are exempt.

use crate::{
    layers::module_of,
    source::{Source, paths_in},
};

/// Paths that the pure parts may not name, because they get time, randomness and file contents as arguments.
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

/// Clients, which only the shell may have. A kind in `api` may define how its own client is made.
const CLIENT: &[&str] = &[
    "kube::Api",
    "kube::Client",
    "kube::api::Api",
    "kube::client",
];

/// The pure files and folders of the root package.
const PURE: &[&str] = &[
    "src/duration.rs",
    "src/lanes.rs",
    "src/message.rs",
    "src/cli/key/owner.rs",
    "src/cli/token/bench/choice.rs",
    "src/audit/checkpoint.rs",
    "src/audit/compare.rs",
    "src/audit/composer.rs",
    "src/audit/fields.rs",
    "src/audit/filter.rs",
    "src/audit/head.rs",
    "src/audit/line.rs",
    "src/audit/note.rs",
    "src/audit/note/",
    "src/audit/proof.rs",
    "src/audit/read/wrapping.rs",
    "src/audit/tiles.rs",
    "src/audit/tree.rs",
    "src/audit/verify/",
    "src/cli/kubectl/explain.rs",
    "src/cli/kubectl/explain/",
    "src/cli/kubectl/pages.rs",
    "src/cli/kubectl/read.rs",
    "src/cli/kubectl/refused.rs",
    "src/cli/kubectl/reissue.rs",
    "src/cli/kubectl/requests.rs",
    "src/cli/kubectl/revoke.rs",
    "src/cli/kubectl/rollover.rs",
    "src/cli/kubectl/snapshot.rs",
    "src/cli/kubectl/status.rs",
    "src/cli/kubectl/step.rs",
    "src/cli/kubectl/target.rs",
    "src/config/grant.rs",
    "src/config/log.rs",
    "src/issuance.rs",
    "src/issuance/",
    "src/api.rs",
    "src/api/",
    "src/cli/doctor/rights.rs",
    "src/ownership/duration.rs",
    "src/ownership/lease.rs",
    "src/ownership/listed.rs",
    "src/ownership/members.rs",
    "src/ownership/rendezvous.rs",
    "src/ownership/view.rs",
    "src/pins/record.rs",
    "src/reconcile/attend/keep.rs",
    "src/reconcile/attend/newer.rs",
    "src/reconcile/attend/queue.rs",
    "src/reconcile/attend/queue/",
    "src/reconcile/attend/uid.rs",
    "src/reconcile/issuer/claims.rs",
    "src/reconcile/issuer/expiry.rs",
    "src/reconcile/issuer/found_rollover.rs",
    "src/reconcile/issuer/notices.rs",
    "src/reconcile/issuer/rollover.rs",
    "src/reconcile/issuer/rollover/",
    "src/reconcile/issuer/rounds.rs",
    "src/reconcile/issuer/rounds/",
    "src/reconcile/issuer/seen.rs",
    "src/reconcile/issuer/status.rs",
    "src/reconcile/reissue/plan.rs",
    "src/reconcile/request/conclude.rs",
    "src/reconcile/request/decide.rs",
    "src/reconcile/request/decide/",
    "src/reconcile/request/kind.rs",
    "src/reconcile/request/kind/",
    "src/reconcile/revocation/claim.rs",
    "src/reconcile/revocation/conclude.rs",
    "src/reconcile/revocation/decide.rs",
    "src/reconcile/revocation/deleted/pairs.rs",
    "src/reconcile/revocation/standing.rs",
    "src/reconcile/seat.rs",
    "src/reconcile/trust/anchors.rs",
    "src/revocation/asked.rs",
    "src/revocation/bundle.rs",
    "src/revocation/due.rs",
    "src/revocation/entry.rs",
    "src/revocation/head.rs",
    "src/revocation/shard.rs",
    "src/revocation/sponsors.rs",
    "src/signers/find.rs",
    "src/signers/limiter/",
    "src/signers/protection.rs",
    "src/trace/spans.rs",
];

fn is_pure(path: &str) -> bool {
    PURE.iter()
        .any(|pure| path == *pure || (pure.ends_with('/') && path.starts_with(pure)))
}

fn contains(path: &[String], pattern: &str) -> bool {
    let pattern: Vec<&str> = pattern.split("::").collect();
    let exact = pattern.len() > 1 || path.len() > 1;
    exact
        && path
            .windows(pattern.len())
            .any(|window| window.iter().eq(pattern.iter()))
}

#[test]
fn the_pure_parts_read_no_clock_no_random_source_no_file_and_no_cluster() {
    let mut wrong = Vec::new();
    for source in Source::below(&["src"]) {
        if !is_pure(&source.path) {
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

#[test]
fn every_file_that_claims_to_be_pure_is_checked_and_every_entry_exists() {
    let sources = Source::below(&["src"]);
    let calls_itself_pure = |source: &&Source| {
        let head = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"));
        let mut words = head.flat_map(|line| line.split([' ', '.', ':', ',']));
        // The head of a folder only says which part of the folder is pure.
        let parts = format!("{}/", source.path.trim_end_matches(".rs"));
        let is_folder = sources.iter().any(|other| other.path.starts_with(&parts));
        !is_folder && words.any(|word| word.eq_ignore_ascii_case("pure"))
    };
    let stray = sources.iter().filter(calls_itself_pure);
    let stray: Vec<_> = stray
        .map(|source| &source.path)
        .filter(|path| !is_pure(path))
        .collect();
    assert!(
        stray.is_empty(),
        "these files claim to be pure and are not in PURE: {stray:?}"
    );
    let gone = PURE
        .iter()
        .filter(|pure| !sources.iter().any(|source| source.path.starts_with(**pure)));
    assert_eq!(gone.collect::<Vec<_>>(), [&""; 0]);
}

#[test]
fn the_rule_detects_what_it_forbids() {
    let path = |text: &str| paths_in(text.parse().unwrap()).pop().unwrap();
    assert!(contains(&path("jiff::Timestamp::now"), "Timestamp::now"));
    assert!(contains(
        &path("use aws_lc_rs::rand::SystemRandom;"),
        "aws_lc_rs::rand"
    ));
    assert!(contains(&path("tokio::spawn"), "tokio"));
    assert!(!contains(&path("use jiff::Timestamp;"), "Timestamp::now"));
}
