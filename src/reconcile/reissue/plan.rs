//! Decides which Certificates of an issuer are renewed next, and when to pause. Pure.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{
        certificate::Certificate,
        issuer::{ReissueState, ReissueStatus},
    },
    duration::GoDuration,
    issuance::outdated::IssuedEarlier,
};

/// The duration of a Certificate that asks for none (cert-manager's default).
const DEFAULT_DURATION: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The most renewals in progress, in seconds of the pace. cert-manager and the token are slow if there are more.
const IN_PROGRESS_SECONDS: usize = 10;
/// The pause after a call of the API server that failed or was slow.
const PAUSE: Duration = Duration::from_secs(30);
/// A call that takes longer than this is slow.
const SLOW: Duration = Duration::from_secs(2);
/// How long an empty plan counts, before the Certificates are read again.
const EMPTY_FOR: Duration = Duration::from_secs(600);

/// Namespace and name of a Certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CertificateName {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A Certificate that is to be renewed, or whose renewal is in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutdatedCertificate {
    pub(super) name: CertificateName,
    pub(super) uid: String,
    /// The revision that is to be replaced.
    pub(super) revision: i64,
    not_before: Timestamp,
}

/// What the requests say about the present certificates: by name and revision.
pub(super) type Judged = HashMap<(CertificateName, i64), IssuedEarlier>;

/// What becomes of a Certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RenewalNeed {
    /// It need not be renewed, or has no certificate yet.
    Fresh,
    /// cert-manager is renewing it.
    InProgress(OutdatedCertificate),
    /// It should be renewed, and the profile would refuse that, or the last renewal has failed.
    Stuck,
    /// It is to be renewed.
    Due(OutdatedCertificate),
}

/// Returns what becomes of a Certificate, if the longest duration is `longest` now.
pub(super) fn renewal_need(
    certificate: &Certificate,
    judged: &Judged,
    longest: SignedDuration,
) -> RenewalNeed {
    let meta = &certificate.metadata;
    let name = CertificateName {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    };
    let Some(revision) = certificate.revision() else {
        return RenewalNeed::Fresh;
    };
    // Without its request, cert-manager issues a Certificate anew by itself, or somebody has deleted the request. Nothing is
    // known about the certificate then, and it is left to cert-manager.
    let Some(earlier) = judged.get(&(name.clone(), revision)) else {
        return RenewalNeed::Fresh;
    };
    if earlier.outdated.is_none() {
        return RenewalNeed::Fresh;
    }
    let candidate = OutdatedCertificate {
        name,
        uid: meta.uid.clone().unwrap_or_default(),
        revision,
        not_before: earlier.not_before,
    };
    if certificate.is_issuing() {
        return RenewalNeed::InProgress(candidate);
    }
    let asked = match &certificate.spec.duration {
        Some(text) => text.parse::<GoDuration>().ok().map(GoDuration::signed),
        None => Some(DEFAULT_DURATION),
    };
    let fits = asked.is_some_and(|asked| asked <= longest);
    if certificate.has_failed() || !fits {
        return RenewalNeed::Stuck;
    }
    RenewalNeed::Due(candidate)
}

/// The Certificates of one issuer, and how far their renewal is.
#[derive(Debug)]
pub(super) struct ReissuePlan {
    total: u32,
    stuck: u32,
    /// The oldest first.
    due: VecDeque<OutdatedCertificate>,
    in_progress: VecDeque<OutdatedCertificate>,
    made: Instant,
    /// Up to when renewals have been begun.
    begun_until: Instant,
    paused: Option<(Instant, String)>,
}

