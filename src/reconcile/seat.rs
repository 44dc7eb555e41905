//! Where a request waits until it is looked at.

use std::sync::Arc;

use crate::lanes::Lane;

/// Where a request waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::reconcile) struct Seat {
    /// Whose it is.
    pub(in crate::reconcile) lane: Lane,
    /// The token of its issuer; `None` where there is no such issuer.
    pub(in crate::reconcile) token: Option<Arc<str>>,
}
