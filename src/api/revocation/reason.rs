//! Why a certificate is revoked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::issuance::crl;

/// Reason of a revocation (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum RevocationReason {
    /// None of the others. The CRL carries no reason.
    Unspecified,
    /// The certificate's key is, or may be, known to others.
    KeyCompromise,
    /// The key of the CA that the certificate belongs to is, or may be, known to others.
    CACompromise,
    /// The subject's name or affiliation has changed.
    AffiliationChanged,
    /// Another certificate replaces this one.
    Superseded,
    /// The certificate is no longer needed.
    CessationOfOperation,
    /// The certificate is on hold. Only this can be taken back.
    CertificateHold,
    /// A privilege in the certificate has been withdrawn.
    PrivilegeWithdrawn,
    /// The key of the attribute authority is, or may be, known to others.
    AACompromise,
}

impl From<RevocationReason> for crl::RevocationReason {
    fn from(reason: RevocationReason) -> Self {
        match reason {
            RevocationReason::Unspecified => Self::Unspecified,
            RevocationReason::KeyCompromise => Self::KeyCompromise,
            RevocationReason::CACompromise => Self::CaCompromise,
            RevocationReason::AffiliationChanged => Self::AffiliationChanged,
            RevocationReason::Superseded => Self::Superseded,
            RevocationReason::CessationOfOperation => Self::CessationOfOperation,
            RevocationReason::CertificateHold => Self::CertificateHold,
            RevocationReason::PrivilegeWithdrawn => Self::PrivilegeWithdrawn,
            RevocationReason::AACompromise => Self::AaCompromise,
        }
    }
}
