//! Why a CRL is not published.

use std::io;

use hsm::HsmError;

use super::{DONE_WITHIN, RegisterError, RegisterStoreError, StateOlderThanPublished};
use crate::{
    audit::LogError,
    issuance::{IssueError, crl::PrepareCrlError},
    metrics::CrlFailure,
};

/// Why a CRL is not published.
#[derive(Debug, thiserror::Error)]
pub(super) enum CrlTrouble {
    /// The state could not be read or written.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The stored state is older than what was published.
    #[error(transparent)]
    Older(#[from] StateOlderThanPublished),
    /// No issuer of the CA can sign on this replica.
    #[error("no issuer of this CA is ready; its Ready condition says why")]
    NotReady,
    /// All numbers are used.
    #[error("CRL numbers are exhausted")]
    Numbers,
    /// The CRL could not be prepared.
    #[error("the CRL cannot be made")]
    Prepare(#[from] PrepareCrlError),
    /// A sink of the issuance log accepts no lines.
    #[error("the issuance log cannot be written; the operator of the controller has to mend it")]
    Log(#[from] LogError),
    /// The token gave no turn.
    #[error("no turn at the token")]
    Turn(#[source] HsmError),
    /// The token did not sign, or the signature was not released.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// It took too long.
    #[error("the CRL was not published within {} s", DONE_WITHIN.as_secs())]
    TimedOut,
    /// Another replica has reserved a later number in the meantime.
    #[error("another replica makes a later CRL of this shard")]
    Overtaken,
    /// The entries could not be written.
    #[error("the CRL cannot be stored")]
    Pack(#[from] io::Error),
}

impl From<RegisterStoreError> for CrlTrouble {
    fn from(error: RegisterStoreError) -> Self {
        Self::Register(error.into())
    }
}

impl CrlTrouble {
    pub(super) fn step(&self) -> CrlFailure {
        match self {
            Self::Register(_) | Self::Overtaken | Self::TimedOut | Self::Pack(_) => {
                CrlFailure::Store
            }
            Self::Older(_) => CrlFailure::Older,
            Self::NotReady => CrlFailure::Key,
            Self::Numbers | Self::Prepare(_) => CrlFailure::Prepare,
            Self::Log(_) => CrlFailure::Log,
            Self::Turn(_) | Self::Issue(_) => CrlFailure::Sign,
        }
    }
}
