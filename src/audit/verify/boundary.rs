//! Checkpoints as a verification uses them: boundaries in the sequence of a run's lines.

use super::Position;
use crate::audit::{
    checkpoint::Checkpoint,
    note::{NoteError, SignedNote, VerifierKey},
    tree::{Frontier, TreeHash},
};

/// A checkpoint that does not contradict itself.
#[derive(Clone, Debug)]
pub(super) struct Boundary {
    pub(super) origin: String,
    /// Number of lines before the boundary.
    pub(super) size: u64,
    /// Root of the tree over them.
    pub(super) root: TreeHash,
    /// Frontier from which the verification can go on without the lines before.
    pub(super) frontier: Option<Frontier>,
    /// The key that signed it; `None` if none of the verifier's keys did.
    pub(super) key: Option<VerifierKey>,
    pub(super) place: Position,
    /// Whether it was found in the log of another run.
    pub(super) of_others: bool,
}

impl Boundary {
    /// Reads a checkpoint line: its text or signed note, and its frontier.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of_line(
        text: &str,
        frontier: &[String],
        keys: &[VerifierKey],
        place: Position,
    ) -> Result<Self, &'static str> {
        let (text, key) = if text.contains("\n\n") {
            let note = SignedNote::parse(text).map_err(|_| "it is not a signed note")?;
            (note.text(), signer(&note, keys)?)
        } else {
            (text, None)
        };
        let checkpoint = Checkpoint::parse(text).ok_or("its text cannot be parsed")?;
        let subtrees: Option<Vec<_>> = frontier.iter().map(|hash| TreeHash::parse(hash)).collect();
        let frontier = subtrees
            .and_then(|subtrees| Frontier::from_parts(checkpoint.size, subtrees))
            .ok_or("its frontier does not fit its size")?;
        if frontier.root() != checkpoint.root {
            return Err("its frontier has another root");
        }
        Ok(Self {
            frontier: Some(frontier),
            of_others: false,
            ..Self::of(checkpoint, key, place)
        })
    }

    /// Reads a checkpoint that another run has recorded, and returns the name of its run. `None` if none of the keys signed it:
    /// anybody could have made it.
    pub(super) fn of_head(
        note: &str,
        keys: &[VerifierKey],
        place: Position,
    ) -> Option<(String, Self)> {
        let note = SignedNote::parse(note).ok()?;
        let key = signer(&note, keys).ok()??;
        let checkpoint = Checkpoint::parse(note.text())?;
        let run = checkpoint.run()?.to_owned();
        Some((run, Self::of(checkpoint, Some(key), place)))
    }

    fn of(checkpoint: Checkpoint, key: Option<VerifierKey>, place: Position) -> Self {
        let Checkpoint { origin, size, root } = checkpoint;
        Self {
            origin,
            size,
            root,
            frontier: None,
            key,
            place,
            of_others: true,
        }
    }

    /// Checks that this run, whose log is called `origin`, and the key can have made the checkpoint.
    ///
    /// # Errors
    /// What speaks against it.
    pub(super) fn fits(&self, run: &str, origin: &str) -> Result<(), &'static str> {
        let ends_with_run = self
            .origin
            .strip_suffix(run)
            .is_some_and(|rest| rest.ends_with('/'));
        if !ends_with_run || self.origin != origin {
            return Err("its origin is that of another log");
        }
        let is_of_cluster = |key: &VerifierKey| {
            let rest = self.origin.strip_prefix(key.name());
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        if !self.key.as_ref().is_none_or(is_of_cluster) {
            return Err("its key is that of another cluster");
        }
        Ok(())
    }
}

/// Returns the key that signed the note; `None` if none of them did.
fn signer(
    note: &SignedNote<'_>,
    keys: &[VerifierKey],
) -> Result<Option<VerifierKey>, &'static str> {
    match note.verify(keys) {
        Ok(signers) => Ok(signers.first().map(|key| (*key).clone())),
        Err(NoteError::BadSignature(_)) => Err("its signature does not verify"),
        Err(NoteError::Malformed) => Err("it is not a signed note"),
    }
}
