//! Why an issuer cannot sign, as its condition reports it.

use std::sync::Arc;

use kube::core::ParseExpressionError;

use super::material::MaterialError;
use crate::{
    api::issuer::Reason, pipeline::NotProven, revocation::CrlConflict, telemetry::ErrorChain,
};

/// Why an issuer cannot sign.
#[derive(Debug, thiserror::Error)]
pub(in crate::reconcile) enum NotReady {
    /// The operator has no such token.
    #[error("the operator's configuration has no token {0:?}; name one that it has")]
    TokenUnknown(String),
    /// The token's PIN comes from its issuers.
    #[error("token {0:?} takes its PIN from its issuers; set spec.pinSecretRef")]
    PinRequired(String),
    /// The token's PIN comes from elsewhere.
    #[error("token {0:?} does not take its PIN from this issuer; remove spec.pinSecretRef")]
    PinNotTaken(String),
    /// Another issuer of the token names a different PIN Secret, but a token has one PIN.
    #[error(
        "another issuer of token {token:?} takes the PIN from Secret {namespace}/{name}; name the same one"
    )]
    PinConflict {
        /// The token.
        token: String,
        /// Namespace of the other Secret.
        namespace: String,
        /// The other Secret.
        name: String,
    },
    /// A namespaced issuer with a selector of namespaces.
    #[error("spec.namespaceSelector is for cluster issuers; remove it")]
    SelectorNotTaken,
    /// A selector that is not valid.
    #[error("spec.namespaceSelector cannot be used")]
    Selector(#[source] ParseExpressionError),
    /// The labels of the issuer's namespace, on which grants depend, cannot be read.
    #[error(
        "failed to read the labels of namespace {namespace}, on which a grant of the token depends"
    )]
    Namespace {
        /// The namespace.
        namespace: String,
        /// The cause.
        source: Arc<kube::Error>,
    },
    /// The certificate chain is missing or cannot be read.
    #[error("no issuing certificate")]
    Material(#[source] MaterialError),
    /// `spec.next` was removed after the switch to it.
    #[error(
        "the issuer has switched to spec.next, which is gone; put its key and certificate into spec.key and spec.certificate, or back into spec.next"
    )]
    RolloverUndone,
    /// The operator has not enabled CRLs.
    #[error(
        "spec.crl is set, but this controller makes no CRLs; the operator has to set crl.enabled in the chart (--crl-address), or remove spec.crl"
    )]
    CrlDisabled,
    /// The operator has not enabled the revocation of deleted Certificates.
    #[error(
        "spec.crl.onDelete is Revoke, but this controller does not watch Certificates; the operator has to set crl.onDelete in the chart (--revoke-deleted-certificates), or remove onDelete"
    )]
    OnDeleteDisabled,
    /// Another issuer of the same CA says something else about its CRLs.
    #[error(transparent)]
    CrlConflict(CrlConflict),
    /// The grant, the certificates, the token or the key do not pass a check.
    #[error(transparent)]
    NotProven(#[from] Arc<NotProven>),
}

impl NotReady {
    /// Returns the reason of the `Ready` condition.
    #[must_use]
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::TokenUnknown(_) => Reason::TokenUnknown,
            Self::PinRequired(_) => Reason::PinRequired,
            Self::PinNotTaken(_) => Reason::PinNotTaken,
            Self::PinConflict { .. } => Reason::PinConflict,
            Self::SelectorNotTaken | Self::Selector(_) => Reason::NamespaceSelectorInvalid,
            Self::Namespace { .. } => Reason::NamespaceUnreadable,
            Self::Material(MaterialError::Api { .. }) => Reason::CertificateUnreadable,
            Self::Material(_) => Reason::CertificateMissing,
            Self::RolloverUndone => Reason::RolloverUndone,
            Self::CrlDisabled | Self::OnDeleteDisabled => Reason::CrlDisabled,
            Self::CrlConflict(_) => Reason::CrlConflict,
            Self::NotProven(why) => why.reason(),
        }
    }

    /// Returns the message of the `Ready` condition: what to do, with every cause.
    #[must_use]
    pub(super) fn message(&self) -> String {
        match self {
            Self::NotProven(why) => why.message(),
            Self::TokenUnknown(_)
            | Self::PinRequired(_)
            | Self::PinNotTaken(_)
            | Self::PinConflict { .. }
            | Self::SelectorNotTaken
            | Self::Selector(_)
            | Self::Namespace { .. }
            | Self::CrlDisabled
            | Self::OnDeleteDisabled
            | Self::CrlConflict(_)
            | Self::Material(_)
            | Self::RolloverUndone => ErrorChain(self).to_string(),
        }
    }
}
