//! A ceremony: a plan, the people who approve it, and the folder with what it has made so far.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use pkcs11_issuer::issuance::PublicKey;

use crate::{
    approvals::{self, Approvers, Stage},
    hash::Hash,
    output::Folder,
    plan::Plan,
    prepared::{self, SigningStep, first_block},
};

/// Any error of a command.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Name of plan B in the folder.
pub(crate) const PLAN_B: &str = "plan-b.txt";

/// Returns the name of the file in the folder with the vendor's attestation of a key.
pub(crate) fn attestation(step: &str) -> String {
    format!("{step}.attestation")
}

/// A ceremony.
pub(crate) struct Ceremony {
    pub(crate) plan: Plan,
    pub(crate) approvers: Approvers,
    pub(crate) folder: Folder,
}

/// Who approved a stage.
pub(crate) struct Approved {
    pub(crate) people: BTreeMap<String, Hash>,
    needed: usize,
}

/// Reads a file, and names it if that fails.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| format!("failed to read {}: {error}", path.display()).into())
}

impl Ceremony {
    /// Reads plan and approvers, and prepares what can be prepared already, so that a plan with a fault is refused before
    /// anybody approves it.
    pub(crate) fn read(plan: &Path, approvers: &Path, out: PathBuf) -> Result<Self, Failure> {
        let named = |path: &Path, error: &dyn std::fmt::Display| -> Failure {
            format!("{}: {error}", path.display()).into()
        };
        let ceremony = Self {
            plan: Plan::parse(&read(plan)?, &|file| fs::read(plan.with_file_name(file)))
                .map_err(|error| named(plan, &error))?,
            approvers: Approvers::parse(&read(approvers)?)
                .map_err(|error| named(approvers, &error))?,
            folder: Folder(out),
        };
        prepared::prepare(&ceremony.plan, &ceremony.keys()?)?;
        Ok(ceremony)
    }

    /// Returns the public keys that exist, by step; those of CAs that exist among them.
    pub(crate) fn keys(&self) -> Result<BTreeMap<String, PublicKey>, Failure> {
        let mut keys = BTreeMap::new();
        for (name, _) in self.plan.keys() {
            let file = format!("{name}.pub.pem");
            let Some(text) = self.folder.read(&file)? else {
                continue;
            };
            let der = first_block(&text).map_err(|error| format!("{file}: {error}"))?;
            keys.insert(name.to_owned(), PublicKey::parse(&der)?);
        }
        for (name, ca) in self.plan.cas() {
            let public = ca.issuer.chain().issuing().public_key();
            keys.insert(name.to_owned(), public.key().clone());
        }
        Ok(keys)
    }

    /// Returns the SHA-256 of the attestations that the plan asks for, by step; `None`: the file is missing.
    pub(crate) fn attestations(&self) -> Result<BTreeMap<&str, Option<Hash>>, Failure> {
        let wanted = self.plan.keys().filter(|(_, key)| key.attestation);
        wanted
            .map(|(name, _)| {
                let octets = self.folder.read(&attestation(name))?;
                Ok((name, octets.map(|octets| Hash::of(&octets))))
            })
            .collect()
    }

    /// Returns plan B: its steps and its text; `None` if keys or attestations are missing.
    pub(crate) fn plan_b(&self) -> Result<Option<(Vec<SigningStep<'_>>, String)>, Failure> {
        let keys = self.keys()?;
        let mut attestations = BTreeMap::new();
        for (name, hash) in self.attestations()? {
            let Some(hash) = hash else { return Ok(None) };
            attestations.insert(name.to_owned(), hash);
        }
        if self.plan.keys().any(|(name, _)| !keys.contains_key(name)) {
            return Ok(None);
        }
        let Some(steps) = prepared::prepare(&self.plan, &keys)? else {
            return Ok(None);
        };
        let text = prepared::text(&self.plan, &keys, &attestations, &steps)?;
        Ok(Some((steps, text)))
    }

    /// Returns the text that approves a stage with this hash.
    pub(crate) fn message(&self, stage: Stage, hash: &Hash) -> String {
        approvals::message(stage, &self.plan.ceremony, hash, &self.approvers.hash)
    }

    /// Returns who approved a stage.
    pub(crate) fn approved(&self, stage: Stage, hash: &Hash) -> Result<Approved, Failure> {
        let message = self.message(stage, hash);
        let people = self.approvers.given(&self.folder.0, stage, &message)?;
        Ok(Approved {
            people,
            needed: self.approvers.threshold,
        })
    }
}

impl Approved {
    /// Returns whether enough people approved.
    pub(crate) fn suffices(&self) -> bool {
        self.people.len() >= self.needed
    }

    /// Returns the names, for a line.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.people.keys().map(String::as_str).collect();
        if names.is_empty() {
            "nobody".to_owned()
        } else {
            names.join(", ")
        }
    }

    /// Fails if too few people approved.
    pub(crate) fn demand(&self, stage: Stage) -> Result<(), Failure> {
        if self.suffices() {
            return Ok(());
        }
        Err(format!(
            "plan {} is approved by {} of the {} people it needs ({}); see: pkcs11-ceremony approve --help",
            stage.letter().to_uppercase(),
            self.people.len(),
            self.needed,
            self.names()
        )
        .into())
    }
}
