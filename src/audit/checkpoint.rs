//! Checkpoints: the size and the root of a log at one moment, in the form of C2SP's tlog-checkpoint.

use super::tree::TreeHash;

/// The first three lines of a checkpoint. Extension lines are not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Unique name of the log.
    pub(super) origin: String,
    /// Number of leaves.
    pub(super) size: u64,
    /// Root of the tree over the leaves.
    pub(super) root: TreeHash,
}

impl Checkpoint {
    /// Returns the text of the checkpoint: origin, size and root, each on a line.
    pub(super) fn text(&self) -> String {
        let Self { origin, size, root } = self;
        format!("{origin}\n{size}\n{root}\n")
    }

    /// Parses the text of a checkpoint without signatures; `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let parsed = Self {
            origin: origin.to_owned(),
            size: size.parse().ok()?,
            root: TreeHash::parse(root)?,
        };
        // Signatures of checkpoints cover the text, so a number must have only one spelling.
        (!origin.is_empty() && parsed.text() == text).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_has_one_spelling() {
        let root = TreeHash::of_leaf(b"");
        let text = format!("prod/replica-0/00ff\n7\n{root}\n");
        let parsed = Checkpoint::parse(&text).unwrap();
        assert_eq!(parsed.size, 7);
        assert_eq!(parsed.text(), text);
        for other in [
            format!("\n7\n{root}\n"),
            format!("prod\n07\n{root}\n"),
            format!("prod\n+7\n{root}\n"),
            format!("prod\n7\n{root}"),
            format!("prod\n7\n{root}\nextension\n"),
            "prod\n7\nAAAA\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(Checkpoint::parse(&other), None, "{other:?}");
        }
    }
}
