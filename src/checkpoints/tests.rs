//! Tests of several logs in memory whose replicas see each other's heads.

use std::io;

use super::*;
use crate::audit::{LogRun, Program, note::tests::NoteSigner, tests::subject};

const PROGRAM: Program = Program {
    version: "1.2.3",
    commit: "abc",
};

struct Replica {
    log: IssuanceLog,
    heads: Heads,
}

/// Replicas with one key, which is a copy on each of their tokens.
struct World {
    signer: NoteSigner,
    replicas: Vec<Replica>,
}

impl Replica {
    fn start(name: &str) -> Self {
        let log = IssuanceLog::to(
            "sink",
            io::sink(),
            LogRun::new("prod", name, PROGRAM).unwrap(),
            || Timestamp::UNIX_EPOCH,
        )
        .unwrap();
        log.started();
        Self {
            log,
            heads: Heads {
                known: KnownHeads::default(),
                own: watch::Sender::new(None),
            },
        }
    }

    fn size(&self) -> u64 {
        self.heads.own.borrow().as_ref().map_or(0, SignedHead::size)
    }

    fn issues(&self) {
        self.log.refused(&subject(&[]), None, "denied");
    }
}

impl World {
    fn start(count: usize) -> Self {
        Self {
            signer: NoteSigner::ed25519(1),
            replicas: (0..count)
                .map(|number| Replica::start(&number.to_string()))
                .collect(),
        }
    }

    /// Lets each replica do what it does every ten seconds; returns how many checkpoints were written.
    async fn round(&mut self) -> usize {
        let key = self.signer.key("prod");
        let mut written = 0;
        for index in 0..self.replicas.len() {
            let shown = self.replicas.iter();
            let shown: Vec<_> = shown
                .filter_map(|replica| replica.heads.own.borrow().clone())
                .collect();
            let Replica { log, heads } = &mut self.replicas[index];
            heads.record(log, &shown, &key);
            if let Some(due) = log.unchecked() {
                let text = due.text();
                let note = signed_note(&text, &key, &self.signer.sign(&text));
                let signed = due.signed(&note).unwrap();
                heads.write(log, &due, signed).await.unwrap();
                written += 1;
            }
        }
        written
    }

    /// Returns the number of rounds in which somebody wrote a checkpoint, until one in which nobody does.
    async fn rests_after(&mut self) -> usize {
        for rounds in 0..100 {
            if self.round().await == 0 {
                return rounds;
            }
        }
        panic!("it does not come to rest");
    }

    fn sizes(&self) -> Vec<u64> {
        self.replicas.iter().map(Replica::size).collect()
    }
}

#[tokio::test]
async fn an_idle_cluster_comes_to_rest() {
    for count in [1, 2, 3, 5] {
        let mut world = World::start(count);
        assert!(world.rests_after().await <= 2, "{count}");
        for _ in 0..50 {
            assert_eq!(world.round().await, 0, "{count}");
        }
    }
}

#[tokio::test]
async fn an_event_of_one_replica_is_recorded_once_by_each_of_the_others() {
    for count in [2, 3, 5] {
        for busy in 0..count {
            let mut world = World::start(count);
            world.rests_after().await;
            let before = world.sizes();
            world.replicas[busy].issues();
            assert!(world.rests_after().await <= 2, "{count}");
            let grown = world.sizes().into_iter().zip(before);
            let grown: Vec<_> = grown.map(|(now, then)| now - then).collect();
            assert_eq!(grown, vec![1; count], "replica {busy} of {count}");
        }
    }
}

#[tokio::test]
async fn a_checkpoint_is_shown_only_once_it_is_written() {
    let mut world = World::start(1);
    assert_eq!(world.sizes(), [0]);
    world.round().await;
    assert_eq!(world.sizes(), [1]);
    world.replicas[0].issues();
    assert_eq!(world.sizes(), [1]);
    world.round().await;
    assert_eq!(world.sizes(), [2]);
}
