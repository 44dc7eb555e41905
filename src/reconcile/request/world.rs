//! What a request is acted on with: the cluster, the issuer's key, and those who are told. [`Context`](crate::reconcile::Context)
//! is the real one; tests drive the whole life of a request with one in memory.

use std::time::Duration;

use super::{
    apply::{Applied, ApplyError},
    conclude::Delay,
    decide::Time,
    due::Due,
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

/// What came of an attempt to sign.
pub(super) enum Attempt {
    Signed(Signed),
    Refused(Refusal),
    Delayed(Delay),
    /// The issuer's limit lets others sign first; the request is called when its turn comes.
    InTurn {
        waited: Duration,
    },
}

/// What is noted of a request besides its status.
#[derive(Clone, Copy, Debug)]
pub(super) enum Noted<'a> {
    /// The certificate was published.
    Published(&'a Signed),
    /// The same, as is found out only now.
    FoundPublished(&'a Signed),
    /// The certificate will not be published, for this reason.
    Discarded(&'a Signed, &'static str),
    /// The request failed, for this reason.
    Refused(&'static str),
}

/// The world of requests of a kind.
pub(super) trait World<R: Request> {
    /// An issuer as it can be signed with.
    type Snapshot;

    fn time(&self) -> Time;

    /// Looks at a request and its issuer. `owed`: something was signed for it that is not known to be published.
    fn observe(&self, request: &R, owed: bool) -> Observed<Self::Snapshot>;

    /// Whether this replica acts for the request, at this moment.
    fn is_own(&self, request: &R, owed: bool) -> bool;

    /// Signs, if the issuer is the requester's to use and its limit lets it.
    async fn attempt(&self, due: &Due<'_, R, Self::Snapshot>) -> Attempt;

    /// Stores the status if nothing of the object has changed.
    ///
    /// # Errors
    /// The API server, or a webhook behind it, did not answer or refused for now.
    async fn store(&self, request: &R, status: &Status) -> Result<Applied, ApplyError>;

    /// The object as it is stored now; `None` when it is gone.
    ///
    /// # Errors
    /// It could not be read.
    async fn read(&self, request: &R) -> Result<Option<R>, RequestError>;

    /// Has the request called when its issuer changes.
    fn await_issuer(&self, issuer: &IssuerName, request: &R);

    /// Counts what was written.
    fn count(&self, result: RequestResult);

    /// Tells people.
    fn tell(&self, request: &R, notice: Notice);

    /// Notes it in the issuance record and in the metrics.
    fn note(&self, request: &R, issuer: &IssuerName, noted: Noted<'_>);
}
