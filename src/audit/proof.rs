//! Proofs that a line is in a log (c2sp.org/tlog-proof): the path from its hash to the root in a signed checkpoint. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    checkpoint::Checkpoint,
    tree::{Frontier, TreeHash},
};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A proof as it stands in a file. It proves nothing before it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Number of the line in its run.
    pub index: u64,
    /// The line itself, so that the file suffices for a verification.
    pub line: Vec<u8>,
    /// Hashes of the subtrees beside the path from the leaf to the root.
    path: Vec<TreeHash>,
    /// The checkpoint as it stands in the log: a signed note.
    pub checkpoint: String,
}

/// The hashes of a run's leaves, for proofs.
#[derive(Debug, Default)]
pub struct LeafHashes(Vec<TreeHash>);

/// Error of a text that is no proof, or of a proof that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProofError(&'static str);

impl LeafHashes {
    /// Adds the next leaf.
    pub fn push(&mut self, leaf: super::leaves::ConfirmedLeaf<'_>) {
        self.0.push(leaf.hash);
    }

    /// Returns the proof that the line with this number is under a checkpoint over all leaves.
    #[must_use]
    pub fn prove(&self, index: u64, line: Vec<u8>, checkpoint: String) -> Option<InclusionProof> {
        let at = usize::try_from(index).ok()?;
        (at < self.0.len()).then(|| InclusionProof {
            index,
            line,
            path: path(&self.0, at),
            checkpoint,
        })
    }
}

impl InclusionProof {
    /// Returns the text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let Self {
            index,
            line,
            path,
            checkpoint,
        } = self;
        let line = STANDARD.encode(line);
        let path: String = path.iter().map(|hash| format!("{hash}\n")).collect();
        format!("{FIRST_LINE}\nextra {line}\nindex {index}\n{path}\n{checkpoint}")
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// The text is not a proof, or a part of the proof is missing or unreadable.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let text = text.strip_prefix(FIRST_LINE);
        let text = text.and_then(|text| text.strip_prefix('\n'));
        let text = text.ok_or(ProofError(
            "it does not begin as a c2sp.org/tlog-proof@v1 does",
        ))?;
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(ProofError("it has no checkpoint"))?;
        let mut lines = head.split('\n');
        let line = lines
            .next()
            .and_then(|line| STANDARD.decode(line.strip_prefix("extra ")?).ok())
            .ok_or(ProofError(
                "its line \"extra\", with the log's line, is missing or unreadable",
            ))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index
            .and_then(|digits| {
                let index: u64 = digits.parse().ok()?;
                // A number has only one spelling, so that a proof has only one text.
                (index.to_string() == digits).then_some(index)
            })
            .ok_or(ProofError("its line \"index\" is missing or unreadable"))?;
        let path: Option<Vec<_>> = lines.map(TreeHash::parse).collect();
        Ok(Self {
            index,
            line,
            path: path.ok_or(ProofError("one of its hashes is unreadable"))?,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Verifies that the line is in the tree of the checkpoint. Does not verify the checkpoint's signatures.
    ///
    /// # Errors
    /// The line is not in the tree, or the checkpoint is unreadable.
    pub fn verify(&self) -> Result<(), ProofError> {
        let checkpoint = Checkpoint::of_note(&self.checkpoint)
            .ok_or(ProofError("its checkpoint is unreadable"))?;
        let leaf = TreeHash::of_leaf(&self.line);
        if root(self.index, checkpoint.size, leaf, &self.path) != Some(checkpoint.root) {
            return Err(ProofError(
                "the line is not under the root of the checkpoint",
            ));
        }
        Ok(())
    }
}

/// Returns the path from a leaf to the root (RFC 9162, section 2.1.3.1).
fn path(leaves: &[TreeHash], index: usize) -> Vec<TreeHash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, beside) = match index.checked_sub(left.len()) {
        None => (path(left, index), right),
        Some(index) => (path(right, index), left),
    };
    path.push(Frontier::of(beside).root());
    path
}

/// Returns the root that a path leads to (RFC 9162, section 2.1.3.2).
fn root(index: u64, size: u64, leaf: TreeHash, path: &[TreeHash]) -> Option<TreeHash> {
    let (mut node, mut last) = (index, size.checked_sub(1)?);
    if node > last {
        return None;
    }
    let mut root = leaf;
    for beside in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            root = TreeHash::of_node(beside, &root);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            root = TreeHash::of_node(&root, beside);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(size: u32) -> (LeafHashes, String) {
        let leaves = (0..size).map(|number| TreeHash::of_leaf(&number.to_be_bytes()));
        let leaves: Vec<_> = leaves.collect();
        let checkpoint = Checkpoint {
            origin: "prod/a/00ff".to_owned(),
            size: size.into(),
            root: Frontier::of(&leaves).root(),
        };
        (LeafHashes(leaves), checkpoint.text())
    }

    #[test]
    fn every_leaf_of_every_small_tree_has_a_proof_and_no_other_leaf_has_it() {
        for size in 1..40_u32 {
            let (leaves, checkpoint) = tree(size);
            for index in 0..size {
                let line = index.to_be_bytes().to_vec();
                let proof = leaves
                    .prove(index.into(), line, checkpoint.clone())
                    .unwrap();
                assert_eq!(proof.verify(), Ok(()), "{index} of {size}");
                assert_eq!(InclusionProof::parse(&proof.text()).as_ref(), Ok(&proof));
                for other in 0..size {
                    let other = InclusionProof {
                        index: other.into(),
                        ..proof.clone()
                    };
                    assert_eq!(other.verify().is_ok(), other == proof, "{index} of {size}");
                }
                let mut longer = proof.clone();
                longer.path.push(TreeHash::of_leaf(b""));
                let mut changed = proof.clone();
                changed.line.push(0);
                for wrong in [longer, changed] {
                    wrong.verify().unwrap_err();
                }
            }
            assert_eq!(leaves.prove(size.into(), Vec::new(), checkpoint), None);
        }
    }

    #[test]
    fn a_proof_has_one_spelling() {
        let (leaves, checkpoint) = tree(3);
        let text = leaves
            .prove(2, vec![0, 0, 0, 2], checkpoint)
            .unwrap()
            .text();
        assert!(
            text.starts_with("c2sp.org/tlog-proof@v1\nextra AAAAAg==\nindex 2\n"),
            "{text}"
        );
        for (from, to) in [
            ("@v1", "@v2"),
            ("extra AAAAAg==\n", ""),
            ("extra AAAAAg==", "extra AAAAAg"),
            ("index 2", "index 02"),
            ("index 2", "index +2"),
            ("index 2", "index -1"),
            ("=\n\n", "\n\n"),
            ("=\n\n", "=\n"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text, "{from:?}");
            InclusionProof::parse(&wrong).unwrap_err();
        }
    }
}
