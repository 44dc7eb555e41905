//! Callers that wait until every sink has accepted their lines.

use tokio::sync::oneshot;

/// Callers that wait, and what the sinks have to accept for them.
#[derive(Default)]
pub(super) struct Waiters {
    /// Position after the line, and the caller.
    callers: Vec<(u64, oneshot::Sender<()>)>,
    /// Position up to which lines were appended when the last caller came.
    wanted: u64,
}

impl Waiters {
    /// Adds a caller that waits for the lines up to a position, and returns what tells it that they are accepted. `end` is
    /// the position after the last line: the sinks take the lines behind it too, because others will wait for them soon.
    pub(super) fn add(&mut self, position: u64, end: u64) -> oneshot::Receiver<()> {
        let (caller, accepted) = oneshot::channel();
        // Others may have lost their patience.
        self.callers.retain(|(_, caller)| !caller.is_closed());
        self.callers.push((position, caller));
        self.wanted = self.wanted.max(end);
        accepted
    }

    /// Returns the position up to which the sinks should take lines at once.
    pub(super) const fn wanted(&self) -> u64 {
        self.wanted
    }

    /// Removes the callers whose lines every sink has accepted.
    pub(super) fn remove_until(&mut self, accepted: u64) -> Vec<oneshot::Sender<()>> {
        let ready = self
            .callers
            .extract_if(.., |(position, _)| *position <= accepted);
        ready.map(|(_, caller)| caller).collect()
    }
}
