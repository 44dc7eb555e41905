//! The issuance log: one JSON line for each step of a certificate, written before anything can depend on the step.
//!
//! The lines of one run of a process are the leaves of a Merkle tree (RFC 9162, section 2.1). A checkpoint line now and then
//! gives the root of the tree, so that [`verify`] finds a line that was changed, removed, repeated or moved.
//!
//! Every sink has a thread of its own. Callers append lines to a bounded queue and never block; a signature waits until
//! every sink has accepted its *signing* line.
//!
//! It is not the audit log of the API server, which the code always calls by its full name.

mod backlog;
mod ceremony;
mod checkpoint;
pub mod compare;
mod composer;
mod crl;
mod events;
mod fields;
pub mod filter;
mod head;
pub mod leaves;
mod line;
pub mod note;
mod own_files;
pub mod proof;
pub mod read;
mod revocation;
mod sink;
pub mod tiles;
mod tree;
mod trouble;
pub mod verify;

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    os::fd::AsFd as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::timeout;

pub(crate) use self::events::ABANDONED;
use self::{
    backlog::{Backlog, Need},
    checkpoint::replica_in_origin,
    composer::Composer,
    fields::Fields,
    sink::{Sink, Stream, file::RotatedFile},
};
pub use self::{
    composer::TreeHead,
    crl::{CrlFacts, LoggedCrl},
    events::Configuration,
    head::{KnownHeads, SignedHead},
    line::{
        Certificate, CertificateEntry, LoggedApproval, LoggedIssuer, LoggedRequest, LoggedToken,
        RequestKind, Requester, Subject,
    },
    revocation::{LoggedRevocation, RevocationObject, ShowingCrl},
    sink::file::OpenError,
    trouble::{LogCounts, LogError, SinkTrouble, StartError},
};
use crate::config::{LogSettings, OnFailure};

/// Random octets in the name of a run.
const RUN_OCTETS: usize = 8;

/// Time for the sinks to accept a line that somebody waits for. A sink without progress for this long counts as stalled.
const PATIENCE: Duration = Duration::from_secs(5);

/// Source of the present time.
pub type Clock = fn() -> Timestamp;

/// Writer of the issuance log. Clones write the same log.
///
/// *Guarantees:* no call blocks the thread. Lines of concurrent callers do not mix. Every line that was appended reaches
/// every sink, in order, however often a write fails meanwhile.
#[derive(Clone)]
pub struct IssuanceLog(Arc<Inner>);

struct Inner {
    backlog: Arc<Backlog>,
    clock: Clock,
    manner: Manner,
    /// The file that one of the sinks writes.
    file: Option<PathBuf>,
}

/// How to treat sinks that accept no lines.
#[derive(Clone, Copy, Debug)]
struct Manner {
    on_failure: OnFailure,
    /// A sink without progress for this long counts as stalled.
    patience: Duration,
}

/// Name of one run of a process, by which its lines are told from those of others.
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

/// Place of a line in the log, by which its caller waits for the sinks. `None` if the line is not in the log, because there
/// was no room or the log has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition(Option<u64>);

impl LogRun {
    /// Returns the name of a new run: the cluster, the replica and 64 random bits.
    ///
    /// # Errors
    /// The operating system returned no random octets.
    pub fn new(cluster: &str, replica: &str, program: Program) -> io::Result<Self> {
        let mut octets = [0; RUN_OCTETS];
        aws_lc_rs::rand::fill(&mut octets)
            .map_err(|_| io::Error::other("no random octets for the name of the log"))?;
        let id = hex::encode(octets);
        Ok(Self {
            origin: format!("{cluster}/{}/{id}", replica_in_origin(replica)),
            id,
            program,
        })
    }
}

impl IssuanceLog {
    /// Returns the log on the sinks that the operator chose.
    ///
    /// # Errors
    /// A sink cannot be opened, or its thread cannot be started.
    pub fn start(settings: &LogSettings, run: LogRun, clock: Clock) -> Result<Self, StartError> {
        let mut sinks: Vec<(String, Box<dyn Sink>)> = Vec::new();
        let mut found = Vec::new();
        if let Some(file) = &settings.file {
            let (sink, torn) = RotatedFile::open(file.clone(), &run.id, clock)?;
            found.extend(torn.map(|torn| ("torn", torn)));
            sinks.push((file.path.display().to_string(), Box::new(sink)));
        }
        let started = || {
            if settings.stdout {
                let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                sinks.push(("stdout".to_owned(), Box::new(Stream::new(stdout))));
            }
            let manner = Manner {
                on_failure: settings.on_failure,
                patience: PATIENCE,
            };
            let file = settings.file.as_ref().map(|file| file.path.clone());
            Self::of(sinks, file, found, run, manner, clock)
        };
        started().map_err(StartError::Sink)
    }

    /// Returns the log on stderr, which `sign` uses because its stdout carries the certificate.
    ///
    /// # Errors
    /// The operating system refused a thread.
    pub fn stderr(run: LogRun, clock: Clock) -> io::Result<Self> {
        Self::to("stderr", io::stderr(), run, clock)
    }

    /// Returns the log on any other stream. Errors call the stream `name`.
    ///
    /// # Errors
    /// The operating system refused a thread.
    pub fn to(
        name: &str,
        writer: impl Write + Send + 'static,
        run: LogRun,
        clock: Clock,
    ) -> io::Result<Self> {
        let sink: Box<dyn Sink> = Box::new(Stream::new(writer));
        let sinks = vec![(name.to_owned(), sink)];
        let manner = Manner {
            on_failure: OnFailure::Wait,
            patience: PATIENCE,
        };
        Self::of(sinks, None, Vec::new(), run, manner, clock)
    }

