//! The real [`World`]: the API server, the token behind the pipeline, the issuance log and the metrics.

use std::time::{Duration, Instant};

use super::{
    apply::{Applied, ApplyError, apply, read_again},
    decide::{Share, Time},
    due::{DueRequest, IssuerVersion, subject},
    kind::{Request, Status},
    observe::{Observed, observe, share},
    sign::attempt,
    waiter,
    world::{Noted, SigningOutcome, World},
};
use crate::{
    api::IssuerName,
    metrics::RequestResult,
    pipeline::{ReadyIssuer, Signed, now},
    reconcile::{Context, events::Notice, request::RequestError},
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
        apply(&self.client, request, status).await
    }

    async fn read(&self, request: &R) -> Result<Option<R>, RequestError> {
        read_again(request, self).await
    }

    fn await_issuer(&self, issuer: &IssuerName, request: &R) {
        self.issuers.wait(issuer, waiter(request));
    }

    fn count(&self, result: RequestResult) {
        self.metrics.request(R::KIND, result);
    }

    fn tell(&self, request: &R, notice: Notice) {
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
            Noted::Published(signed) | Noted::FoundPublished(signed) => {
                self.log.published(&signed.announced.entry);
            }
            Noted::Discarded(signed, why) => self.log.discarded(&signed.announced.entry, why),
            Noted::Refused(request, issuer, reason) => {
                let version = self.stored.get(issuer).as_ref().map(IssuerVersion::from);
                let subject = subject(request, issuer, version.as_ref());
                let csr = request.csr_sha256();
                self.log.refused(&subject, csr.as_deref(), reason);
            }
        }
        match noted {
            Noted::Published(_) => {}
            Noted::FoundPublished(_) => self.metrics.request(R::KIND, RequestResult::Issued),
            Noted::Discarded(..) => self.metrics.request(R::KIND, RequestResult::Discarded),
            Noted::Refused(.., reason) => self.metrics.refused(reason),
        }
    }
}
