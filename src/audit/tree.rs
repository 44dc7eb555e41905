//! The Merkle tree over the lines of a log (RFC 9162, section 2.1), of which only the frontier is kept.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

/// SHA-256 of a leaf or of a subtree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TreeHash([u8; 32]);

/// The roots of the complete subtrees that cover all leaves, the largest first: one for each bit that is set in the number
/// of leaves. They suffice to add a leaf and to compute the root of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frontier {
    size: u64,
    subtrees: Vec<TreeHash>,
}

impl TreeHash {
    /// Returns the hash of a leaf.
    pub(super) fn of_leaf(leaf: &[u8]) -> Self {
        Self::of(&[&[0], leaf])
    }

    pub(super) fn of_node(left: &Self, right: &Self) -> Self {
        Self::of(&[&[1], &left.0, &right.0])
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        Self::from_digest(context.finish().as_ref())
    }

    /// Returns the hash for `octets`, which must be a SHA-256 digest: the algorithm fixes its length.
    fn from_digest(octets: &[u8]) -> Self {
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(octets) {
            *to = *from;
        }
        Self(hash)
    }

    /// Returns the 32 octets.
    pub(super) const fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses base64 of 32 octets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let octets = STANDARD.decode(text).ok()?;
        octets.try_into().ok().map(Self)
    }
}

/// Prints base64.
impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl Serialize for TreeHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Frontier {
    /// Returns the frontier of a tree with `size` leaves, or `None` if a tree of this size has another number of subtrees.
    pub(super) fn from_parts(size: u64, subtrees: Vec<TreeHash>) -> Option<Self> {
        (u32::try_from(subtrees.len()) == Ok(size.count_ones())).then_some(Self { size, subtrees })
    }

    /// Returns the frontier of a tree with these leaves.
    pub(super) fn of(leaves: &[TreeHash]) -> Self {
        let mut frontier = Self::default();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        frontier
    }

    /// Returns the number of leaves.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the roots of the complete subtrees, the largest first.
    pub(super) fn subtrees(&self) -> &[TreeHash] {
        &self.subtrees
    }

    /// Adds a leaf at the end.
    pub(super) fn push(&mut self, leaf: TreeHash) {
        let mut hash = leaf;
        // Each trailing 1 bit of the old size is a subtree as large as the new one on its right: join the two.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = TreeHash::of_node(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// Returns the root of the tree.
    pub(super) fn root(&self) -> TreeHash {
        let mut subtrees = self.subtrees.iter().rev();
        match subtrees.next() {
            None => TreeHash::from_digest(digest(&SHA256, &[]).as_ref()),
            Some(last) => subtrees.fold(*last, |right, left| TreeHash::of_node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 9162, section 2.1.1, word for word.
    fn defined(leaves: &[TreeHash]) -> TreeHash {
        match leaves {
            [] => TreeHash::from_digest(digest(&SHA256, &[]).as_ref()),
            [leaf] => *leaf,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(k);
                TreeHash::of_node(&defined(left), &defined(right))
            }
        }
    }

    #[test]
    fn the_frontier_has_the_root_that_the_standard_defines() {
        let mut frontier = Frontier::default();
        let mut leaves = Vec::new();
        assert_eq!(frontier.root(), defined(&leaves));
        for number in 0..130_u32 {
            let leaf = TreeHash::of_leaf(&number.to_be_bytes());
            leaves.push(leaf);
            frontier.push(leaf);
            assert_eq!(frontier.root(), defined(&leaves), "{number}");
            let parts = Frontier::from_parts(frontier.size(), frontier.subtrees().to_vec());
            assert_eq!(parts.as_ref(), Some(&frontier));
        }
    }

    #[test]
    fn a_frontier_with_another_number_of_subtrees_is_refused() {
        let hash = TreeHash::of_leaf(b"");
        for (size, count) in [(0, 1), (1, 0), (3, 1), (4, 2)] {
            assert_eq!(Frontier::from_parts(size, vec![hash; count]), None);
        }
    }

    #[test]
    fn the_hashes_are_those_of_the_test_vectors_of_certificate_transparency() {
        // The tree of one empty leaf.
        let mut frontier = Frontier::default();
        frontier.push(TreeHash::of_leaf(b""));
        assert_eq!(
            frontier.root().to_string(),
            "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0="
        );
    }
}
