//! Tests of the stored state: any number of writers, in any order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{
    RegisterError,
    asked::{AskedChange, ChangeOutcome, Recorded, Released},
    entry::{Entry, Kept, RevocationRef, pack, unpack},
    head::{ChunkRef, ENTRIES_PER_CHUNK, RECENT, RegisterHead, ShardKey, StoredCrl, sha256},
    shard::{Chunk, Reservation, Shard, Write},
};
use crate::issuance::crl::{MAX_ENTRIES, RevocationReason, Revoked, SerialNumber};

const WEEK: SignedDuration = SignedDuration::from_hours(168);
/// Entries of one change, so that three changes fill a head.
const BATCH: u32 = 30;

fn key() -> ShardKey {
    ShardKey {
        ca: "00112233445566778899aabbccddeeff".parse().unwrap(),
        shard: 0,
    }
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn serial(number: u32) -> SerialNumber {
    let octets = [&[0x40][..], &number.to_be_bytes()].concat();
    SerialNumber::from_octets(&octets).unwrap()
}

fn entry(number: u32, reason: RevocationReason) -> Entry {
    Entry {
        revoked: Revoked::new(serial(number), at(0), reason, None).unwrap(),
        not_after: Some(at(1000)),
        by: Some(RevocationRef::new(
            "shop",
            &format!("web-{number}"),
            &number.to_string(),
        )),
    }
}

fn revoke(number: u32) -> AskedChange {
    AskedChange::Revoke(entry(number, RevocationReason::KeyCompromise))
}

fn hold(number: u32) -> AskedChange {
    AskedChange::Revoke(entry(number, RevocationReason::CertificateHold))
}

fn crl(reservation: &Reservation, time: Timestamp, der: &[u8]) -> StoredCrl {
    StoredCrl {
        number: reservation.number.get(),
        this_update: time,
        next_update: time + WEEK,
        revision: reservation.revision,
        partition: Vec::new(),
        sha256: sha256(der),
        entries: reservation.revoked.len(),
        chunks: Vec::new(),
    }
}

/// Returns the shard after what was asked.
fn asked(shard: &Shard, what: &[AskedChange]) -> (Vec<ChangeOutcome>, Shard) {
    let (outcomes, write) = shard.ask(&key(), what).unwrap();
    let shard = write.map_or_else(|| shard.clone(), |write| write.shard);
    (outcomes, shard)
}

/// Returns the shard after a CRL of this time.
fn published(shard: &Shard, time: Timestamp) -> (Reservation, Shard) {
    let (reservation, write) = shard.reserve(WEEK, time).unwrap();
    let crl = crl(&reservation, time, b"der");
    let published = write.shard.publish(&key(), &reservation, crl, b"der");
    (reservation, published.unwrap().unwrap().shard)
}

/// What the API server stores.
#[derive(Default)]
struct Cluster {
    head: Option<RegisterHead>,
    version: u64,
    chunks: BTreeMap<String, Vec<u8>>,
    /// Number and octets of every CRL that was ever published.
    crls: Vec<(u64, Vec<u8>)>,
    /// Entries whose writer was told that they are stored, and that nobody has released.
    promised: BTreeSet<SerialNumber>,
}

/// A replica with what it has read and what it wants to write.
#[derive(Default)]
struct Replica {
    view: Option<(Shard, u64)>,
    plan: Option<(Write, Promise)>,
    reservation: Option<Reservation>,
    stored_chunks: bool,
    /// A head as this replica once read it.
    old_head: Option<RegisterHead>,
}

/// What becomes true with a write.
#[derive(Clone, Debug)]
enum Promise {
    Revoked(Vec<SerialNumber>),
    Released(Vec<SerialNumber>),
    Reserved(Box<Reservation>),
    Published(u64, Vec<u8>),
}

impl Cluster {
    /// Reads the shard; every chunk that the head lists must exist.
    fn read(&self) -> Shard {
        let Some(head) = &self.head else {
            return Shard::new(1);
        };
        let chunks = head.chunks.iter().map(|ChunkRef { name, .. }| {
            let octets = self.chunks.get(name).expect("a listed chunk exists");
            let entries = unpack(octets).unwrap();
            Chunk {
                name: name.clone(),
                entries,
            }
            .into()
        });
        let json = serde_json::to_string(head).unwrap();
        assert_eq!(serde_json::from_str::<RegisterHead>(&json).unwrap(), *head);
        Shard::of(head.clone(), chunks.collect()).unwrap()
    }
}

impl Replica {
    fn plan(&mut self, action: u8, number: u32) {
        let Some((shard, _)) = &self.view else {
            return;
        };
        self.stored_chunks = false;
        let batch = || number * BATCH..(number + 1) * BATCH;
        self.plan = match action {
            0 => {
                let reason = match number % 2 {
                    0 => RevocationReason::KeyCompromise,
                    _ => RevocationReason::CertificateHold,
                };
                let all: Vec<_> = batch()
                    .map(|n| AskedChange::Revoke(entry(n, reason)))
                    .collect();
                let (_, write) = shard.ask(&key(), &all).unwrap();
                let promise = Promise::Revoked(batch().map(serial).collect());
                write.map(|write| (write, promise))
            }
            1 => {
                let all: Vec<_> = batch().map(|n| AskedChange::Release(serial(n))).collect();
                let (_, write) = shard.ask(&key(), &all).unwrap();
                let promise = Promise::Released(batch().map(serial).collect());
                write.map(|write| (write, promise))
            }
            2 => {
                // The clocks of replicas differ, and step.
                let time = at(i64::from(number) * 100);
                let (reservation, write) = shard.reserve(WEEK, time).unwrap();
                Some((write, Promise::Reserved(Box::new(reservation))))
            }
            _ => self.reservation.take().and_then(|reservation| {
                let mut all = reservation.revoked.clone();
                all.sort_by_key(|revoked| *revoked.serial());
                let der = format!("{:?} {all:?}", reservation.number).into_bytes();
                let stored = crl(&reservation, at(0), &der);
                let write = shard.publish(&key(), &reservation, stored, &der).unwrap();
                let promise = Promise::Published(reservation.number.get(), der);
                write.map(|write| (write, promise))
            }),
        };
    }

    fn commit(&mut self, cluster: &mut Cluster) {
        let Some((write, promise)) = self.plan.take() else {
            return;
        };
        let view = self.view.take();
        let current = view.is_some_and(|(_, version)| version == cluster.version);
        if !current || !self.stored_chunks {
            return;
        }
        cluster.head = Some(write.shard.head);
        cluster.version += 1;
        match promise {
            Promise::Revoked(serials) => cluster.promised.extend(serials),
            Promise::Released(serials) => {
                let kept = cluster.read();
                for serial in serials {
                    // An entry that is final stays.
                    let is_final = kept.get(&serial).is_some();
                    if !is_final {
                        cluster.promised.remove(&serial);
                    }
                }
            }
            Promise::Reserved(reservation) => self.reservation = Some(*reservation),
            Promise::Published(number, der) => cluster.crls.push((number, der)),
        }
    }

    fn act(&mut self, cluster: &mut Cluster, action: u8, number: u32) {
        match action {
            0..=3 => self.plan(action, number),
            4 => {
                self.view = Some((cluster.read(), cluster.version));
                self.plan = None;
            }
            5 => {
                if let Some((write, _)) = &self.plan {
                    let chunks = write.chunks.iter();
                    cluster
                        .chunks
                        .extend(chunks.map(|chunk| (chunk.name.clone(), chunk.octets.clone())));
                    self.stored_chunks = true;
                }
            }
            6 => self.commit(cluster),
            7 => self.old_head = cluster.head.clone(),
            // A replica may sweep by a head that it read long ago.
            8 => {
                if let Some(head) = &self.old_head {
                    cluster.chunks.retain(|name, _| !head.is_dead(&key(), name));
                }
            }
            // Killed.
            _ => *self = Self::default(),
        }
    }
}

#[test]
fn whatever_replicas_do_numbers_rise_no_entry_is_lost_and_a_number_has_one_crl() {
    let acts = proptest::collection::vec((0usize..3, 0u8..10, 0u32..12), 1..200);
    proptest!(ProptestConfig::with_cases(24), |(acts in acts, runs in any::<bool>())| {
        let mut cluster = Cluster::default();
        let mut replicas = [Replica::default(), Replica::default(), Replica::default()];
        let mut checked = 0;
        for (replica, action, number) in acts {
            let replica = &mut replicas[replica];
            replica.act(&mut cluster, action, number);
            // Half of the cases let a replica run from its read to its write, so that much is stored.
            if runs && action < 4 {
                for step in [4, action, 5, 6] {
                    replica.act(&mut cluster, step, number);
                }
            }
            if cluster.version == checked {
                continue;
            }
            checked = cluster.version;
            let shard = cluster.read();
            let held: BTreeSet<_> = shard.entries().map(|kept| *kept.serial()).collect();
            prop_assert_eq!(held.len(), shard.entries().count());
            prop_assert_eq!(held.len(), shard.count());
            prop_assert!(cluster.promised.is_subset(&held));
            for serial in &held {
                prop_assert!(shard.get(serial).is_some());
            }
            prop_assert!(shard.head.recent.len() <= RECENT);
        }
        let numbers: Vec<_> = cluster.crls.iter().map(|(number, _)| *number).collect();
        prop_assert!(numbers.is_sorted_by(|one, next| one < next), "{:?}", numbers);
    });
}

#[test]
fn a_reservation_that_was_overtaken_publishes_nothing() {
    let (early, write) = Shard::new(1).reserve(WEEK, at(5)).unwrap();
    let (late, write) = write.shard.reserve(WEEK, at(1)).unwrap();
    assert_eq!(
        late.number.get(),
        early.number.get() + 1,
        "although a clock is behind"
    );
    let stored = write.shard;
    let by = |reservation: &Reservation| {
        let crl = crl(reservation, at(5), b"der");
        stored.publish(&key(), reservation, crl, b"der").unwrap()
    };
    assert!(by(&early).is_none());
    let crl = by(&late).unwrap().shard.head.crl.unwrap();
    assert_eq!(crl.number, late.number.get());
    assert_eq!(crl.chunks.len(), 1);
}

#[test]
fn a_certificate_is_revoked_once_and_only_a_hold_can_be_released_or_made_final() {
    let (outcomes, shard) = asked(&Shard::new(1), &[revoke(1), hold(2), hold(3)]);
    let new = ChangeOutcome::Recorded(Recorded::New);
    assert_eq!(outcomes, [new.clone(), new.clone(), new.clone()]);
    let (outcomes, shard) = asked(
        &shard,
        &[
            hold(1),
            revoke(2),
            AskedChange::Release(serial(1)),
            AskedChange::Release(serial(2)),
            AskedChange::Release(serial(3)),
            AskedChange::Release(serial(4)),
            hold(3),
        ],
    );
    let compromised = |number| entry(number, RevocationReason::KeyCompromise);
    assert_eq!(
        outcomes,
        [
            ChangeOutcome::Recorded(Recorded::Already(compromised(1))),
            new.clone(),
            ChangeOutcome::Released(Released::Final(compromised(1))),
            ChangeOutcome::Released(Released::Final(compromised(2))),
            ChangeOutcome::Released(Released::Done),
            ChangeOutcome::Released(Released::NotRevoked),
            new,
        ]
    );
    assert_eq!(shard.count(), 3);
    let (_, nothing) = shard.ask(&key(), &[hold(1)]).unwrap();
    assert!(nothing.is_none());
}

#[test]
fn a_revocation_that_is_recorded_again_after_a_lost_answer_is_new() {
    let (_, shard) = asked(&Shard::new(1), &[revoke(1)]);
    let (outcomes, _) = asked(&shard, &[revoke(1)]);
    assert_eq!(outcomes, [ChangeOutcome::Recorded(Recorded::New)]);
}

#[test]
fn an_entry_leaves_the_crl_after_its_certificate_has_ended_one_crl_has_shown_it_and_one_validity_is_over()
 {
    let (_, shard) = asked(&Shard::new(1), &[revoke(1)]);
    // The certificate ends at 1000.
    let (on, shard) = published(&shard, at(999));
    assert_eq!(on.revoked.len(), 1);
    let late = 1000 + WEEK.as_secs() + 3600;
    // No CRL after the end has shown it yet, however late it is.
    let (on, shard) = published(&shard, at(late + 1));
    assert_eq!(on.revoked.len(), 1);
    let (on, still) = published(&shard, at(late));
    assert_eq!((on.revoked.len(), still.count()), (1, 1));
    let (on, gone) = published(&shard, at(late + 1));
    assert_eq!((on.revoked.len(), gone.count()), (0, 0));
    // It has been revoked for another reason since the number was reserved.
    let (reservation, write) = shard.reserve(WEEK, at(late + 1)).unwrap();
    assert!(reservation.revoked.is_empty() && write.chunks.is_empty());
}

#[test]
fn a_shard_that_is_full_refuses_further_entries_and_stays_readable() {
    let kept = |number| Kept {
        revision: 1,
        entry: entry(number, RevocationReason::KeyCompromise),
    };
    let most = u32::try_from(MAX_ENTRIES).unwrap();
    let per_chunk = u32::try_from(ENTRIES_PER_CHUNK).unwrap();
    let chunks: Vec<_> = (0..most / per_chunk)
        .map(|index| Chunk {
            name: format!("{index:05}{}", "c".repeat(95)),
            entries: (index * per_chunk..(index + 1) * per_chunk)
                .map(kept)
                .collect(),
        })
        .map(std::sync::Arc::new)
        .collect();
    let mut head = RegisterHead::new(1);
    head.chunks = chunks
        .iter()
        .map(|chunk| ChunkRef {
            name: chunk.name.clone(),
            entries: chunk.entries.len(),
        })
        .collect();
    let full = Shard::of(head, chunks).unwrap();
    assert_eq!(full.count(), MAX_ENTRIES);
    let (outcomes, after) = asked(&full, &[revoke(most), revoke(0)]);
    let again = ChangeOutcome::Recorded(Recorded::New);
    assert_eq!(outcomes, [ChangeOutcome::Full, again]);
    assert_eq!(after.count(), MAX_ENTRIES);
    // An import that lost entries would un-revoke their certificates.
    let more = [entry(most, RevocationReason::KeyCompromise).revoked];
    let refused = full.import(&key(), 5, &more);
    assert!(matches!(refused, Err(RegisterError::Full(_))));
    let head = serde_json::to_string(&after.head).unwrap();
    assert!(head.len() < 100_000, "{}", head.len());
}

/// The worst content: names of the greatest length that cannot be compressed. A ConfigMap holds 1 MiB.
#[test]
fn a_chunk_and_a_head_with_the_longest_names_fit_into_a_config_map() {
    let mut state = 1u64;
    let mut text = |length: usize| -> String {
        let letter = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
        };
        std::iter::repeat_with(letter).take(length).collect()
    };
    let entries: Vec<_> = (0..ENTRIES_PER_CHUNK)
        .map(|number| {
            let mut octets = [0; 20];
            octets[0] = 0x40;
            octets[12..].copy_from_slice(
                &u64::try_from(number)
                    .unwrap()
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .to_be_bytes(),
            );
            let serial = SerialNumber::from_octets(&octets).unwrap();
            let reason = RevocationReason::AffiliationChanged;
            Kept {
                revision: u64::MAX,
                entry: Entry {
                    revoked: Revoked::new(serial, at(0), reason, Some(at(0))).unwrap(),
                    not_after: Some(at(0)),
                    by: Some(RevocationRef::new(&text(63), &text(253), &text(36))),
                },
            }
        })
        .collect();
    let packed = pack(&entries).unwrap();
    assert!(packed.len() < 900_000, "{}", packed.len());
    assert_eq!(unpack(&packed).unwrap(), entries);
    let recent: Vec<_> = entries.iter().take(RECENT).collect();
    let json = serde_json::to_string(&recent).unwrap();
    assert!(json.len() < 100_000, "{}", json.len());
}

