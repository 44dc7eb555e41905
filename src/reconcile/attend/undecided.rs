//! Counts the requests of one kind that nobody has approved or denied.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

use super::uid::Uid;
use crate::{audit::RequestKind, metrics::Metrics};

/// The undecided requests of one kind, by age. Every change updates the metrics.
#[derive(Debug)]
pub(super) struct Undecided {
    kind: RequestKind,
    metrics: Arc<Metrics>,
    created: HashMap<Uid, Timestamp>,
    by_age: BTreeSet<(Timestamp, Uid)>,
}

impl Undecided {
    /// Creates an empty set, and shows it in the metrics.
    pub(super) fn new(kind: RequestKind, metrics: Arc<Metrics>) -> Self {
        let undecided = Self {
            kind,
            metrics,
            created: HashMap::new(),
            by_age: BTreeSet::new(),
        };
        undecided.show();
        undecided
    }

    /// Records a request. `since` is the time of its creation, or `None` if it awaits no decision or is deleted.
    pub(super) fn put(&mut self, uid: &Uid, since: Option<Timestamp>) {
        let before = match since {
            Some(since) => self.created.insert(uid.clone(), since),
            None => self.created.remove(uid),
        };
        if before == since {
            return;
        }
        if let Some(before) = before {
            self.by_age.remove(&(before, uid.clone()));
        }
        if let Some(since) = since {
            self.by_age.insert((since, uid.clone()));
        }
        self.show();
    }

    fn show(&self) {
        let oldest = self.by_age.first().map(|(since, _)| since.as_second());
        self.metrics.undecided(self.kind, self.by_age.len(), oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undecided_requests_are_counted_and_the_oldest_is_shown() {
        let metrics = Arc::new(Metrics::new("0.1.0", "unknown"));
        let shown = || {
            let text = metrics.encode().unwrap();
            let value = |name: &str| {
                let series = format!("pkcs11_issuer_{name}{{kind=\"CertificateRequest\"}} ");
                let mut lines = text.lines();
                lines.find_map(|line| Some(line.strip_prefix(&series)?.to_owned()))
            };
            (
                value("undecided_requests").unwrap(),
                value("undecided_requests_oldest_timestamp_seconds"),
            )
        };
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let uid = |uid: &str| Uid::from(uid);
        let mut undecided = Undecided::new(RequestKind::CertificateRequest, Arc::clone(&metrics));
        assert_eq!(shown(), ("0".to_owned(), None));
        undecided.put(&uid("a"), at(200));
        undecided.put(&uid("b"), at(100));
        undecided.put(&uid("b"), at(100));
        assert_eq!(shown(), ("2".to_owned(), Some("100".to_owned())));
        undecided.put(&uid("b"), None);
        assert_eq!(shown(), ("1".to_owned(), Some("200".to_owned())));
        undecided.put(&uid("a"), None);
        undecided.put(&uid("a"), None);
        assert_eq!(shown(), ("0".to_owned(), None));
    }
}
