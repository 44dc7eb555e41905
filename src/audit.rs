//! The issuance log: one JSON line for each step of a certificate, written before anything can depend on the step.
//!
//! The lines of one run of a process are the leaves of a Merkle tree (RFC 9162, section 2.1). A checkpoint line now and then
//! gives the root of the tree, so that [`verify`] finds a line that was changed, removed, repeated or moved.
//!
//! It is not the audit log of the API server, which the code always calls by its full name.

mod checkpoint;
mod line;
mod tree;
pub mod verify;

use std::{
    fmt,
    io::{self, Write},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tracing::error;

pub use self::line::{Certificate, LoggedIssuer, LoggedRequest, RequestKind, Requester, Subject};
use self::{
    checkpoint::Checkpoint,
    line::{Event, LogLine, RequestEvent},
    tree::{Frontier, TreeHash},
};
use crate::telemetry::ErrorChain;

/// Writer of the issuance log.
///
/// *Guarantees:* a complete line is written and flushed before the call returns. Lines of concurrent callers do not mix. A
/// line that a failed write cut short is ended before the next line begins, and the next line says so.
/// *Caveat:* a call blocks the thread while the sink blocks.
pub struct IssuanceLog {
    name: &'static str,
    log: Mutex<Log>,
}

/// Name of one run of a process. Every line carries it, so that lines of several runs can be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRun {
    origin: String,
    id: String,
    program: Program,
}

/// The program that writes a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// Its version.
    pub version: &'static str,
    /// The commit that it was built from.
    pub commit: &'static str,
}

struct Log {
    writer: Box<dyn Write + Send>,
    run: LogRun,
    frontier: Frontier,
    /// Number of leaves under the last checkpoint.
    checked: u64,
    /// The leaf to write first, because the last write failed.
    torn: Option<Vec<u8>>,
}

/// Error of a line that the sink did not accept.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to write {event:?} to the issuance log: nothing is signed until {sink} accepts lines again"
)]
pub struct LogError {
    event: &'static str,
    sink: &'static str,
    source: io::Error,
}

#[derive(Serialize)]
struct CheckpointLine<'a> {
    time: Timestamp,
    run: &'a str,
    event: &'static str,
    checkpoint: String,
    frontier: Vec<String>,
}

impl LogRun {
    /// Returns the name of a new run: the cluster, the replica and 64 random bits.
    ///
    /// # Errors
    /// The operating system returned no random octets.
    pub fn new(cluster: &str, replica: &str, program: Program) -> io::Result<Self> {
        let mut octets = [0; 8];
        aws_lc_rs::rand::fill(&mut octets)
            .map_err(|_| io::Error::other("no random octets for the name of the log"))?;
        let id = hex::encode(octets);
        Ok(Self {
            origin: format!("{cluster}/{replica}/{id}"),
            id,
            program,
        })
    }
}

impl IssuanceLog {
    /// Returns the log on stdout, which the controller uses.
    #[must_use]
    pub fn stdout(run: LogRun) -> Self {
        Self::to("stdout", io::stdout(), run)
    }

    /// Returns the log on stderr, which `sign` uses because its stdout carries the certificate.
    #[must_use]
    pub fn stderr(run: LogRun) -> Self {
        Self::to("stderr", io::stderr(), run)
    }

    /// Returns the log on any other sink. Errors call the sink by this name.
    #[must_use]
    pub fn to(name: &'static str, writer: impl Write + Send + 'static, run: LogRun) -> Self {
        Self {
            name,
            log: Mutex::new(Log {
                writer: Box::new(writer),
                run,
                frontier: Frontier::default(),
                checked: 0,
                torn: None,
            }),
        }
    }

    /// Records that the process has started. If another line comes first, its method records the start before that line.
    ///
    /// # Errors
    /// The line is not on the sink.
    pub fn started(&self, now: Timestamp) -> Result<(), LogError> {
        let written = self.log.lock().begin(now);
        written.map_err(|source| self.failed("started", source))
    }

    /// Records that the process stops, with a last checkpoint. A log without lines stays empty.
    ///
    /// # Errors
    /// The lines are not on the sink.
    pub fn stopped(&self, now: Timestamp) -> Result<(), LogError> {
        let mut log = self.log.lock();
        let written = match log.frontier.size() {
            0 => Ok(()),
            _ => log.append(now, Event::Stopped),
        };
        drop(log);
        written.map_err(|source| self.failed("stopped", source))?;
        self.checkpoint(now)
    }

    /// Writes a checkpoint, unless the last one covers all leaves.
    ///
    /// # Errors
    /// The line is not on the sink. The next call tries again.
    pub fn checkpoint(&self, now: Timestamp) -> Result<(), LogError> {
        let written = self.log.lock().checkpoint(now);
        written.map_err(|source| self.failed("checkpoint", source))
    }

