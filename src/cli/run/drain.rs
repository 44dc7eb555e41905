//! The drain: the steps between the signal and the end of the controller, and the time for each.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
    time::{Instant, error::Elapsed, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    reconcile::{Context, Ending},
    telemetry::ErrorChain,
};

/// Number of equal parts of the drain time: ten to finish the work in flight, two to report certificates that were signed
/// and not published, one for the last checkpoint of the issuance log, one for the Lease and the workers, and two for the
/// health server.
const PARTS: u32 = 16;

/// A drain that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    began: Instant,
    within: Duration,
}

/// Parts of the controller that end after the work has ended.
pub(super) struct Leaving {
    /// Cancelled once nothing more is signed or written for a request.
    pub(super) leave: CancellationToken,
    pub(super) membership: JoinHandle<()>,
    /// Tells the membership by when it must have ended.
    pub(super) leave_by: oneshot::Sender<Instant>,
    /// `None` if no Events are written.
    pub(super) events: Option<JoinHandle<()>>,
}

impl Drain {
    /// Runs the work until `ending.stop` is cancelled, calls `told`, and gives the work its share of the drain time. When
    /// this returns, the work has ended or was dropped.
    pub(super) async fn after(
        work: impl Future,
        ending: &Ending,
        within: Duration,
        told: impl FnOnce(),
    ) -> Self {
        let mut work = pin!(work);
        let ended = tokio::select! {
            _ = &mut work => true,
            () = ending.stop.cancelled() => false,
        };
        let drain = Self {
            began: Instant::now(),
            within,
        };
        told();
        info!(within = ?within, "draining: finishing the work in flight");
        if !ended && timeout_at(drain.part(10), &mut work).await.is_err() {
            ending.abandon.cancel();
            if timeout_at(drain.part(12), &mut work).await.is_err() {
                warn!("abandoned work that does not end");
            }
        }
        drain
    }

    /// Gives the Lease back, ends the workers and writes the waiting Events, all concurrently. Logs each part that does not
    /// end in time and abandons it.
    pub(super) async fn leave(self, leaving: Leaving, context: &Arc<Context>) {
        let Leaving {
            leave,
            membership,
            leave_by,
            events,
        } = leaving;
        let deadline = self.part(14);
        leave.cancel();
        // Fails if the membership has ended, which its task reports.
        leave_by.send(deadline).ok();
        let events = async {
            match events {
                Some(events) => timeout_at(deadline, events).await,
                None => Ok(Ok(())),
            }
        };
        let (tokens, membership, events) = tokio::join!(
            timeout_at(deadline, context.tokens.shutdown()),
            timeout_at(deadline, membership),
            events,
        );
        if tokens.is_err() {
            let tokens: BTreeSet<String> = context.tokens.unended();
            warn!(
                ?tokens,
                "abandoned HSM workers that do not end; they end with this process"
            );
        }
        ended(membership, "abandoned the lease; it expires");
        let waiting = context.events.waiting();
        ended(events, &format!("abandoned {waiting} unwritten events"));
    }

    /// Returns the time before which the last checkpoint must be signed.
    pub(super) fn signed_by(self) -> Instant {
        self.part(13)
    }

    /// Returns how long the issuance log may take for its last lines: half of the last part.
    pub(super) fn left_for_the_log(self) -> Duration {
        let until = self.began + self.within * (2 * PARTS - 1) / (2 * PARTS);
        until.saturating_duration_since(Instant::now())
    }

    /// Returns when the drain time ends; the health server has until then.
    pub(super) fn end(self) -> Instant {
        self.part(PARTS)
    }

    fn part(self, parts: u32) -> Instant {
        self.began + self.within * parts / PARTS
    }
}

fn ended(task: Result<Result<(), JoinError>, Elapsed>, abandoned: &str) {
    match task {
        Ok(Ok(())) => {}
        Ok(Err(broken)) => error!(error = %ErrorChain(&broken), "a task failed"),
        Err(_elapsed) => warn!("{abandoned}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Duration = Duration::from_millis(25);

    fn ending() -> Ending {
        let ending = Ending {
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
        };
        ending.stop.cancel();
        ending
    }

    #[tokio::test]
    async fn work_that_ends_in_time_is_not_abandoned() {
        let ending = ending();
        let hour = Duration::from_secs(3600);
        let mut steps = Vec::new();
        let work = async {
            // The work needs one more poll after the signal.
            tokio::task::yield_now().await;
            steps.push("worked");
        };
        Drain::after(work, &ending, hour, || {}).await;
        assert_eq!(steps, ["worked"]);
        assert!(!ending.abandon.is_cancelled());
    }

    #[tokio::test]
    async fn work_that_does_not_end_is_abandoned_after_five_eighths_and_dropped_after_six() {
        let ending = ending();
        let abandoned = ending.abandon.clone();
        let mut abandoned_after = None;
        let mut told = false;
        let began = Instant::now();
        let work = async {
            abandoned.cancelled().await;
            abandoned_after = Some(began.elapsed());
            std::future::pending::<()>().await;
        };
        let drain = Drain::after(work, &ending, PART * PARTS, || told = true).await;
        assert!(told);
        assert!(abandoned_after >= Some(PART * 10), "{abandoned_after:?}");
        assert!(drain.began.elapsed() >= PART * 12);
        assert_eq!(drain.end() - drain.began, PART * PARTS);
    }
}
