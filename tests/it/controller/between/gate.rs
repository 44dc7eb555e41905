//! A gate, open at first.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use control_plane::until;
use rig::PATIENCE;
use tokio::sync::watch;

#[derive(Default)]
pub(in crate::controller) struct Gate {
    closed: watch::Sender<bool>,
    waiting: AtomicUsize,
}

impl Gate {
    /// Nobody passes any more.
    pub(in crate::controller) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Whoever waits passes, and whoever comes.
    pub(in crate::controller) fn open(&self) {
        self.closed.send_replace(false);
    }

    /// Waits until somebody waits.
    pub(in crate::controller) async fn is_waited_at(&self) -> Result<()> {
        until("somebody at the gate", PATIENCE, async || {
            Ok((self.waiting.load(Ordering::SeqCst) > 0).then_some(()))
        })
        .await
    }

    pub(super) async fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut closed = self.closed.subscribe();
        // The gate outlives whoever waits at it.
        closed.wait_for(|closed| !closed).await.ok();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
