//! The last warnings and errors of the log, for people who cannot read the log at the moment.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::message::shown;

/// How many lines are kept.
const MOST: usize = 50;

/// The last lines of the log with the level *warn* or *error*. Clones share them.
#[derive(Clone, Debug)]
pub struct LastErrors {
    lines: Arc<Mutex<VecDeque<LoggedLine>>>,
    clock: fn() -> Timestamp,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedLine {
    time: Timestamp,
    level: &'static str,
    fields: BTreeMap<&'static str, String>,
}

impl LastErrors {
    /// Creates an empty list. `clock` gives the time of each line.
    #[must_use]
    pub fn new(clock: fn() -> Timestamp) -> Self {
        Self {
            lines: Arc::default(),
            clock,
        }
    }

    /// Returns the lines, newest first.
    #[must_use]
    pub fn lines(&self) -> Vec<LoggedLine> {
        self.lines.lock().iter().rev().cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for LastErrors {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = LoggedLine {
            time: (self.clock)(),
            level: event.metadata().level().as_str(),
            fields: fields.0,
        };
        let mut lines = self.lines.lock();
        if lines.len() == MOST {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), shown(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .insert(field.name(), shown(format_args!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use tracing::{error, info, subscriber, warn};
    use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt as _, registry};

    use super::*;

    #[test]
    fn the_last_warnings_and_errors_are_kept_with_their_fields_newest_first() {
        let errors = LastErrors::new(|| Timestamp::UNIX_EPOCH);
        let log = registry().with(errors.clone().with_filter(LevelFilter::WARN));
        subscriber::with_default(log, || {
            for count in 0..MOST {
                warn!(count, "old");
            }
            info!("not kept");
            warn!(uid = "1", error = %"no route", "will try again");
            error!(why = "x".repeat(10_000), "broken");
        });
        let lines = errors.lines();
        assert_eq!(lines.len(), MOST);
        let line = |level, fields: [(&'static str, String); 3]| LoggedLine {
            time: Timestamp::UNIX_EPOCH,
            level,
            fields: fields
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect(),
        };
        let expected = [
            line(
                "ERROR",
                [
                    ("message", "broken".to_owned()),
                    ("why", shown("x".repeat(10_000))),
                    ("", String::new()),
                ],
            ),
            line(
                "WARN",
                [
                    ("message", "will try again".to_owned()),
                    ("uid", "1".to_owned()),
                    ("error", "no route".to_owned()),
                ],
            ),
            line(
                "WARN",
                [
                    ("message", "old".to_owned()),
                    ("count", (MOST - 1).to_string()),
                    ("", String::new()),
                ],
            ),
        ];
        assert_eq!(lines[..3], expected);
        assert!(lines[0].fields["why"].len() <= crate::message::MAX);
    }
}
