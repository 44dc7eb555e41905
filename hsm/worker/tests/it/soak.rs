//! Many signatures do not make the worker grow.

use std::{collections::BTreeMap, fs};

use hsm::{Key, Token};
use softhsm_test_helpers::KeyKind;

use crate::fixture::{selector, served, sign, soon, token, workers};

const IN_FLIGHT: u32 = 8;
const ALL: u32 = 72_000;
/// Tolerated growth: an allocator keeps the memory of its busiest moment.
const GROWTH_KIB: u64 = 2048;

async fn sign_often(hsm: &Token, key: &Key, times: u32) {
    let asking = (0..IN_FLIGHT).map(|_| {
        let (hsm, key) = (hsm.clone(), key.clone());
        tokio::spawn(async move {
            for _ in 0..times / IN_FLIGHT {
                sign(&hsm, &key).await.unwrap();
            }
        })
    });
    for asker in asking.collect::<Vec<_>>() {
        asker.await.unwrap();
    }
}

/// Returns the resources that a process holds.
fn held(pid: i32) -> BTreeMap<&'static str, u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.unwrap().parse().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    BTreeMap::from([
        ("memory in KiB", field("VmRSS:")),
        ("threads", field("Threads:")),
        ("descriptors", descriptors.try_into().unwrap()),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_holds_no_more_resources_after_seventy_two_thousand_signatures() {
    let token = token("soak");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    sign_often(&hsm, &key, 4_000).await;
    let [worker] = workers(&token)[..] else {
        panic!("one worker")
    };
    let (mut before, sessions) = (held(worker), hsm.stats(soon()).await.unwrap().sessions);
    sign_often(&hsm, &key, ALL).await;
    let (mut after, stats) = (held(worker), hsm.stats(soon()).await.unwrap());
    println!("{ALL} signatures: {before:?} before, {after:?} after");
    let grown = after
        .remove("memory in KiB")
        .unwrap()
        .saturating_sub(before.remove("memory in KiB").unwrap());
    assert!(grown < GROWTH_KIB, "grown by {grown} KiB");
    assert_eq!(before, after);
    assert_eq!(stats.signatures, u64::from(4_000 + ALL));
    assert_eq!((stats.sessions, stats.sessions_discarded), (sessions, 0));
    assert_eq!((stats.expired, stats.late, stats.logins), (0, 0, 1));
    assert_eq!(hsm.tally().starts, 1);
}
