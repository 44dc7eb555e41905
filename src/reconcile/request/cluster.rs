//! The real [`World`]: the API server, the token behind the pipeline, the issuance log and the metrics.

use std::time::{Duration, Instant};

use super::{
    apply::{Applied, ApplyError, apply, read_again},
    decide::{Share, Time},
    due::{DueRequest, IssuerVersion, subject},
    kind::{Request, Status},
    log::log_request,
    observe::{Observed, approved_at, observe, share},
    sign::attempt,
    waiter,
    world::{Noted, SigningOutcome, World},
};
use crate::{
    api::IssuerName,
    metrics::{RequestResult, TimedStage},
    pipeline::{ReadyIssuer, Signed, now},
    reconcile::{
        Context,
        events::{EventReason, Notice},
        issuer_id,
        request::RequestError,
    },
    trace::{self, Outcome, TracedCertificate, WorkStage},
};

impl<R: Request> World<R> for Context {
    type Snapshot = std::sync::Arc<ReadyIssuer>;

    fn time(&self) -> Time {
        Time {
            day: now(),
            steady: Instant::now(),
        }
    }

    fn undecided_after(&self) -> Option<Duration> {
        self.settings.undecided_after
    }

    fn observe(&self, request: &R, unpublished: bool) -> Observed<Self::Snapshot> {
        observe(request, unpublished, self)
    }

    fn is_own(&self, request: &R, unpublished: bool) -> bool {
        share(request, unpublished, self) == Share::Own
    }

    async fn attempt(&self, due: &DueRequest<'_, R, Self::Snapshot>) -> SigningOutcome {
        attempt(due, self).await
    }

    async fn store(&self, request: &R, status: &Status) -> Result<Applied, ApplyError> {
        let began = Instant::now();
        let applied = trace::stage(WorkStage::Write, apply(&self.client, request, status)).await;
        self.metrics.stage(TimedStage::Write, began.elapsed());
        applied
    }

    async fn read(&self, request: &R) -> Result<Option<R>, RequestError> {
        read_again(request, self).await
    }

    fn await_issuer(&self, issuer: &IssuerName, request: &R) {
        self.issuers.wait(issuer, waiter(request));
    }

    fn count(&self, request: &R, result: RequestResult) {
        if let Some(issuer) = request.issuer() {
            self.metrics.request(R::KIND, issuer_id(&issuer), result);
        }
        if result == RequestResult::Denied {
            trace::ended(|| Outcome::Denied);
        }
    }

    fn tell(&self, request: &R, notice: Notice) {
        log_notice(request, &notice);
        self.events.publish(notice, request.object_ref(&()), now());
    }

    fn can_note(&self) -> bool {
        self.log.has_room()
    }

    async fn is_logged(&self, signed: &Signed) -> bool {
        self.log.accepted(signed.logged).await.is_ok()
    }

    fn note(&self, noted: Noted<'_, R>) {
        match noted {
            Noted::Published(_, signed) | Noted::FoundPublished(_, signed) => {
                self.log.published(&signed.announced.entry);
            }
            Noted::Discarded(_, signed, why) => self.log.discarded(&signed.announced.entry, why),
            Noted::Refused(request, issuer, reason) => {
                let version = self.stored.get(issuer).as_ref().map(IssuerVersion::from);
                let subject = subject(request, issuer, version.as_ref());
                let csr = request.csr_sha256();
                self.log.refused(&subject, csr.as_deref(), reason);
            }
        }
        let Some(request) = noted.request() else {
            return;
        };
        if let Noted::Published(..) | Noted::FoundPublished(..) = noted {
            let took = now().duration_since(approved_at(request));
            let took = Duration::try_from(took).unwrap_or_default();
            self.metrics.published_after(R::KIND, took);
        }
        if let Some(issuer) = request.issuer() {
            let (metrics, id) = (&self.metrics, issuer_id(&issuer));
            match noted {
                Noted::Published(..) => {}
                Noted::FoundPublished(..) => metrics.request(R::KIND, id, RequestResult::Issued),
                Noted::Discarded(..) => metrics.request(R::KIND, id, RequestResult::Discarded),
                Noted::Refused(.., reason) => metrics.refused(R::KIND, id, reason),
            }
            log_end(request, &issuer, &noted);
        }
        trace::ended(|| match noted {
            Noted::Published(_, signed) | Noted::FoundPublished(_, signed) => {
                Outcome::Issued(traced(signed))
            }
            Noted::Discarded(_, signed, why) => Outcome::Discarded(traced(signed), why),
            Noted::Refused(.., reason) => Outcome::Refused(reason),
        });
    }
}

/// Logs how a request or its certificate ended: one line.
fn log_end<R: Request>(request: &R, issuer: &IssuerName, noted: &Noted<'_, R>) {
    match noted {
        Noted::Published(_, signed) | Noted::FoundPublished(_, signed) => {
            let dropped = &signed.announced.dropped_extensions;
            let dropped = (!dropped.is_empty()).then(|| dropped.join(","));
            log_request!(info, request, %issuer, serial = signed.announced.serial,
                         token = &*signed.announced.token, dropped_extensions = dropped, "issued");
        }
        Noted::Discarded(_, signed, slug) => {
            log_request!(info, request, %issuer, serial = signed.announced.serial,
                         token = &*signed.announced.token, slug, "discarded");
        }
        Noted::Refused(.., slug) => log_request!(info, request, %issuer, slug, "refused"),
    }
}

/// Logs what the status or the Event of a request says now, unless `log_end` says it.
fn log_notice<R: Request>(request: &R, notice: &Notice) {
    let (reason, why) = (notice.reason().as_str(), notice.note());
    match notice.reason() {
        EventReason::Issued | EventReason::Refused => {}
        EventReason::Denied => log_request!(info, request, reason, "denied"),
        EventReason::SigningDelayed if !notice.is_wanted() => {
            log_request!(warn, request, reason, why, "waiting");
        }
        EventReason::SigningDelayed
        | EventReason::IssuerNotFound
        | EventReason::IssuerNotReady
        | EventReason::Undecided
        | EventReason::Ready
        | EventReason::NotReady(_)
        | EventReason::CAExpiringSoon
        | EventReason::CAShorterThanProfile
        | EventReason::Rollover(_)
        | EventReason::CertificateRenewed
        | EventReason::KeyReplaced
        | EventReason::RolloverFinished
        | EventReason::RolloverWithdrawn
        | EventReason::Crl(_) => log_request!(info, request, reason, why, "waiting"),
    }
}

fn traced(signed: &Signed) -> TracedCertificate {
    TracedCertificate {
        serial: signed.announced.serial.clone(),
        token: signed.announced.token.clone(),
    }
}
