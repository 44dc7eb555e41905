//! Everything outside the state machine that acting on a request needs: the clock, the cluster, the issuer's key, Events,
//! the issuance log and metrics. [`Context`](crate::reconcile::Context) is the real world; tests run the whole life of a
//! request in a world in memory.

use std::time::Duration;

use super::{
    apply::{Applied, ApplyError},
    conclude::Delay,
    decide::Time,
    due::DueRequest,
    kind::{Request, Status},
    observe::Observed,
};
use crate::{
    api::IssuerName,
    issuance::Refusal,
    metrics::RequestResult,
    pipeline::Signed,
    reconcile::{events::Notice, request::RequestError},
};

/// Outcome of an attempt to sign.
pub(super) enum SigningOutcome {
    Signed(Signed),
    Refused(Refusal),
    Delayed(Delay),
    /// The issuer's limit lets other requests sign first; this one is called when its turn comes.
    InTurn {
        waited: Duration,
    },
}

/// Entry of the issuance log about a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Noted<'a, R> {
    /// The certificate was published.
    Published(&'a R, &'a Signed),
    /// The certificate turned out to be published although the answer to the write was lost.
    FoundPublished(&'a R, &'a Signed),
    /// The certificate will not be published, for this reason. `None` if the request can no longer be parsed.
    Discarded(Option<&'a R>, &'a Signed, &'static str),
    /// The request, which names this issuer, was refused for this reason.
    Refused(&'a R, &'a IssuerName, &'static str),
}

impl<'a, R> Noted<'a, R> {
    /// Returns the request, if it can be parsed.
    pub(super) const fn request(&self) -> Option<&'a R> {
        match self {
            Self::Published(request, _)
            | Self::FoundPublished(request, _)
            | Self::Refused(request, ..) => Some(request),
            Self::Discarded(request, ..) => *request,
        }
    }
}

/// Outside world of the requests of one kind.
pub(super) trait World<R: Request> {
    /// Snapshot of an issuer to sign with.
    type Snapshot;

    fn time(&self) -> Time;

    /// Returns how long a request may await approval or denial before an Event reports it; `None` if no Event does.
    fn undecided_after(&self) -> Option<Duration>;

    /// Observes a request and its issuer. `unpublished` tells whether a certificate was signed that is not known to be
    /// published.
    fn observe(&self, request: &R, unpublished: bool) -> Observed<Self::Snapshot>;

    /// Returns whether this replica acts on the request at this moment.
    fn is_own(&self, request: &R, unpublished: bool) -> bool;

    /// Signs, if the requester may use the issuer and the issuer's limit allows it.
    async fn attempt(&self, due: &DueRequest<'_, R, Self::Snapshot>) -> SigningOutcome;

    /// Stores the status if the object has not changed.
    ///
    /// # Errors
    /// The API server, or a webhook behind it, did not answer or rejected the write for now.
    async fn store(&self, request: &R, status: &Status) -> Result<Applied, ApplyError>;

    /// Reads the object as it is stored now; `None` if it is gone.
    ///
    /// # Errors
    /// The object could not be read.
    async fn read(&self, request: &R) -> Result<Option<R>, RequestError>;

    /// Registers the request to be called when its issuer changes.
    fn await_issuer(&self, issuer: &IssuerName, request: &R);

    /// Counts the result of a status write.
    fn count(&self, request: &R, result: RequestResult);

    /// Emits an Event.
    fn tell(&self, request: &R, notice: Notice);

    /// Returns whether the issuance log takes the line of a refusal now.
    fn can_note(&self) -> bool;

    /// Waits until the sinks of the issuance log have accepted the *signed* line of a certificate. Returns `false` if they
    /// have not in time.
    async fn is_logged(&self, signed: &Signed) -> bool;

    /// Writes an entry to the issuance log and counts it in the metrics.
    fn note(&self, noted: Noted<'_, R>);
}
