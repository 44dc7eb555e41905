//! Shows the plan that is next, and lets a person approve it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    approvals::{NAMESPACE, Stage},
    ceremony::{Ceremony, Failure},
    hash::Hash,
};

impl Ceremony {
    /// Returns the stage that is next, with the text and the hash of its plan.
    fn next(&self) -> Result<(Stage, String, Hash), Failure> {
        Ok(match self.plan_b()? {
            None => (Stage::A, self.plan.text.clone(), self.plan.hash),
            Some((_, text)) => {
                let hash = Hash::of(text.as_bytes());
                (Stage::B, text, hash)
            }
        })
    }

    /// Prints the plan that is next.
    pub(crate) fn show(&self) -> Result<(), Failure> {
        let (stage, text, hash) = self.next()?;
        println!("{text}");
        self.show_hashes(stage, &hash)
    }

    fn show_hashes(&self, stage: Stage, hash: &Hash) -> Result<(), Failure> {
        println!(
            "plan {}     SHA-256 {}\n{}approvers  SHA-256 {}\n{}",
            stage.letter().to_uppercase(),
            hash.hex(),
            hash.words(),
            self.approvers.hash.hex(),
            self.approvers.hash.words()
        );
        let approved = self.approved(stage, hash)?;
        println!(
            "approved by {}; {} must approve",
            approved.names(),
            self.approvers.threshold
        );
        Ok(())
    }

    /// Has ssh-keygen sign the plan that is next, and stores the approval.
    pub(crate) fn approve(&self, key: &Path) -> Result<(), Failure> {
        let (stage, _, hash) = self.next()?;
        let message = self.message(stage, &hash);
        let mut child = Command::new("ssh-keygen")
            .args(["-Y", "sign", "-n", NAMESPACE, "-f"])
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("failed to run ssh-keygen: {error}"))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(message.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err("ssh-keygen made no signature; it has said why".into());
        }
        let signature = String::from_utf8(output.stdout)?;
        let person = self
            .approvers
            .signer("of this key", &signature, &message)?
            .to_owned();
        let file = format!("approval-{}-{person}.sig", stage.letter());
        // ECDSA signatures and those of security keys differ each time, and one approval suffices.
        if self.folder.read(&file)?.is_none() {
            self.folder.create(&file, signature.as_bytes())?;
        }
        println!("{person} approves");
        self.show_hashes(stage, &hash)
    }
}