impl ReissuePlan {
    /// Makes a plan of all Certificates of an issuer.
    pub(super) fn new(needs: impl IntoIterator<Item = RenewalNeed>, now: Instant) -> Self {
        let mut plan = Self {
            total: 0,
            stuck: 0,
            due: VecDeque::new(),
            in_progress: VecDeque::new(),
            made: now,
            begun_until: now,
            paused: None,
        };
        let mut due = Vec::new();
        for need in needs {
            plan.total = plan.total.saturating_add(1);
            match need {
                RenewalNeed::Fresh => {}
                RenewalNeed::Stuck => plan.stuck += 1,
                RenewalNeed::InProgress(candidate) => plan.in_progress.push_back(candidate),
                RenewalNeed::Due(candidate) => due.push(candidate),
            }
        }
        due.sort_by(|one, other| (one.not_before, &one.name).cmp(&(other.not_before, &other.name)));
        plan.due = due.into();
        plan
    }

    /// Returns whether the Certificates must be read again.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let empty = self.due.is_empty() && self.in_progress.is_empty();
        empty && now.duration_since(self.made) >= EMPTY_FOR
    }

    /// Takes the next Certificate that may be renewed at this pace; `None` if it is too early, or too many are in progress.
    pub(super) fn next(&mut self, per_second: u16, now: Instant) -> Option<OutdatedCertificate> {
        if self.paused.as_ref().is_some_and(|(until, _)| *until > now) {
            return None;
        }
        self.paused = None;
        let each = Duration::from_secs(1) / u32::from(per_second);
        // A pause is not made up for.
        let start = self
            .begun_until
            .max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
        let next = start + each;
        if next > now || self.is_full(per_second) {
            return None;
        }
        self.begun_until = next;
        self.due.pop_front()
    }

    /// Notes that the renewal of a Certificate has begun.
    pub(super) fn begun(&mut self, candidate: OutdatedCertificate) {
        self.in_progress.push_back(candidate);
    }

    /// Notes that a Certificate cannot be renewed.
    pub(super) fn is_stuck(&mut self) {
        self.stuck = self.stuck.saturating_add(1);
    }

    /// Notes how long the calls for a renewal took, and pauses if that was long.
    pub(super) fn took(&mut self, time: Duration, now: Instant) {
        if time > SLOW {
            self.pause("the API server is slow", now);
        }
    }

    /// Puts a Certificate back whose renewal could not be begun, and pauses.
    pub(super) fn failed(&mut self, candidate: OutdatedCertificate, why: &str, now: Instant) {
        self.due.push_front(candidate);
        self.pause(why, now);
    }

    fn pause(&mut self, why: &str, now: Instant) {
        self.paused = Some((now + PAUSE, why.to_owned()));
    }

    /// Takes a renewal that began long ago, to find out whether it is over. The caller gives it back if it is not.
    pub(super) fn oldest_in_progress(&mut self) -> Option<OutdatedCertificate> {
        self.in_progress.pop_front()
    }

    /// Returns how many renewals are in progress.
    pub(super) fn count_in_progress(&self) -> usize {
        self.in_progress.len()
    }

    fn is_full(&self, per_second: u16) -> bool {
        self.in_progress.len() >= usize::from(per_second) * IN_PROGRESS_SECONDS
    }

    /// Returns the progress for the status.
    pub(super) fn status(&self, per_second: u16) -> ReissueStatus {
        let count =
            |queue: &VecDeque<OutdatedCertificate>| u32::try_from(queue.len()).unwrap_or(u32::MAX);
        let (due, in_progress) = (count(&self.due), count(&self.in_progress));
        let (state, message) = match (&self.paused, due) {
            (_, 0) if in_progress == 0 => (ReissueState::Done, String::new()),
            (Some((_, why)), _) => (ReissueState::Slowed, why.clone()),
            (None, _) if self.is_full(per_second) => (
                ReissueState::Slowed,
                "cert-manager, its approver or the token is slow: too many renewals are in progress"
                    .to_owned(),
            ),
            (None, _) => (ReissueState::Running, String::new()),
        };
        ReissueStatus {
            state,
            total: self.total,
            left: due.saturating_add(in_progress),
            in_progress,
            stuck: self.stuck,
            message,
        }
    }
}

#[cfg(test)]
mod tests;
