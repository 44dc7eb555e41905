//! Merges CRLs that were published into a stored state that is older.

use kube::Client;

use super::{
    RegisterError,
    head::ShardKey,
    store::{Store, StoredShard},
};
use crate::issuance::crl::{CaId, CrlNumber, ReadCrl, Shards};

/// How often a write is tried while replicas write at the same time.
const TRIES: usize = 8;
/// The highest number that is imported: a later CRL must have a number, too.
const HIGHEST: u64 = u64::MAX / 2;

/// What was imported into one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The shard.
    pub shard: u16,
    /// The number of the CRL.
    pub number: u64,
    /// Entries that the stored state did not have.
    pub added: usize,
    /// Entries in the stored state now.
    pub entries: usize,
}

/// Why a CRL is not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The CRL has no number, or one that leaves none for later CRLs.
    #[error("a CRL has no number of 63 bits, so this controller did not make it")]
    Number,
    /// The CRL is of no shard of this CA.
    #[error(
        "a CRL names none of the {0} shards of this CA as its distribution point; give --shards as in spec.crl.shards"
    )]
    Shard(u16),
    /// The number of shards differs from the stored one.
    #[error("the stored state has {stored} shards and not {given}")]
    Shards {
        /// As stored.
        stored: u16,
        /// As given.
        given: u16,
    },
    /// The state could not be read or written.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// Merges CRLs, which the caller has verified, into the stored state. `shards` is the number of shards if nothing is stored.
///
/// # Errors
/// [`ImportError`]. CRLs before the one that failed are imported.
pub async fn import(
    client: Client,
    namespace: &str,
    ca: &CaId,
    shards: Option<Shards>,
    crls: &[ReadCrl],
) -> Result<Vec<Imported>, ImportError> {
    let store = Store::new(client, namespace);
    let first = ShardKey { ca: *ca, shard: 0 };
    let head = store.head(&first).await.map_err(RegisterError::from)?;
    let stored = head.map(|stored| stored.head.shards);
    let shards = match (stored, shards) {
        (Some(stored), Some(given)) if stored != given.get() => {
            let given = given.get();
            return Err(ImportError::Shards { stored, given });
        }
        (Some(stored), _) => Shards::try_from(stored).unwrap_or(Shards::ONE),
        (None, given) => given.unwrap_or(Shards::ONE),
    };
    let mut done = Vec::new();
    for crl in crls {
        let number = crl.number().filter(|number| number.get() <= HIGHEST);
        let number = number.ok_or(ImportError::Number)?;
        let shard = shard_of(crl, ca, shards).ok_or(ImportError::Shard(shards.get()))?;
        let key = ShardKey { ca: *ca, shard };
        done.push(merge(&store, &key, shards, number, crl).await?);
    }
    Ok(done)
}

async fn merge(
    store: &Store,
    key: &ShardKey,
    shards: Shards,
    number: CrlNumber,
    crl: &ReadCrl,
) -> Result<Imported, RegisterError> {
    for _ in 0..TRIES {
        let stored = store.shard(key, None).await?;
        let stored = stored.unwrap_or_else(|| StoredShard::new(shards.get()));
        let (added, write) = stored.shard.import(key, number.get(), crl.entries())?;
        if let Some(stored) = store.write(key, &stored, write).await? {
            return Ok(Imported {
                shard: key.shard,
                number: number.get(),
                added,
                entries: stored.shard.count(),
            });
        }
    }
    Err(RegisterError::Contended(*key))
}

/// Returns the shard of a CRL: the one whose URL it names as its distribution point.
fn shard_of(crl: &ReadCrl, ca: &CaId, shards: Shards) -> Option<u16> {
    if !shards.are_partitions() {
        return (!crl.is_partition()).then_some(0);
    }
    let names = |shard: &u16| {
        let end = format!("/{ca}/{shard}.crl");
        let mut points = crl.distribution_points().iter();
        points.any(|url| url.ends_with(&end))
    };
    (0..shards.get()).find(names)
}
