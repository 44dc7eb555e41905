//! The thread that only reads the socket, and ends the process when the socket ends: whatever hangs, no orphan stays.

use std::{
    io::Read,
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use hsm::protocol::{Ask, Ending, Hello, HelloReply, Inbox, NoToken, Request};
use zeroize::Zeroize;

use crate::{answers::Answers, job::Job};

/// Starts the thread. The greeting goes to `hello`, every request to `jobs`.
pub(crate) fn start(
    socket: UnixStream,
    answers: Arc<Answers>,
    hello: Sender<Hello>,
    jobs: Sender<Job>,
) -> std::io::Result<()> {
    let reader = Reader {
        socket,
        answers,
        inbox: Inbox::default(),
    };
    thread::Builder::new()
        .name("reader".into())
        .spawn(move || reader.run(&hello, &jobs))?;
    Ok(())
}

struct Reader {
    socket: UnixStream,
    answers: Arc<Answers>,
    inbox: Inbox,
}

impl Reader {
    fn run(mut self, hello: &Sender<Hello>, jobs: &Sender<Job>) {
        let greeting = loop {
            match self.inbox.hello::<Hello>() {
                Ok(Some(greeting)) => break greeting,
                Ok(None) => self.read(),
                Err(error) => {
                    let why = error.to_string();
                    // A peer of another version understands this much: our version.
                    let refused = NoToken::Refused { why: why.clone() };
                    drop(self.answers.hello(&HelloReply::NotFound(refused)));
                    self.answers.end(Ending::Protocol { why })
                }
            }
        };
        if hello.send(greeting).is_err() {
            // The main thread has ended, and with it the process.
            return;
        }
        loop {
            match self.inbox.frame::<Request>() {
                Ok(Some(request)) => {
                    if !self.answers.admit() {
                        self.answers.end(Ending::Protocol {
                            why: "it sent beyond its credit".into(),
                        });
                    }
                    if jobs.send(job(request, Instant::now())).is_err() {
                        return;
                    }
                }
                Ok(None) => self.read(),
                Err(error) => self.answers.end(Ending::Protocol {
                    why: error.to_string(),
                }),
            }
        }
    }

    fn read(&mut self) {
        let mut octets = [0_u8; 16 * 1024];
        match self.socket.read(&mut octets) {
            Ok(0) => signal_hook::low_level::exit(0),
            Ok(length) => {
                let read = octets.get_mut(..length).unwrap_or_default();
                self.inbox.extend(read);
                // It may have been a PIN.
                read.zeroize();
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                eprintln!("pkcs11-hsm-worker: failed to read from the client: {error}");
                signal_hook::low_level::exit(0);
            }
        }
    }
}

fn job(request: Request, now: Instant) -> Job {
    let Request { id, ask } = request;
    let milliseconds = match &ask {
        Ask::Sign { deadline_ms, .. } | Ask::Random { deadline_ms, .. } => Some(*deadline_ms),
        Ask::Login(_) | Ask::Describe | Ask::FindKey(_) | Ask::Stats => None,
    };
    let deadline =
        milliseconds.and_then(|left| now.checked_add(Duration::from_millis(left.into())));
    Job { id, ask, deadline }
}
