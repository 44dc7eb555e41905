//! The transcript: a log like the issuance log, whose checkpoints the ceremony's own audit key signs.
//!
//! Every run of `execute` appends a log of its own. Its second line has the size and the SHA-256 of everything before it, so
//! that the signed checkpoint of the last run covers the lines of runs that were killed, too.

use std::{
    fs::{self, File},
    io::{self, Write},
    time::Duration,
};

use pkcs11_issuer::{
    audit::{
        IssuanceLog, LogRun, Program,
        note::{NotePublicKey, VerifierKey, signed_note},
    },
    issuance::PublicKey,
};

use crate::{
    hash::Hash,
    output::Folder,
    plan::Plan,
    token::{Halves, Token},
};

/// Name of the transcript in the ceremony's folder.
pub(crate) const FILE: &str = "transcript.jsonl";

/// The transcript of one run.
pub(crate) struct Transcript {
    log: IssuanceLog,
    runtime: tokio::runtime::Runtime,
}

/// A file whose lines are on the disk when they count as written.
struct Synced(File);

impl Write for Synced {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Transcript {
    /// Opens the transcript, and logs what it already has.
    pub(crate) fn open(folder: &Folder, plan: &Plan) -> io::Result<Self> {
        fs::create_dir_all(&folder.0)?;
        let mut before = folder.read(FILE)?.unwrap_or_default();
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(folder.path(FILE))?;
        if before.last().is_some_and(|last| *last != b'\n') {
            file.write_all(b"\n")?;
            before.push(b'\n');
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let program = Program {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("PKCS11_ISSUER_COMMIT").unwrap_or("unknown"),
        };
        let run = LogRun::new(&plan.ceremony, "ceremony", program)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the transcript says when things happened; nothing that is signed depends on it"
        )]
        let clock = jiff::Timestamp::now;
        let log = IssuanceLog::to(FILE, Synced(file), run, clock)?;
        let transcript = Self { log, runtime };
        transcript.say(
            "ceremony-continued",
            &[
                ("planSha256", &plan.hash.hex()),
                ("beforeOctets", &before.len().to_string()),
                ("beforeSha256", &Hash::of(&before).hex()),
            ],
        )?;
        Ok(transcript)
    }

    /// Logs a step, and waits until it is on the disk.
    pub(crate) fn say(
        &self,
        event: &'static str,
        facts: &[(&'static str, &str)],
    ) -> io::Result<()> {
        let position = self.log.ceremony(event, facts);
        self.runtime
            .block_on(self.log.accepted(position))
            .map_err(io::Error::other)
    }

    /// Signs a checkpoint over all lines of this run.
    pub(crate) fn sign(
        &self,
        token: &Token,
        key: &Halves,
        plan: &Plan,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let verifier = verifier_key(plan, &key.facts.public)?;
        if let Some(head) = self.log.unchecked() {
            let text = head.text();
            let signature = token.sign_text(key, text.as_bytes())?;
            if !verifier.verify(&text, &signature) {
                return Err("the token's signature of the checkpoint is wrong".into());
            }
            let note = signed_note(&text, &verifier, &signature);
            let position = self.log.write_checkpoint(&head, &note);
            self.runtime.block_on(self.log.accepted(position))?;
        }
        Ok(())
    }

    /// Waits until every line is written.
    pub(crate) fn close(self) -> io::Result<()> {
        let closed = self.log.close(Duration::from_secs(10));
        self.runtime.block_on(closed).map_err(io::Error::other)
    }
}

/// Returns the key that verifies the transcript.
pub(crate) fn verifier_key(
    plan: &Plan,
    key: &PublicKey,
) -> Result<VerifierKey, Box<dyn std::error::Error>> {
    let key = NotePublicKey::of_spki(key.spki_der());
    let key = key.ok_or("the audit key is neither Ed25519 nor P-256")?;
    Ok(VerifierKey::new(&plan.ceremony, key)?)
}
