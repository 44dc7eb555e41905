//! The place in the queue where a request waits until it is looked at.

use std::sync::Arc;

use crate::lanes::Lane;

/// Place of a request in the queue: its lane and its token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::reconcile) struct Seat {
    /// Its tenant and issuer.
    pub(in crate::reconcile) lane: Lane,
    /// The token of its issuer; `None` if the issuer does not exist or names a token that is not configured.
    pub(in crate::reconcile) token: Option<Arc<str>>,
}
