//! The labels of our metrics, all of closed sets; a token's is its name in the operator's configuration.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::audit::RequestKind;

/// What became of a request in one status write.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RequestResult {
    /// The certificate is published.
    Issued,
    /// Only a new request can help.
    Failed,
    /// An approver denied the request.
    Denied,
    /// The request waits.
    Pending,
    /// A certificate was signed and is not published.
    Discarded,
}

/// How one call to a token ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SignOutcome {
    /// With a signature that verifies.
    Signed,
    /// With an error of the token or its worker.
    Failed,
    /// With none before the deadline.
    TimedOut,
    /// It never began: the queue was full.
    Overloaded,
    /// With a signature that does not verify.
    Unverified,
}

/// How one renewal of this replica's Lease ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LeaseRenewal {
    /// It is stored, and the Leases of the others were read.
    Renewed,
    /// One of the two did not work.
    Failed,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) kind: RequestKind,
    pub(super) result: RequestResult,
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
