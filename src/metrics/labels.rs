//! Labels of the metrics, all from closed sets. The label of a token is its name in the operator's configuration.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::audit::RequestKind;

/// Result of one status write of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RequestResult {
    /// The certificate is published.
    Issued,
    /// The request failed for good; only a new request can succeed.
    Failed,
    /// An approver denied the request.
    Denied,
    /// The request waits.
    Pending,
    /// A certificate was signed and is not published.
    Discarded,
}

/// Outcome of one call to a token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SignOutcome {
    /// The token made a signature that verifies.
    Signed,
    /// The token or its worker reported an error.
    Failed,
    /// The token did not answer before the deadline.
    TimedOut,
    /// The queue was full, so the call never began.
    Overloaded,
    /// The token made a signature that does not verify.
    Unverified,
}

/// Outcome of one renewal of this replica's Lease.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LeaseRenewal {
    /// The renewal is stored, and the Leases of the other replicas were read.
    Renewed,
    /// One of these two steps failed.
    Failed,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) kind: RequestKind,
    pub(super) result: RequestResult,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct KindLabel {
    pub(super) kind: RequestKind,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct SignLabels {
    pub(super) token: String,
    pub(super) outcome: SignOutcome,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct BugLabels {
    pub(super) bug: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct LintLabels {
    pub(super) lint: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct TokenLabels {
    pub(super) token: String,
    pub(super) state: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct EndLabels {
    pub(super) token: String,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct IssuerLabels {
    pub(super) kind: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct WatchLabel {
    pub(super) kind: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct ReloadLabels {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct TokenLabel {
    pub(super) token: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct RenewalLabels {
    pub(super) result: LeaseRenewal,
}

impl LeaseRenewal {
    const fn label(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Failed => "failed",
        }
    }
}

impl RequestResult {
    const fn label(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Pending => "pending",
            Self::Discarded => "discarded",
        }
    }
}

impl SignOutcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Overloaded => "overloaded",
            Self::Unverified => "unverified",
        }
    }
}

impl EncodeLabelValue for RequestKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

impl EncodeLabelValue for RequestResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.label().encode(encoder)
    }
}

impl EncodeLabelValue for SignOutcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.label().encode(encoder)
    }
}

impl EncodeLabelValue for LeaseRenewal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.label().encode(encoder)
    }
}
