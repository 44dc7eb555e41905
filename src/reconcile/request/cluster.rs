//! The real [`World`]: the API server, the token behind the pipeline, the issuance log and the metrics.

use std::time::{Duration, Instant};

use super::{
    apply::{Applied, ApplyError, apply, read_again},
    decide::{Share, Time},
    due::{DueRequest, subject},
    kind::{Request, Status},
    observe::{Observed, approved_at, observe, share},
    sign::attempt,
    waiter,
    world::{Noted, SigningOutcome, World},
};
use crate::{
    api::IssuerName,
    audit::note,
    metrics::{RequestResult, TimedStage},
    pipeline::{ReadyIssuer, now},
    reconcile::{Context, events::Notice, issuer_id, request::RequestError},
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
        let applied = apply(&self.client, request, status).await;
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
    }

    fn tell(&self, request: &R, notice: Notice) {
        self.events.publish(notice, request.object_ref(&()), now());
    }

    fn note(&self, request: &R, issuer: &IssuerName, noted: Noted<'_>) {
        let (log, subject) = (&self.log, subject(request, issuer));
        note(match noted {
            Noted::Published(signed) | Noted::FoundPublished(signed) => {
                log.published(now(), &subject, &signed.line())
            }
            Noted::Discarded(signed, why) => log.discarded(now(), &subject, &signed.line(), why),
            Noted::Refused(reason) => log.refused(now(), &subject, reason),
        });
        let (metrics, issuer) = (&self.metrics, issuer_id(issuer));
        if let Noted::Published(_) | Noted::FoundPublished(_) = noted {
            let took = now().duration_since(approved_at(request));
            metrics.published_after(R::KIND, Duration::try_from(took).unwrap_or_default());
        }
        match noted {
            Noted::Published(_) => {}
            Noted::FoundPublished(_) => metrics.request(R::KIND, issuer, RequestResult::Issued),
            Noted::Discarded(..) => metrics.request(R::KIND, issuer, RequestResult::Discarded),
            Noted::Refused(reason) => metrics.refused(R::KIND, issuer, reason),
        }
    }
}
