//! Each device under load: many signatures, a crash, and a token that goes away and comes back.

use hsm::{Fault, TokenState};
use softhsm_test_helpers::{DEVICES, Kept, TestKey};

use super::{KINDS, Served, keys, sign, verifies};
use crate::fixture::{ready, selector, soon, token, until};

const SIGNATURES: u32 = 10_000;
/// Signatures between two faults.
const ROUND: u32 = 500;
const IN_FLIGHT: u32 = 4;

/// Signs until this number of signatures is made. Returns how many requests failed with a passing error.
async fn sign_often(served: &Served, test_key: &TestKey, times: u32) -> u32 {
    let (_, mechanism, verifier) = KINDS[2];
    let key = served
        .hsm
        .find_key(&selector(test_key), soon())
        .await
        .unwrap();
    let asking = (0..IN_FLIGHT).map(|_| {
        let (hsm, key, test_key) = (served.hsm.clone(), key.clone(), test_key.clone());
        tokio::spawn(async move {
            let (mut signed, mut failed) = (0, 0);
            while signed < times / IN_FLIGHT {
                match sign(&hsm, &key, mechanism).await {
                    Ok(signature) => {
                        assert!(verifies(&test_key, verifier, &signature));
                        signed += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.fault(), Fault::Passing, "{error}");
                        failed += 1;
                        tokio::task::yield_now().await;
                    }
                }
            }
            failed
        })
    });
    let mut failed = 0;
    for asker in asking.collect::<Vec<_>>() {
        failed += asker.await.unwrap();
    }
    failed
}

#[ignore = "takes minutes; part of make soak"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_device_makes_ten_thousand_signatures_through_crashes_and_losses_without_a_needless_login()
 {
    let token = token("soak");
    let private = keys(&token, 1, Kept::PROTECTED).swap_remove(2);
    let open = keys(&token, 11, Kept::WITHOUT_LOGIN).swap_remove(2);
    let awaiting = |state: &TokenState| matches!(state, TokenState::AwaitingToken { .. });
    for device in DEVICES {
        let served = Served::start(*device, &token);
        let test_key = if device.logs_in { &private } else { &open };
        let mut failed = 0;
        for round in 0..SIGNATURES / ROUND {
            match round % 4 {
                1 => served.faults("C_Sign abort count=1"),
                2 => served.faults("C_Sign rv=CKR_DEVICE_ERROR every=100"),
                3 => {
                    served.faults("C_GetSlotList nothing\nC_Sign rv=CKR_TOKEN_NOT_PRESENT");
                    let (_, mechanism, _) = KINDS[2];
                    let found = served.hsm.find_key(&selector(test_key), soon()).await;
                    sign(&served.hsm, &found.unwrap(), mechanism)
                        .await
                        .unwrap_err();
                    until(&served.hsm, awaiting).await;
                    served.faults("");
                    until(&served.hsm, ready).await;
                }
                _ => served.faults(""),
            }
            failed += sign_often(&served, test_key, ROUND).await;
        }
        println!(
            "{}: {failed} requests failed; {:?}",
            device.name,
            served.hsm.tally()
        );
        served.cost_no_needless_login();
    }
}
