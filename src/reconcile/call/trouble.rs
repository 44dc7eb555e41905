//! Reports lists and watches that fail: one line in the log for each new cause and then once a minute, and a count.

use std::{error::Error, sync::Arc, time::Instant};

use tracing::warn;

use crate::{
    metrics::Metrics,
    telemetry::{ErrorChain, RepeatFilter},
};

/// HTTP statuses by which the API server says that a right or a kind is missing.
const REFUSALS: [u16; 2] = [403, 404];

/// Reporter of failures of the list and the watch of one kind.
#[derive(Debug)]
pub(in crate::reconcile) struct Trouble {
    kind: &'static str,
    metrics: Arc<Metrics>,
    said: RepeatFilter,
}

impl Trouble {
    /// Creates the reporter of a kind, before any failure.
    pub(in crate::reconcile) fn of(kind: &'static str, metrics: &Arc<Metrics>) -> Self {
        metrics.watches(kind);
        Self {
            kind,
            metrics: Arc::clone(metrics),
            said: RepeatFilter::default(),
        }
    }

    /// Counts a failure, and logs it if it is news.
    pub(in crate::reconcile) fn report(&mut self, error: &(dyn Error + 'static)) {
        self.metrics.watch_failed(self.kind);
        let text = ErrorChain(error).to_string();
        if self.said.is_news(&text, Instant::now()) {
            let (kind, error) = (self.kind, text.as_str());
            warn!(
                kind,
                error, "a list or watch has failed and will be tried again"
            );
        }
    }
}

/// Returns whether the API server has refused a list or a watch, because a right or the kind is missing. That lasts until
/// a person acts.
pub(in crate::reconcile) fn is_right_or_kind_missing(error: &(dyn Error + 'static)) -> bool {
    answered(error).is_some_and(|status| REFUSALS.contains(&status))
}

/// Returns whether the API server has answered that the kind is missing.
pub(in crate::reconcile) fn is_missing(error: &(dyn Error + 'static)) -> bool {
    answered(error) == Some(404)
}

/// Returns the HTTP status with which the API server has answered.
fn answered(error: &(dyn Error + 'static)) -> Option<u16> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(kube::Error::Api(status)) = error.downcast_ref() {
            return Some(status.code);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use kube::{core::Status, runtime::watcher};

    use super::*;

    fn failed(code: u16) -> watcher::Error {
        let status = Status {
            code,
            message: "pods is forbidden".to_owned(),
            ..Status::default()
        };
        watcher::Error::InitialListFailed(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_missing_right_and_a_missing_kind_are_refusals_wherever_they_are_in_the_chain() {
        assert!(is_right_or_kind_missing(&failed(403)));
        assert!(is_right_or_kind_missing(&failed(404)));
        assert!(!is_right_or_kind_missing(&failed(500)));
        assert!(!is_right_or_kind_missing(
            &watcher::Error::NoResourceVersion
        ));
    }

    #[test]
    fn a_refusal_is_one_short_line_without_a_dump() {
        assert_eq!(
            ErrorChain(&failed(403)).to_string(),
            "failed to perform initial object list: pods is forbidden"
        );
    }
}
