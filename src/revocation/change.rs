//! Changes what is stored of a shard: what several ask at the same time in one write, and again if another replica was faster.

use std::time::Duration;

use tokio::{sync::oneshot, time::sleep};

use super::{
    Register, RegisterError,
    asked::{AskedChange, ChangeOutcome},
    head::ShardKey,
    shard::Write,
    shelf::WaitingChange,
    store::{Store, StoredShard},
};

/// Most changes of one write.
const AT_ONCE: usize = 64;
/// How often a write is tried while others write at the same time.
const TRIES: u32 = 16;
/// Longest pause between two of these tries, before the last ones.
const PAUSE: Duration = Duration::from_millis(40);

impl Register {
    /// Does what is asked of a shard, together with what others ask at the same time.
    pub(super) async fn ask(
        &self,
        key: &ShardKey,
        asked: AskedChange,
    ) -> Result<ChangeOutcome, RegisterError> {
        let line = self.shelf.line(key);
        let enter = || {
            let (done, outcome) = oneshot::channel();
            let asked = asked.clone();
            line.waiting.lock().push(WaitingChange { asked, done });
            outcome
        };
        let mut outcome = enter();
        let _turn = line.turn.lock().await;
        loop {
            match outcome.try_recv() {
                Ok(done) => return done,
                // Whoever had taken it has given up.
                Err(oneshot::error::TryRecvError::Closed) => outcome = enter(),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let some: Vec<WaitingChange> = {
                let mut waiting = line.waiting.lock();
                let count = waiting.len().min(AT_ONCE);
                waiting.drain(..count).collect()
            };
            let (asked, done): (Vec<_>, Vec<_>) =
                some.into_iter().map(|one| (one.asked, one.done)).unzip();
            match self.change(key, &asked).await {
                Ok(outcomes) => {
                    for (done, outcome) in done.into_iter().zip(outcomes) {
                        done.send(Ok(outcome)).ok();
                    }
                }
                Err(error) => {
                    for done in done {
                        done.send(Err(error.clone())).ok();
                    }
                }
            }
        }
    }

    /// Changes the entries of a shard. The caller has the turn of its line.
    async fn change(
        &self,
        key: &ShardKey,
        asked: &[AskedChange],
    ) -> Result<Vec<ChangeOutcome>, RegisterError> {
        self.write(key, |stored| {
            let (outcomes, write) = stored.shard.ask(key, asked)?;
            Ok((outcomes, write))
        })
        .await
    }

    /// Writes what `plan` makes of the stored shard, as often as others have written in the meantime. The caller has the turn of
    /// its line.
    pub(super) async fn write<T>(
        &self,
        key: &ShardKey,
        mut plan: impl FnMut(&StoredShard) -> Result<(T, Option<Write>), RegisterError>,
    ) -> Result<T, RegisterError> {
        let store = self.store.as_ref().ok_or(RegisterError::Disabled)?;
        let mut known = self.shelf.stored(key);
        for attempt in 0..TRIES {
            let stored = match known.take() {
                Some(stored) => stored,
                None => self.reread(store, key).await?,
            };
            self.check_shards(key, &stored)?;
            let (planned, write) = plan(&stored)?;
            let Some(write) = write else {
                return Ok(planned);
            };
            if let Some(stored) = store.write(key, &stored, write).await? {
                self.shelf.store(key, Some(stored));
                self.tell();
                return Ok(planned);
            }
            sleep(PAUSE.mul_f64(f64::from(attempt) * random())).await;
        }
        Err(RegisterError::Contended(*key))
    }

    /// Reads a shard as it is stored now, or as it begins. The number of shards must be that of the issuers.
    pub(super) async fn reread(
        &self,
        store: &Store,
        key: &ShardKey,
    ) -> Result<StoredShard, RegisterError> {
        let stored = self.take_stored(store, key).await?;
        let shards = self.wanted_shards(key)?;
        let stored = stored.unwrap_or_else(|| StoredShard::new(shards));
        self.check_shards(key, &stored)?;
        Ok(stored)
    }

    fn wanted_shards(&self, key: &ShardKey) -> Result<u16, RegisterError> {
        let shards = self.shards(&key.ca);
        let shards = shards.ok_or(RegisterError::UnknownCa(key.ca))?;
        Ok(shards.get())
    }

    /// Checks that the stored number of shards is that of the issuers.
    fn check_shards(&self, key: &ShardKey, stored: &StoredShard) -> Result<(), RegisterError> {
        let (stored, wanted) = (stored.shard.head.shards, self.wanted_shards(key)?);
        if stored == wanted {
            return Ok(());
        }
        Err(RegisterError::Shards {
            ca: key.ca,
            stored,
            wanted,
        })
    }
}

/// Returns a random number from 0 to 1, so that replicas that collide do not collide again.
fn random() -> f64 {
    let mut random = [0; 1];
    aws_lc_rs::rand::fill(&mut random).ok();
    let [random] = random;
    f64::from(random) / 255.0
}
