//! Counts the approved requests of one kind that are not answered yet, by what they wait for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;

use super::uid::Uid;
use crate::{
    audit::RequestKind,
    metrics::{Metrics, TimedStage, WaitReason},
};

/// The waiting requests of one kind, by reason and age. Updates the metrics.
#[derive(Debug)]
pub(super) struct WaitingRequests {
    kind: RequestKind,
    metrics: Arc<Metrics>,
    requests: HashMap<Uid, Wait>,
    by_age: BTreeMap<WaitReason, BTreeSet<(Timestamp, Uid)>>,
}

/// Why a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    /// Time of its approval, or of its creation if it needs none.
    since: Timestamp,
    reason: WaitReason,
    /// Since when it has been due, for a request in the queue.
    due: Instant,
}

impl WaitingRequests {
    /// Starts with no request.
    pub(super) fn new(kind: RequestKind, metrics: Arc<Metrics>) -> Self {
        let waiting = Self {
            kind,
            metrics,
            requests: HashMap::new(),
            by_age: BTreeMap::new(),
        };
        for reason in WaitReason::ALL {
            waiting.show(*reason);
        }
        waiting
    }

    /// Takes in a request that is due. `since` is the time of its approval, or of its creation if it needs none.
    pub(super) fn due(&mut self, uid: &Uid, since: Timestamp, now: Instant) {
        let before = self.requests.get(uid);
        // A change of a request during a look is taken in after the look.
        let reason = match before.map(|wait| wait.reason) {
            Some(WaitReason::InProgress) => WaitReason::InProgress,
            Some(_) | None => WaitReason::Queue,
        };
        let due = match before {
            Some(wait) if wait.reason == WaitReason::Queue => wait.due,
            Some(_) | None => now,
        };
        self.put(uid, Some(Wait { since, reason, due }));
    }

    /// Notes that a look at a request begins. `since` is as for `due`; `None` if the request does not wait for us.
    pub(super) fn begun(&mut self, uid: &Uid, since: Option<Timestamp>, now: Instant) {
        let before = self.requests.get(uid);
        if let Some(wait) = before.filter(|wait| wait.reason == WaitReason::Queue) {
            let took = now.saturating_duration_since(wait.due);
            self.metrics.stage(TimedStage::Queue, took);
        }
        self.put(
            uid,
            since.map(|since| Wait {
                since,
                reason: WaitReason::InProgress,
                due: now,
            }),
        );
    }

    /// Notes that a look at a request has ended. `waits` tells what it waits for now, with `since` as for `due`;
    /// `None` if this replica has nothing to do about it.
    pub(super) fn looked(
        &mut self,
        uid: &Uid,
        waits: Option<(WaitReason, Timestamp)>,
        now: Instant,
    ) {
        self.put(
            uid,
            waits.map(|(reason, since)| Wait {
                since,
                reason,
                due: now,
            }),
        );
    }

    /// Removes a request that was deleted or has ended.
    pub(super) fn forget(&mut self, uid: &Uid) {
        self.put(uid, None);
    }

    fn put(&mut self, uid: &Uid, now: Option<Wait>) {
        let before = match now {
            Some(now) => self.requests.insert(uid.clone(), now),
            None => self.requests.remove(uid),
        };
        if before == now {
            return;
        }
        if let Some(before) = before {
            if let Some(by_age) = self.by_age.get_mut(&before.reason) {
                by_age.remove(&(before.since, uid.clone()));
            }
            self.show(before.reason);
        }
        if let Some(now) = now {
            let by_age = self.by_age.entry(now.reason).or_default();
            by_age.insert((now.since, uid.clone()));
            self.show(now.reason);
        }
    }

    fn show(&self, reason: WaitReason) {
        let by_age = self.by_age.get(&reason);
        let oldest = by_age.and_then(BTreeSet::first);
        let oldest = oldest.map(|(since, _)| since.as_second());
        let count = by_age.map_or(0, BTreeSet::len);
        self.metrics.waiting(self.kind, reason, count, oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_waiting_request_is_counted_under_one_reason_with_the_age_of_the_oldest() {
        let metrics = Arc::new(Metrics::new("0.1.0", "unknown"));
        let shown = || {
            let text = metrics.encode().unwrap();
            let mut lines: Vec<_> = text
                .lines()
                .filter_map(|line| line.strip_prefix("pkcs11_issuer_waiting_requests"))
                .filter(|line| !line.ends_with("} 0"))
                .map(|line| line.replace("kind=\"CertificateRequest\",", ""))
                .collect();
            lines.sort();
            lines
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let uid = |uid: &str| Uid::from(uid);
        let now = Instant::now();
        let mut waiting =
            WaitingRequests::new(RequestKind::CertificateRequest, Arc::clone(&metrics));
        waiting.due(&uid("a"), at(200), now);
        waiting.due(&uid("b"), at(100), now);
        assert_eq!(
            shown(),
            [
                "_oldest_timestamp_seconds{reason=\"queue\"} 100",
                "{reason=\"queue\"} 2"
            ]
        );
        waiting.begun(&uid("b"), Some(at(100)), now + Duration::from_secs(2));
        // The status write of the look is reported while the look is still in progress.
        waiting.due(&uid("b"), at(100), now);
        waiting.looked(&uid("a"), None, now);
        assert_eq!(
            shown(),
            [
                "_oldest_timestamp_seconds{reason=\"in-progress\"} 100",
                "{reason=\"in-progress\"} 1"
            ]
        );
        waiting.looked(&uid("b"), Some((WaitReason::IssuerNotReady, at(100))), now);
        assert_eq!(
            shown(),
            [
                "_oldest_timestamp_seconds{reason=\"issuer-not-ready\"} 100",
                "{reason=\"issuer-not-ready\"} 1"
            ]
        );
        waiting.forget(&uid("b"));
        waiting.begun(&uid("c"), None, now);
        assert_eq!(shown(), <[String; 0]>::default());
        let text = metrics.encode().unwrap();
        assert!(text.contains("pkcs11_issuer_stage_seconds_sum{stage=\"queue\"} 2.0"));
    }
}
