//! Checkpoints: the size and the root of a log at one moment, in the form of C2SP's tlog-checkpoint.

use aws_lc_rs::digest::{SHA256, digest};

use super::{RUN_OCTETS, tree::TreeHash};

/// Octets of the longest replica in an origin.
const LONGEST_REPLICA: usize = 253;

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

    /// Parses the checkpoint of a note, whether it is signed or not. The signatures are not verified.
    pub(super) fn of_note(note: &str) -> Option<Self> {
        match note.find("\n\n") {
            Some(end) => Self::parse(note.get(..=end)?),
            None => Self::parse(note),
        }
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

    /// Returns the name of the run, which ends the origin; `None` if the origin has another form.
    pub(super) fn run(&self) -> Option<&str> {
        let (_, run) = self.origin.rsplit_once('/')?;
        let is_hexadecimal = |octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f');
        (run.len() == 2 * RUN_OCTETS && run.bytes().all(is_hexadecimal)).then_some(run)
    }
}

/// Returns the identity of a replica for an origin, which is one short line without blanks: other octets are escaped with
/// `%`, and a long identity is replaced by its hash.
pub(super) fn replica_in_origin(identity: &str) -> String {
    let mut part = String::with_capacity(identity.len());
    for octet in identity.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                part.push(char::from(octet));
            }
            other => {
                part.push('%');
                part.push_str(&hex::encode_upper([other]));
            }
        }
    }
    if part.len() > LONGEST_REPLICA {
        return hex::encode(digest(&SHA256, identity.as_bytes()));
    }
    part
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

    #[test]
    fn the_run_ends_the_origin() {
        let root = TreeHash::of_leaf(b"");
        let run = |origin: &str| {
            let text = format!("{origin}\n7\n{root}\n");
            let parsed = Checkpoint::parse(&text).unwrap();
            parsed.run().map(str::to_owned)
        };
        assert_eq!(
            run("prod/a/00ff00ff00ff00ff").as_deref(),
            Some("00ff00ff00ff00ff")
        );
        for other in ["prod", "prod/a/00ff", "prod/a/00FF00FF00FF00FF", "prod/a/"] {
            assert_eq!(run(other), None, "{other}");
        }
    }

    #[test]
    fn every_identity_gives_another_short_part_of_an_origin_without_blanks() {
        let long = "ä".repeat(100);
        let identities = [
            "issuer-0",
            "Issuer_0.b",
            "",
            "a b",
            "a+b",
            "a/b",
            "a\nb",
            "a%20b",
            &long,
        ];
        let parts: std::collections::BTreeSet<_> = identities.map(replica_in_origin).into();
        assert_eq!(parts.len(), identities.len());
        assert!(parts.contains("Issuer_0.b") && parts.contains("a%20b"));
        for part in parts {
            let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._%".contains(&octet);
            assert!(part.len() <= 253 && part.bytes().all(plain), "{part}");
        }
    }
}
