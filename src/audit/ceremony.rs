//! The lines of the log that a key ceremony writes.

use super::{IssuanceLog, LogPosition, backlog::Need, fields::Fields};

impl IssuanceLog {
    /// Logs a step of a key ceremony: what happens, and facts about it. What is logged before a call to the token must be
    /// [`accepted`](Self::accepted) first.
    pub fn ceremony(&self, event: &'static str, facts: &[(&'static str, &str)]) -> LogPosition {
        let fields = facts
            .iter()
            .fold(Fields::default(), |fields, (name, value)| {
                fields.with(name, *value)
            });
        self.append(Need::Always, event, &[&fields])
    }
}
