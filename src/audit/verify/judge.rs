//! The judgement of one run: its lines between its checkpoints.

use std::ops::RangeInclusive;

use super::{LogFault, LogGap, Position, boundary::Boundary};
use crate::audit::{
    note::VerifierKey,
    tree::{Frontier, TreeHash},
};

#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) seq: u64,
    pub(super) hash: TreeHash,
    pub(super) place: Position,
}

/// A signed checkpoint that the lines of a run agree with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenBy {
    /// The key that signed it.
    pub key: VerifierKey,
    /// Number of lines under it.
    pub size: u64,
    /// Where it is.
    pub place: Position,
}

/// Numbers of lines with and without proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Lines under a checkpoint that they agree with and that one of the keys signed.
    pub proven: u64,
    /// Lines that agree with a checkpoint that none of the keys signed.
    pub agreeing: u64,
    /// Lines that no checkpoint covers, or whose checkpoint does not confirm them.
    pub unproven: u64,
}

/// What the checkpoints say of the lines.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) lines: Verified,
    /// Sequence numbers of the proven lines.
    pub(super) proven: Vec<RangeInclusive<u64>>,
    pub(super) proofs: Vec<ProvenBy>,
}

/// Returns the checkpoints that judge the lines of a run, by their sizes, one for each size. Checkpoints of other logs and
/// contradictions are faults.
///
/// Below the last signed checkpoint only signed ones count: whoever changes a line can also make checkpoints without a
/// signature, and a fault would then be found at the wrong place.
pub(super) fn boundaries(
    run: &str,
    started: Option<&str>,
    found: Vec<Boundary>,
    faults: &mut Vec<LogFault>,
) -> Vec<Boundary> {
    let wrong = |place: &Position, why| LogFault::Checkpoint {
        run: run.to_owned(),
        place: place.clone(),
        why,
    };
    // A signature makes an origin more credible than the line *started*, which somebody may have changed.
    let named = found
        .iter()
        .find(|boundary| boundary.key.is_some())
        .or_else(|| found.first())
        .map(|boundary| (boundary.origin.clone(), boundary.place.clone()));
    if let (Some(started), Some((origin, place))) = (started, &named)
        && started != origin
    {
        faults.push(wrong(
            place,
            "its origin is not that of the line \"started\"",
        ));
    }
    let origin = named.map(|(origin, _)| origin).unwrap_or_default();
    let mut fitting = Vec::with_capacity(found.len());
    for boundary in found {
        match boundary.fits(run, &origin) {
            Ok(()) => fitting.push(boundary),
            Err(why) => faults.push(wrong(&boundary.place, why)),
        }
    }
    let signed = fitting.iter().filter(|boundary| boundary.key.is_some());
    let signed_to = signed.map(|boundary| boundary.size).max();
    fitting.retain(|boundary| boundary.key.is_some() || Some(boundary.size) > signed_to);
    // A boundary that has a frontier comes before one that has none.
    fitting.sort_by_key(|boundary| (boundary.size, boundary.frontier.is_none()));
    let mut boundaries: Vec<Boundary> = Vec::with_capacity(fitting.len());
    for boundary in fitting {
        match boundaries.last() {
            Some(first) if first.size == boundary.size => {
                if first.root != boundary.root {
                    faults.push(LogFault::Contradiction {
                        run: run.to_owned(),
                        size: boundary.size,
                        first: first.place.clone(),
                        second: boundary.place,
                    });
                }
            }
            Some(_) | None => boundaries.push(boundary),
        }
    }
    boundaries
}

