//! A gate that requests wait at while it is closed. It is open at first.

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
    /// Closes the gate: every caller of `pass` waits from now on.
    pub(in crate::controller) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Opens the gate: all waiting and all later callers pass.
    pub(in crate::controller) fn open(&self) {
        self.closed.send_replace(false);
    }

    /// Waits until a request waits at the gate.
    pub(in crate::controller) async fn is_waited_at(&self) -> Result<()> {
        until("a request to wait at the gate", PATIENCE, async || {
            Ok((self.waiting.load(Ordering::SeqCst) > 0).then_some(()))
        })
        .await
    }

    pub(super) async fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut closed = self.closed.subscribe();
        // The sender lives as long as the gate, so this cannot fail.
        closed.wait_for(|closed| !closed).await.ok();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
