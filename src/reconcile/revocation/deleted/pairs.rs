//! Joins the deletion of a Certificate and that of the request that made its present certificate. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use crate::api::IssuerName;

/// How long the first deletion waits for the second: kube-controller-manager deletes what an object owned within seconds.
const WAITS_FOR: Duration = Duration::from_secs(600);
/// Most deleted requests of one Certificate that are kept: the newest.
const MOST_REQUESTS: usize = 16;
/// Most Certificates that are waited for. Beyond it, the oldest are forgotten.
const MOST: usize = 4096;

/// A deleted request whose certificate may have to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GoneRequest {
    /// Its issuer.
    pub(super) issuer: IssuerName,
    /// Number of the certificate of its Certificate.
    pub(super) revision: i64,
    /// Namespace and name of its Certificate.
    pub(super) certificate: String,
    /// Its certificate in PEM.
    pub(super) pem: String,
}

/// Deletions that wait for their counterpart, by the UID of the Certificate.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: HashMap<String, Half>,
    /// The UIDs in the order in which they began to wait.
    order: BTreeMap<(Instant, String), ()>,
}

#[derive(Debug)]
struct Half {
    since: Instant,
    /// The revision that was in use when the Certificate was deleted, once that is known.
    in_use: Option<i64>,
    requests: Vec<GoneRequest>,
}

impl Pairs {
    /// Takes in the deletion of a Certificate, whose present certificate has this revision. Returns the request that made it, if
    /// that is deleted too.
    pub(super) fn certificate_gone(
        &mut self,
        uid: &str,
        revision: i64,
        now: Instant,
    ) -> Option<GoneRequest> {
        self.half(uid, now).in_use = Some(revision);
        self.pair(uid)
    }

    /// Takes in the deletion of a request of the Certificate with this UID. Returns it if the Certificate was deleted while its
    /// certificate was in use.
    pub(super) fn request_gone(
        &mut self,
        uid: &str,
        request: GoneRequest,
        now: Instant,
    ) -> Option<GoneRequest> {
        let requests = &mut self.half(uid, now).requests;
        requests.push(request);
        requests.sort_by_key(|request| -request.revision);
        requests.truncate(MOST_REQUESTS);
        self.pair(uid)
    }

    fn half(&mut self, uid: &str, now: Instant) -> &mut Half {
        self.forget_old(now);
        self.waiting.entry(uid.to_owned()).or_insert_with(|| {
            self.order.insert((now, uid.to_owned()), ());
            Half {
                since: now,
                in_use: None,
                requests: Vec::new(),
            }
        })
    }

    fn pair(&mut self, uid: &str) -> Option<GoneRequest> {
        let half = self.waiting.get_mut(uid)?;
        let in_use = half.in_use?;
        let place = half
            .requests
            .iter()
            .position(|request| request.revision == in_use)?;
        let found = half.requests.swap_remove(place);
        let since = half.since;
        self.order.remove(&(since, uid.to_owned()));
        self.waiting.remove(uid);
        Some(found)
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(((since, uid), ())) = self.order.first_key_value() {
            if now.saturating_duration_since(*since) < WAITS_FOR && self.waiting.len() < MOST {
                return;
            }
            self.waiting.remove(uid);
            self.order.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(revision: i64) -> GoneRequest {
        GoneRequest {
            issuer: IssuerName {
                namespace: None,
                name: "issuing".to_owned(),
            },
            revision,
            certificate: "shop/web".to_owned(),
            pem: format!("certificate {revision}"),
        }
    }

    #[test]
    fn a_deleted_certificate_and_its_request_meet_in_any_order() {
        let now = Instant::now();
        let mut pairs = Pairs::default();
        assert_eq!(pairs.certificate_gone("a", 2, now), None);
        assert_eq!(pairs.request_gone("a", request(2), now), Some(request(2)));
        assert_eq!(pairs.request_gone("b", request(7), now), None);
        assert_eq!(pairs.certificate_gone("b", 7, now), Some(request(7)));
        assert!(pairs.waiting.is_empty() && pairs.order.is_empty());
    }

    #[test]
    fn a_superseded_certificate_is_never_revoked() {
        let now = Instant::now();
        let mut pairs = Pairs::default();
        // cert-manager deletes old requests while the Certificate lives.
        assert_eq!(pairs.request_gone("a", request(1), now), None);
        assert_eq!(pairs.request_gone("a", request(2), now), None);
        assert_eq!(pairs.certificate_gone("a", 3, now), None);
        assert_eq!(pairs.request_gone("a", request(4), now), None);
        assert_eq!(pairs.request_gone("a", request(3), now), Some(request(3)));
    }

    #[test]
    fn a_request_of_another_certificate_is_no_counterpart() {
        let now = Instant::now();
        let mut pairs = Pairs::default();
        assert_eq!(pairs.certificate_gone("a", 1, now), None);
        assert_eq!(pairs.request_gone("b", request(1), now), None);
    }

    #[test]
    fn the_newest_requests_of_a_certificate_are_kept() {
        let now = Instant::now();
        let mut pairs = Pairs::default();
        for revision in 1..100 {
            assert_eq!(pairs.request_gone("a", request(revision), now), None);
        }
        let half = &pairs.waiting["a"];
        assert_eq!(half.requests.len(), MOST_REQUESTS);
        assert_eq!(pairs.certificate_gone("a", 99, now), Some(request(99)));
    }

    #[test]
    fn no_deletion_waits_for_ever_and_their_number_is_limited() {
        let start = Instant::now();
        let mut pairs = Pairs::default();
        assert_eq!(pairs.certificate_gone("a", 1, start), None);
        let later = start + WAITS_FOR;
        assert_eq!(pairs.request_gone("a", request(1), later), None);
        for number in 0..2 * MOST {
            let uid = format!("{number}");
            assert_eq!(pairs.certificate_gone(&uid, 1, later), None);
            assert!(pairs.waiting.len() <= MOST);
            assert_eq!(pairs.waiting.len(), pairs.order.len());
        }
        let last = format!("{}", 2 * MOST - 1);
        assert_eq!(
            pairs.request_gone(&last, request(1), later),
            Some(request(1))
        );
    }
}
