//! Who may approve, who has, and whether they are enough.

mod sshsig;

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Deserialize;

pub(crate) use sshsig::{NAMESPACE, SshError, SshKey};

use crate::hash::Hash;

/// The people who may approve, and how many of them must.
#[derive(Debug)]
pub(crate) struct Approvers {
    pub(crate) threshold: usize,
    people: Vec<(String, SshKey)>,
    /// SHA-256 of the file.
    pub(crate) hash: Hash,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApprovers {
    threshold: usize,
    approvers: Vec<RawApprover>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApprover {
    name: String,
    key: String,
}

/// Which of the two plans is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Parameters, before any key exists.
    A,
    /// The exact bytes that will be signed.
    B,
}

/// Why approvals do not suffice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApprovalError {
    #[error("approvers file: {0}")]
    File(String),
    #[error("approver {0:?}: {1}")]
    Key(String, SshError),
    #[error("approvers {0:?} and {1:?} have the same key; one key counts once")]
    SameKey(String, String),
    #[error("approvers: the names must be distinct, and consist of a-z, 0-9 and '-'")]
    Names,
    #[error("approvers: the threshold must be from 1 to the number of approvers, which is {0}")]
    Threshold(usize),
    #[error("approval {0}: {1}")]
    Signature(String, SshError),
    #[error("approval {0}: its key {1} is not in the approvers file")]
    Stranger(String, String),
    #[error("failed to read {0}")]
    Read(String, #[source] io::Error),
}

impl Stage {
    pub(crate) const fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// Returns the text that an approver signs: it binds the plan and the list of approvers.
pub(crate) fn message(stage: Stage, ceremony: &str, plan: &Hash, approvers: &Hash) -> String {
    format!(
        "pkcs11-ceremony plan {}\nceremony: {ceremony}\nplan-sha256: {}\napprovers-sha256: {}\n",
        stage.letter().to_uppercase(),
        plan.hex(),
        approvers.hex()
    )
}

impl Approvers {
    /// Reads the approvers file.
    pub(crate) fn parse(octets: &[u8]) -> Result<Self, ApprovalError> {
        let text =
            std::str::from_utf8(octets).map_err(|error| ApprovalError::File(error.to_string()))?;
        let raw: RawApprovers = serde_saphyr::from_str(text).map_err(|error| {
            let said = error.without_snippet().to_string();
            ApprovalError::File(said.lines().next().unwrap_or_default().to_owned())
        })?;
        let mut people: Vec<(String, SshKey)> = Vec::new();
        for RawApprover { name, key } in raw.approvers {
            let plain =
                |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
            let taken = people.iter().any(|(other, _)| *other == name);
            if taken || name.is_empty() || !name.bytes().all(plain) {
                return Err(ApprovalError::Names);
            }
            let key =
                SshKey::parse(&key).map_err(|error| ApprovalError::Key(name.clone(), error))?;
            if let Some((other, _)) = people.iter().find(|(_, known)| *known == key) {
                return Err(ApprovalError::SameKey(other.clone(), name));
            }
            people.push((name, key));
        }
        if !(1..=people.len()).contains(&raw.threshold) {
            return Err(ApprovalError::Threshold(people.len()));
        }
        Ok(Self {
            threshold: raw.threshold,
            people,
            hash: Hash::of(octets),
        })
    }

    /// Verifies one approval, and returns who gave it.
    pub(crate) fn signer(
        &self,
        file: &str,
        armoured: &str,
        message: &str,
    ) -> Result<&str, ApprovalError> {
        let key = sshsig::verify(armoured, message.as_bytes())
            .map_err(|error| ApprovalError::Signature(file.to_owned(), error))?;
        let person = self.people.iter().find(|(_, known)| *known == key);
        person
            .map(|(name, _)| name.as_str())
            .ok_or_else(|| ApprovalError::Stranger(file.to_owned(), key.fingerprint()))
    }

    /// Reads the approvals of one stage in a folder: who approved, with the SHA-256 of the signature's file. One key counts
    /// once, whatever the number of its files.
    pub(crate) fn given(
        &self,
        folder: &Path,
        stage: Stage,
        message: &str,
    ) -> Result<BTreeMap<String, Hash>, ApprovalError> {
        let mut given = BTreeMap::new();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(given),
            other => other,
        };
        let read = |error| ApprovalError::Read(folder.display().to_string(), error);
        let begin = format!("approval-{}-", stage.letter());
        for entry in entries.map_err(read)? {
            let name = entry
                .map_err(read)?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if !name.starts_with(&begin) || !name.ends_with(".sig") {
                continue;
            }
            let text = fs::read_to_string(folder.join(&name)).map_err(read)?;
            let person = self.signer(&name, &text, message)?;
            given.insert(person.to_owned(), Hash::of(text.as_bytes()));
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
    const BOB: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICACAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

    fn parsed(threshold: usize, people: &[(&str, &str)]) -> Result<Approvers, ApprovalError> {
        let mut text = format!("threshold: {threshold}\napprovers:\n");
        for (name, key) in people {
            text += &format!("  - {{name: {name}, key: {key}}}\n");
        }
        Approvers::parse(text.as_bytes())
    }

    #[test]
    fn one_key_counts_once_under_whatever_names() {
        assert_eq!(
            parsed(2, &[("ada", ADA), ("bob", BOB)]).unwrap().threshold,
            2
        );
        let error = parsed(2, &[("ada", ADA), ("bob", ADA)]).unwrap_err();
        assert!(matches!(error, ApprovalError::SameKey(..)), "{error}");
    }

    #[test]
    fn the_threshold_lies_within_the_number_of_approvers() {
        for threshold in [0, 3] {
            let error = parsed(threshold, &[("ada", ADA), ("bob", BOB)]).unwrap_err();
            assert!(matches!(error, ApprovalError::Threshold(2)), "{error}");
        }
    }

    #[test]
    fn an_approval_binds_stage_ceremony_plan_and_approvers() {
        let (one, other) = (Hash::of(b"1"), Hash::of(b"2"));
        let all = [
            message(Stage::A, "c", &one, &one),
            message(Stage::B, "c", &one, &one),
            message(Stage::A, "d", &one, &one),
            message(Stage::A, "c", &other, &one),
            message(Stage::A, "c", &one, &other),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