    /// Records that the TBSCertificate is about to go to the token.
    ///
    /// # Errors
    /// The line is not on the sink: the caller must then not ask the token for a signature.
    pub fn signing(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), LogError> {
        self.write("signing", now, subject, Some(certificate), None)
    }

    /// Records that the token signed and that the signature verifies.
    ///
    /// # Errors
    /// The line is not on the sink; the certificate exists nevertheless.
    pub fn signed(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), LogError> {
        self.write("signed", now, subject, Some(certificate), None)
    }

    /// Records that the certificate is in the request's status.
    ///
    /// # Errors
    /// The line is not on the sink; the certificate is published nevertheless.
    pub fn published(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), LogError> {
        self.write("published", now, subject, Some(certificate), None)
    }

    /// Records that a certificate with a *signing* line will never be published, for the reason that the slug names.
    ///
    /// # Errors
    /// The line is not on the sink; the certificate is not published in this case either.
    pub fn discarded(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
        reason: &'static str,
    ) -> Result<(), LogError> {
        self.write("discarded", now, subject, Some(certificate), Some(reason))
    }

    /// Records that the request is refused for good, for the reason that the slug names.
    ///
    /// # Errors
    /// The line is not on the sink; the request is refused nevertheless.
    pub fn refused(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        reason: &'static str,
    ) -> Result<(), LogError> {
        self.write("refused", now, subject, None, Some(reason))
    }

    fn write(
        &self,
        event: &'static str,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: Option<&Certificate<'_>>,
        reason: Option<&'static str>,
    ) -> Result<(), LogError> {
        let said = Event::Request(RequestEvent {
            event,
            subject,
            certificate,
            reason,
        });
        let written = self.log.lock().append(now, said);
        written.map_err(|source| self.failed(event, source))
    }

    fn failed(&self, event: &'static str, source: io::Error) -> LogError {
        LogError {
            event,
            sink: self.name,
            source,
        }
    }
}

impl Log {
    fn begin(&mut self, time: Timestamp) -> io::Result<()> {
        self.mend()?;
        if self.frontier.size() > 0 {
            return Ok(());
        }
        let LogRun {
            origin, program, ..
        } = self.run.clone();
        self.push(
            time,
            Event::Started {
                origin: &origin,
                program,
            },
        )
    }

    fn append(&mut self, time: Timestamp, event: Event<'_>) -> io::Result<()> {
        self.begin(time)?;
        self.push(time, event)
    }

    fn push(&mut self, time: Timestamp, event: Event<'_>) -> io::Result<()> {
        let leaf = self.leaf(time, event)?;
        self.put(time, &leaf)?;
        self.frontier.push(TreeHash::of_leaf(&leaf));
        Ok(())
    }

    fn checkpoint(&mut self, time: Timestamp) -> io::Result<()> {
        self.mend()?;
        let size = self.frontier.size();
        if size == self.checked {
            return Ok(());
        }
        let checkpoint = Checkpoint {
            origin: self.run.origin.clone(),
            size,
            root: self.frontier.root(),
        };
        let line = serde_json::to_vec(&CheckpointLine {
            time,
            run: &self.run.id,
            event: "checkpoint",
            checkpoint: checkpoint.text(),
            frontier: self
                .frontier
                .subtrees()
                .iter()
                .map(ToString::to_string)
                .collect(),
        })?;
        self.put(time, &line)?;
        self.checked = size;
        Ok(())
    }

    /// Writes the pending *torn* leaf, if the last write failed.
    fn mend(&mut self) -> io::Result<()> {
        let Some(leaf) = self.torn.clone() else {
            return Ok(());
        };
        self.flushed(&[b"\n", &leaf, b"\n"])?;
        self.torn = None;
        self.frontier.push(TreeHash::of_leaf(&leaf));
        Ok(())
    }

    fn leaf(&self, time: Timestamp, event: Event<'_>) -> io::Result<Vec<u8>> {
        let line = LogLine {
            time,
            run: &self.run.id,
            seq: self.frontier.size(),
            event,
        };
        Ok(serde_json::to_vec(&line)?)
    }

    fn put(&mut self, time: Timestamp, line: &[u8]) -> io::Result<()> {
        let written = self.flushed(&[line, b"\n"]);
        if written.is_err() {
            let lost = TreeHash::of_leaf(line);
            self.torn = Some(self.leaf(time, Event::Torn { lost })?);
        }
        written
    }

    fn flushed(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.writer.write_all(&parts.concat())?;
        self.writer.flush()
    }
}

impl fmt::Debug for IssuanceLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuanceLog").finish_non_exhaustive()
    }
}

/// Logs an error if a line was not written. For lines that no later step depends on.
pub fn note(written: Result<(), LogError>) {
    if let Err(error) = written {
        error!(error = %ErrorChain(&error), "the issuance log lacks a line");
    }
}

#[cfg(test)]
mod tests;