/// Judges the lines by the boundaries. Both are in order and unique.
pub(super) fn judge(
    run: &str,
    leaves: &[Leaf],
    boundaries: &[Boundary],
    faults: &mut Vec<LogFault>,
    gaps: &mut Vec<LogGap>,
) -> Judgement {
    // Without the beginning of a log, its lines are proven from the first checkpoint on.
    let first = leaves.first().map_or(0, |leaf| leaf.seq);
    missing(run, leaves, boundaries.last(), faults, gaps);
    let mut judgement = Judgement::default();
    let mut known = (first == 0).then(Frontier::default);
    let mut rest = leaves;
    for boundary in boundaries.iter().filter(|boundary| boundary.size >= first) {
        let (under, after) = rest.split_at(rest.partition_point(|leaf| leaf.seq < boundary.size));
        rest = after;
        known = step(run, under, boundary, known, &mut judgement, faults);
    }
    judgement.lines.unproven += count(rest);
    judgement
}

/// Judges the lines between the last boundary and this one. `known` is the frontier at the last one, if it is known. Returns
/// the frontier at this one.
fn step(
    run: &str,
    under: &[Leaf],
    boundary: &Boundary,
    known: Option<Frontier>,
    judgement: &mut Judgement,
    faults: &mut Vec<LogFault>,
) -> Option<Frontier> {
    let lines = &mut judgement.lines;
    // `None` if a line between the boundaries is missing.
    let whole = known.filter(|known| known.size() + count(under) == boundary.size);
    let reached = whole.map(|mut frontier| {
        under.iter().for_each(|leaf| frontier.push(leaf.hash));
        frontier
    });
    let changed = reached
        .as_ref()
        .is_some_and(|frontier| frontier.root() != boundary.root);
    match (&reached, &boundary.key) {
        (Some(_), Some(key)) if !changed => {
            lines.proven += count(under);
            judgement.proven.extend(range(under));
            judgement.proofs.retain(|proof| proof.key != *key);
            judgement.proofs.push(ProvenBy {
                key: key.clone(),
                size: boundary.size,
                place: boundary.place.clone(),
            });
        }
        (Some(_), None) if !changed => lines.agreeing += count(under),
        (Some(_) | None, _) => lines.unproven += count(under),
    }
    if let (true, Some(first), Some(last)) = (changed, under.first(), under.last()) {
        faults.push(LogFault::Changed {
            run: run.to_owned(),
            first: first.seq,
            last: last.seq,
            from: first.place.clone(),
            checkpoint: boundary.place.clone(),
        });
    }
    let agreed = reached.filter(|_| !changed);
    boundary.frontier.clone().or(agreed)
}

/// Reports the numbers that are missing up to the last boundary: at the beginning and between two files as gaps, else as faults.
fn missing(
    run: &str,
    leaves: &[Leaf],
    last: Option<&Boundary>,
    faults: &mut Vec<LogFault>,
    gaps: &mut Vec<LogGap>,
) {
    let (mut expected, mut after) = (0, None::<&Position>);
    let present = leaves.iter().map(|leaf| (leaf.seq, &leaf.place, false));
    let end = last.map(|end| (end.size, &end.place, end.of_others));
    for (seq, place, of_others) in present.chain(end) {
        if expected < seq {
            let (run, first, last) = (run.to_owned(), expected, seq - 1);
            let (before, told) = (place.clone(), place.clone());
            if of_others {
                faults.push(LogFault::Cut {
                    run,
                    first,
                    last,
                    told,
                });
            } else if after.is_some_and(|after| after.file == place.file) {
                faults.push(LogFault::Missing {
                    run,
                    first,
                    last,
                    before,
                });
            } else {
                gaps.push(LogGap {
                    run,
                    first,
                    last,
                    after: after.cloned(),
                    before,
                });
            }
        }
        (expected, after) = (seq.saturating_add(1), Some(place));
    }
}

/// Returns the numbers of lines that follow one another.
fn range(leaves: &[Leaf]) -> Option<RangeInclusive<u64>> {
    Some(leaves.first()?.seq..=leaves.last()?.seq)
}

fn count(leaves: &[Leaf]) -> u64 {
    u64::try_from(leaves.len()).unwrap_or(u64::MAX)
}
