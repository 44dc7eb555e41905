//! Signing under load while tokens disappear and workers die: every request ends, by its deadline, with a signature that
//! verifies or a typed error.

use std::time::{Duration, Instant};

use softhsm_test_helpers::{KeyKind, Provider, Store, TestKey};

use crate::{
    fixture::{ready, signal, soon, spec, until, workers},
    load::{Load, median, served},
};

fn test_key(label: &str) -> TestKey {
    let store = Store::of(Provider::SoftHsm).unwrap();
    let token = store.make_token(label).unwrap();
    token.generate_key("ca", &[1], KeyKind::P256).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_taken_away_a_hundred_times_signs_after_every_return() {
    let rounds = (0..5).map(|number| {
        tokio::spawn(async move {
            let test_key = test_key(&format!("chaos-{number}"));
            let token = test_key.token();
            let (hsm, key, _gate) = served(&test_key, spec(token)).await;
            let load = Load::on(&hsm, &key, &test_key);
            let mut times = Vec::new();
            for round in 0..20 {
                load.goes_on().await;
                token.store().take_away().unwrap();
                until(&hsm, |state| !ready(state)).await;
                // The token is away for up to a second, which is also the longest pause between two searches for it.
                tokio::time::sleep(Duration::from_millis(50 * round)).await;
                token.store().give_back().unwrap();
                let returned = Instant::now();
                load.goes_on().await;
                times.push(returned.elapsed());
            }
            let (signed, failed) = load.ends().await;
            assert!(failed > 0, "no request met a fault");
            (times, signed, failed)
        })
    });
    let (mut times, mut signed, mut failed) = (Vec::new(), 0, 0);
    for round in rounds.collect::<Vec<_>>() {
        let (more, good, bad) = round.await.unwrap();
        times.extend(more);
        signed += good;
        failed += bad;
    }
    let worst = times.iter().max().copied().unwrap();
    let median = median(times);
    println!(
        "100 returns: signing again after {} ms (median), {} ms (worst); {signed} signatures, {failed} errors",
        median.as_millis(),
        worst.as_millis()
    );
    assert!(median < Duration::from_secs(1), "median {median:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_killed_workers_cost_one_login_each() {
    let rounds = (0..20).map(|number| {
        tokio::spawn(async move {
            let test_key = test_key(&format!("kills-{number}"));
            let (hsm, key, gate) = served(&test_key, spec(test_key.token())).await;
            let load = Load::on(&hsm, &key, &test_key);
            for kill in 1..=5 {
                load.goes_on().await;
                let [worker] = workers(test_key.token())[..] else {
                    panic!("one worker")
                };
                // Every other worker is stopped first, so that requests in flight wait.
                if kill % 2 == 0 {
                    signal("-STOP", worker);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                signal("-KILL", worker);
                until(&hsm, |state| !ready(state)).await;
                load.goes_on().await;
            }
            load.ends().await;
            let tally = hsm.tally();
            assert_eq!(tally.starts, 6);
            assert_eq!(tally.ended.get("crashed"), Some(&5), "{tally:?}");
            assert_eq!(gate.outcomes().len(), 6);
        })
    });
    for round in rounds.collect::<Vec<_>>() {
        round.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_paused_for_less_than_the_hang_limit_keeps_running() {
    let test_key = test_key("pause");
    let (hsm, key, _gate) = served(&test_key, spec(test_key.token())).await;
    let load = Load::on(&hsm, &key, &test_key);
    let [worker] = workers(test_key.token())[..] else {
        panic!("one worker")
    };
    for _ in 0..10 {
        load.goes_on().await;
        signal("-STOP", worker);
        tokio::time::sleep(Duration::from_millis(200)).await;
        signal("-CONT", worker);
    }
    load.goes_on().await;
    let (signed, failed) = load.ends().await;
    println!("10 pauses: {signed} signatures, {failed} errors");
    assert_eq!(hsm.tally().starts, 1);
    assert_eq!(hsm.stats(soon()).await.unwrap().sessions_discarded, 0);
}
