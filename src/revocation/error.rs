//! Why the register was not changed.

use std::{io, sync::Arc};

use super::{head::ShardKey, store::RegisterStoreError};
use crate::issuance::crl::{CaId, MAX_ENTRIES};

/// Why the register was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegisterError {
    /// The operator has not enabled CRLs.
    #[error("this controller makes no CRLs; the operator has to set crl.enabled in the chart")]
    Disabled,
    /// No issuer of this CA has `spec.crl`, and nothing is stored of it.
    #[error("no issuer with spec.crl uses the CA {0}")]
    UnknownCa(CaId),
    /// The stored state has another number of shards.
    #[error(
        "the stored revocations of CA {ca} are in {stored} shards and not in {wanted}; set spec.crl.shards to {stored}"
    )]
    Shards {
        /// The CA.
        ca: CaId,
        /// As stored.
        stored: u16,
        /// As the issuers say.
        wanted: u16,
    },
    /// The shard is full.
    #[error(
        "shard {} of CA {} has {MAX_ENTRIES} entries and takes no more; entries leave it after the end of their certificates",
        _0.shard, _0.ca
    )]
    Full(ShardKey),
    /// The state could not be read or written.
    #[error(transparent)]
    Store(Arc<RegisterStoreError>),
    /// Others write all the time.
    #[error("other replicas write to shard {} of CA {} at the same time", _0.shard, _0.ca)]
    Contended(ShardKey),
    /// The chunk of entries could not be compressed.
    #[error("the entries cannot be written")]
    Pack(#[source] Arc<io::Error>),
}

impl From<RegisterStoreError> for RegisterError {
    fn from(error: RegisterStoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<io::Error> for RegisterError {
    fn from(error: io::Error) -> Self {
        Self::Pack(Arc::new(error))
    }
}
