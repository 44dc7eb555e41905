//! Load of signing requests that goes on while a test takes the token away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hsm::{Fault, Key, Token, TokenSpec};
use softhsm_test_helpers::TestKey;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Gate, selector, sign_by, soon, verifies};

/// Deadline of each request of the load.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time by which a busy machine may report a passed deadline late.
const SLACK: Duration = Duration::from_secs(10);

/// Tasks that send requests without end, with counts of the outcomes.
pub(crate) struct Load {
    stop: CancellationToken,
    signed: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    askers: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn on(hsm: &Token, key: &Key, test_key: &TestKey) -> Self {
        let stop = CancellationToken::new();
        let (signed, failed): (Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let askers = (0..4).map(|_| {
            let (hsm, key, test_key) = (hsm.clone(), key.clone(), test_key.clone());
            let (stop, signed, failed) = (stop.clone(), Arc::clone(&signed), Arc::clone(&failed));
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    let started = Instant::now();
                    match sign_by(&hsm, &key, started + PATIENCE).await {
                        Ok(signature) => {
                            assert!(verifies(&test_key, &signature));
                            signed.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert_eq!(error.fault(), Fault::Passing, "{error:?}");
                            failed.fetch_add(1, Ordering::Relaxed);
                            // Like a real caller, do not retry at once.
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                    assert!(started.elapsed() < PATIENCE + SLACK);
                }
            })
        });
        Self {
            askers: askers.collect(),
            stop,
            signed,
            failed,
        }
    }

    fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// Waits until the load signs again.
    pub(crate) async fn goes_on(&self) {
        let before = self.signed();
        // Four requests may have been in flight at the moment of the fault; the fifth signature is new.
        while self.signed() < before + 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn ends(self) -> (u64, u64) {
        self.stop.cancel();
        for asker in self.askers {
            asker.await.unwrap();
        }
        (
            self.signed.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        )
    }
}

pub(crate) async fn served(test_key: &TestKey, spec: TokenSpec) -> (Token, Key, Arc<Gate>) {
    let gate = Gate::new(test_key.token().user_pin());
    let hsm = Token::start(spec, Arc::<Gate>::clone(&gate));
    let key = hsm.find_key(&selector(test_key), soon()).await.unwrap();
    (hsm, key, gate)
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