#[test]
fn an_import_adds_entries_raises_the_number_and_makes_a_crl_due() {
    let (_, shard) = asked(&Shard::new(1), &[revoke(1), hold(2)]);
    let (_, shard) = published(&shard, at(0));
    let number = shard.head.highest() + 1_000_000;
    let others: Vec<_> = (1..1000)
        .map(|number| entry(number, RevocationReason::Superseded).revoked)
        .collect();
    let (added, write) = shard.import(&key(), number, &others).unwrap();
    // Entry 1 stays, and the hold of 2 becomes final.
    assert_eq!((added, write.shard.count()), (998, 999));
    let kept = write.shard.get(&serial(1)).unwrap();
    assert_eq!(kept.entry.revoked.reason(), RevocationReason::KeyCompromise);
    assert_eq!(write.shard.head.highest(), number);
    assert_ne!(
        write.shard.head.revision,
        write.shard.head.crl.as_ref().unwrap().revision
    );
    let names: BTreeSet<_> = write
        .chunks
        .iter()
        .map(|chunk| chunk.name.as_str())
        .collect();
    let listed: BTreeSet<_> = write
        .shard
        .head
        .chunks
        .iter()
        .map(|chunk| chunk.name.as_str())
        .collect();
    assert_eq!(names, listed);
    let (again, write) = write.shard.import(&key(), 1, &others).unwrap();
    assert_eq!((again, write.shard.count()), (0, 999));
    assert_eq!(write.shard.head.highest(), number);
}