    fn of(
        sinks: Vec<(String, Box<dyn Sink>)>,
        file: Option<PathBuf>,
        found: Vec<(&'static str, Fields)>,
        run: LogRun,
        manner: Manner,
        clock: Clock,
    ) -> io::Result<Self> {
        let names = sinks.iter().map(|(name, _)| name.clone());
        let composer = Composer::new(run);
        let backlog = Arc::new(Backlog::new(composer, names, found, manner.patience));
        let log = Self(Arc::new(Inner {
            backlog: Arc::clone(&backlog),
            clock,
            manner,
            file,
        }));
        for (number, (_, sink)) in sinks.into_iter().enumerate() {
            sink::spawn(sink, number, Arc::clone(&backlog))?;
        }
        Ok(log)
    }

    /// Logs that the process has started. Every other line does the same first, if it is the first one.
    pub fn started(&self) {
        self.0.backlog.begin((self.0.clock)());
    }

    /// Logs that the process stops, with a last checkpoint without a signature. A log without lines stays empty.
    pub fn stopped(&self) {
        self.stopping();
        self.checkpoint();
    }

    /// Notes that nobody knows whether a certificate was published, so that the run ends like that of a killed process, without
    /// *stopped*.
    pub fn leave_unfinished(&self) {
        self.0.backlog.leave_unfinished();
    }

    /// Logs that the process stops. A checkpoint should follow, and no other line does: later ones are not taken. A log without
    /// lines stays empty.
    pub fn stopping(&self) {
        self.0.backlog.stop((self.0.clock)());
    }

    /// Tells the sinks to end when they have accepted every line, and waits until they have ended or `within` is over.
    ///
    /// # Errors
    /// Lines are missing on a sink.
    pub async fn close(&self, within: Duration) -> Result<(), LogError> {
        let ended = timeout(within, self.0.backlog.ended()).await;
        ended.map_err(|_elapsed| self.present_trouble())
    }

    /// Writes a checkpoint without a signature, unless the last one covers all leaves.
    pub fn checkpoint(&self) {
        if let Some(head) = self.unchecked() {
            self.write_checkpoint(&head, &head.text());
        }
    }

    /// Returns the state of the log, to be signed, unless the last checkpoint covers all leaves.
    #[must_use]
    pub fn unchecked(&self) -> Option<TreeHead> {
        self.0.backlog.unchecked((self.0.clock)())
    }

    /// Writes a checkpoint. It stands after the lines that were appended since `head`, but does not cover them.
    pub fn write_checkpoint(&self, head: &TreeHead, text: &str) -> LogPosition {
        let time = (self.0.clock)();
        LogPosition(Some(self.0.backlog.checkpoint(time, head, text)))
    }

    /// Returns the name of the run.
    #[must_use]
    pub fn run(&self) -> String {
        self.0.backlog.run()
    }

    /// Waits until every sink has accepted a line.
    ///
    /// # Errors
    /// The line is not in the log, or a sink did not accept it within five seconds. Never if the operator chose to sign without
    /// a log.
    pub async fn accepted(&self, LogPosition(position): LogPosition) -> Result<(), LogError> {
        let position = match (self.0.manner.on_failure, position) {
            (OnFailure::Sign, _) => return Ok(()),
            (OnFailure::Wait, None) => return Err(self.present_trouble()),
            (OnFailure::Wait, Some(position)) => position,
        };
        let accepted = timeout(self.0.manner.patience, self.0.backlog.accepted(position)).await;
        accepted.map_err(|_elapsed| self.present_trouble())
    }

    /// Returns an error if nothing may be signed at present, because a sink accepts no lines.
    ///
    /// # Errors
    /// A sink accepts no lines. Never if the operator chose to sign without a log.
    pub fn check(&self) -> Result<(), LogError> {
        match (self.0.manner.on_failure, self.trouble()) {
            (OnFailure::Wait, Some(error)) => Err(error),
            (OnFailure::Wait, None) | (OnFailure::Sign, _) => Ok(()),
        }
    }

    /// Returns why a sink accepts no lines at present, whatever the operator chose to do about it.
    #[must_use]
    pub fn trouble(&self) -> Option<LogError> {
        let trouble = self.0.backlog.trouble();
        trouble.map(|(sink, trouble)| LogError { sink, trouble })
    }

    /// Returns whether a line about a refusal is kept. If not, the refusal has to wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.manner.on_failure == OnFailure::Sign || self.0.backlog.has_room()
    }

    /// Returns the numbers for the metrics.
    #[must_use]
    pub fn counts(&self) -> LogCounts {
        self.0.backlog.counts()
    }

    fn append(&self, need: Need, event: &str, parts: &[&Fields]) -> LogPosition {
        let time = (self.0.clock)();
        LogPosition(self.0.backlog.append(need, time, event, parts))
    }

    /// Returns whether to keep a line about a certificate or a refusal in any case. The requests in flight bound the number of
    /// such lines, unless they do not wait for the log.
    fn essential(&self) -> Need {
        match self.0.manner.on_failure {
            OnFailure::Wait => Need::Always,
            OnFailure::Sign => Need::IfRoom,
        }
    }

    /// Returns why a line was not accepted.
    fn present_trouble(&self) -> LogError {
        self.trouble().unwrap_or_else(|| LogError {
            sink: "a sink".to_owned(),
            trouble: SinkTrouble::Stalled,
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.backlog.abandon();
    }
}

impl fmt::Debug for IssuanceLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuanceLog").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
