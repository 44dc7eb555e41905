//! Generated logs of a cluster, and what a verification can know of them.

use std::collections::BTreeMap;

use super::super::{PROGRAM, refuse};
use crate::audit::{
    IssuanceLog, KnownHeads, LogRun, SignedHead,
    note::{VerifierKey, signed_note, tests::NoteSigner},
    tests::{Paper, clock, closed},
    verify::{LogFault, LogReport, RunReport, Verifier},
};

/// A generator of numbers that gives the same ones for the same seed (Knuth's MMIX).
pub(super) struct Chance(u64);

impl Chance {
    /// Returns a number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

pub(super) struct Replica {
    log: IssuanceLog,
    paper: Paper,
    known: KnownHeads,
    head: Option<SignedHead>,
    /// Largest head of each other run in this log.
    recorded: BTreeMap<String, u64>,
}

/// The logs of a cluster, and what a verification can know of them.
pub(super) struct Cluster {
    pub(super) key: VerifierKey,
    /// The lines of each log, without line breaks.
    pub(super) logs: Vec<Vec<String>>,
    pub(super) runs: Vec<String>,
    /// Size of the last signed checkpoint in each log.
    pub(super) signed: Vec<u64>,
    /// Size of the largest checkpoint of each log that another one has.
    pub(super) told: Vec<u64>,
}

impl Replica {
    pub(super) fn start(name: usize) -> Self {
        let paper = Paper::default();
        let run = LogRun::new("prod", &format!("replica-{name}"), PROGRAM).unwrap();
        Self {
            log: IssuanceLog::to("paper", paper.clone(), run, clock).unwrap(),
            paper,
            known: KnownHeads::default(),
            head: None,
            recorded: BTreeMap::new(),
        }
    }

    pub(super) fn round(&mut self, signer: &NoteSigner, seen: &[SignedHead]) {
        let key = signer.key("prod");
        let news = self.known.news(seen, &self.log.run(), &key);
        self.log.heads(&news);
        self.known.learn(&news, seen, &key);
        for head in news {
            self.recorded.insert(head.run().to_owned(), head.size());
        }
        if let Some(due) = self.log.unchecked() {
            let text = due.text();
            let note = signed_note(&text, &key, &signer.sign(&text));
            let signed = due.signed(&note).unwrap();
            self.log.write_checkpoint(&due, signed.note());
            self.head = Some(signed);
        }
    }
}

impl Cluster {
    /// Lets two to four replicas issue, write checkpoints and see each other by chance.
    pub(super) fn generate(chance: &mut Chance) -> Self {
        let signer = match chance.below(2) {
            0 => NoteSigner::ed25519(3),
            _ => NoteSigner::p256(),
        };
        let count = 2 + chance.below(3);
        let mut replicas: Vec<_> = (0..count).map(Replica::start).collect();
        for replica in &replicas {
            replica.log.started();
        }
        for step in 0..20 + chance.below(30) {
            let index = chance.below(count);
            if chance.below(3) > 0 {
                refuse(&replicas[index].log, &format!("web-{step}"));
            } else {
                let seen: Vec<_> = replicas.iter().filter_map(|one| one.head.clone()).collect();
                replicas[index].round(&signer, &seen);
            }
        }
        replicas.iter().for_each(|replica| closed(&replica.log));
        let runs: Vec<_> = replicas.iter().map(|replica| replica.log.run()).collect();
        let told = |run: &String| {
            let recorded = replicas.iter().filter_map(|other| other.recorded.get(run));
            recorded.copied().max().unwrap_or(0)
        };
        Self {
            key: signer.key("prod"),
            told: runs.iter().map(told).collect(),
            runs,
            signed: replicas
                .iter()
                .map(|replica| replica.head.as_ref().map_or(0, SignedHead::size))
                .collect(),
            logs: replicas
                .iter()
                .map(|replica| replica.paper.text().lines().map(str::to_owned).collect())
                .collect(),
        }
    }

    pub(super) fn file(&self, index: usize) -> Vec<u8> {
        let lines = self.logs[index].iter();
        lines
            .flat_map(|line| format!("{line}\n").into_bytes())
            .collect()
    }

    /// Verifies the logs, with that of one replica replaced.
    pub(super) fn verify(&self, replaced: usize, by: Option<&[u8]>) -> LogReport {
        let mut verifier = Verifier::trusting([self.key.clone()]);
        for index in 0..self.logs.len() {
            let own = self.file(index);
            let file = match (index == replaced, by) {
                (true, None) => continue,
                (true, Some(by)) => by,
                (false, _) => own.as_slice(),
            };
            let name = format!("{index}.log");
            verifier.read(&name, file).unwrap();
        }
        verifier.finish()
    }

    /// The lines that are leaves and lie under a signed checkpoint of their own log, as their places in the file.
    pub(super) fn sealed(&self, index: usize) -> Vec<usize> {
        let leaves = self.logs[index].iter().enumerate();
        let leaves = leaves.filter(|(_, line)| line.contains("\"seq\":"));
        let sealed = usize::try_from(self.signed[index]).unwrap();
        leaves.map(|(place, _)| place).take(sealed).collect()
    }

    pub(super) fn report<'a>(&self, report: &'a LogReport, index: usize) -> Option<&'a RunReport> {
        let mut runs = report.runs.iter();
        runs.find(|run| run.run == self.runs[index])
    }
}

pub(super) fn joined(lines: &[String]) -> Vec<u8> {
    let lines = lines.iter();
    lines
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect()
}

/// Returns whether the report has the beginning of a run, up to the line with this number, as a gap: the kubelet may have deleted
/// it, so only `verify --whole` fails.
pub(super) fn lacks_beginning(report: &LogReport, run: &str, seq: u64) -> bool {
    let mut gaps = report.gaps.iter();
    gaps.any(|gap| gap.run == run && (gap.first, gap.last, &gap.after) == (0, seq, &None))
}

/// Returns whether a fault includes the line of the run with this number.
pub(super) fn names(report: &LogReport, run: &str, seq: u64) -> bool {
    report.faults.iter().any(|fault| match fault {
        LogFault::Missing {
            run: of,
            first,
            last,
            ..
        }
        | LogFault::Changed {
            run: of,
            first,
            last,
            ..
        }
        | LogFault::Cut {
            run: of,
            first,
            last,
            ..
        } => of == run && (*first..=*last).contains(&seq),
        LogFault::Repeated {
            run: of, seq: at, ..
        }
        | LogFault::OutOfOrder {
            run: of, seq: at, ..
        } => of == run && *at == seq,
        LogFault::RunMissing { run: of, size, .. } => of == run && seq < *size,
        LogFault::Checkpoint { .. }
        | LogFault::Contradiction { .. }
        | LogFault::Stray { .. }
        | LogFault::Unreadable { .. } => false,
    })
}

/// Calls `attack` with many clusters, and one of their logs.
pub(super) fn attacked(
    seed: u64,
    clusters: usize,
    mut attack: impl FnMut(&Cluster, usize, &mut Chance),
) {
    let mut chance = Chance(seed);
    for _ in 0..clusters {
        let cluster = Cluster::generate(&mut chance);
        for index in 0..cluster.logs.len() {
            attack(&cluster, index, &mut chance);
        }
    }
}
