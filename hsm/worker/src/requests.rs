//! Requests from the socket. A session thread that is free reads them itself, so that no other thread must be woken.

use std::{
    collections::VecDeque,
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use hsm::protocol::{ExitReason, Hello, HelloReply, Inbox, NoToken, Request};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use zeroize::Zeroize;

use crate::answers::Answers;
use crate::say::say;

/// The reading half of the socket, shared by the session threads.
#[derive(Debug)]
pub(crate) struct Requests {
    socket: UnixStream,
    answers: Arc<Answers>,
    arrived: Mutex<Arrived>,
    to_do: Condvar,
}

/// Requests that have arrived. Never locked while a thread waits for octets.
#[derive(Debug)]
struct Arrived {
    requests: VecDeque<Request>,
    /// `None` while a thread has taken it to read.
    inbox: Option<Inbox>,
    /// Threads that wait for something to do.
    idle: usize,
}

/// How long a thread yields the processor before it sleeps: waking it costs more than a signature of a fast token, and a
/// busy client sends the next request sooner than this.
const LINGER: Duration = Duration::from_micros(50);

impl Requests {
    /// Waits for the greeting, the first frame of a client.
    pub(crate) fn greeted(socket: UnixStream, answers: Arc<Answers>) -> (Self, Hello) {
        let mut inbox = Inbox::default();
        let refuse = |why: String| -> ! {
            let refused = NoToken::Refused { why: why.clone() };
            // Even a peer of another version can read our version in this frame.
            drop(answers.hello(&HelloReply::NotFound(refused)));
            answers.end(ExitReason::Protocol { why })
        };
        let hello = loop {
            match inbox.hello::<Hello>() {
                Ok(Some(hello)) => break hello,
                Ok(None) => receive(&socket, &mut inbox, RecvFlags::empty()),
                Err(error) => refuse(error.to_string()),
            }
        };
        if !hello.said.is_recent() {
            refuse(
                "the clocks of controller and worker differ: run both in one time namespace".into(),
            );
        }
        let requests = Self {
            socket,
            answers,
            arrived: Mutex::new(Arrived {
                requests: VecDeque::new(),
                inbox: Some(inbox),
                idle: 0,
            }),
            to_do: Condvar::new(),
        };
        (requests, hello)
    }

    /// Returns the next request. Writes all pending answers before it waits. Ends the process when the client is gone or
    /// breaks the protocol.
    pub(crate) fn next(&self) -> Request {
        let mut lingers_until = None;
        let mut arrived = self.arrived.lock();
        loop {
            if arrived.requests.is_empty() {
                self.take_up(&mut arrived);
            }
            if let Some(request) = arrived.requests.pop_front() {
                // The next thread handles what is left: another request, or reading from the socket.
                let left = !arrived.requests.is_empty() || arrived.inbox.is_some();
                if left && arrived.idle > 0 {
                    self.to_do.notify_one();
                }
                return request;
            }
            let Some(until) = lingers_until else {
                drop(arrived);
                self.answers.flush();
                lingers_until = Some(Instant::now() + LINGER);
                arrived = self.arrived.lock();
                continue;
            };
            if Instant::now() < until {
                drop(arrived);
                thread::yield_now();
                arrived = self.arrived.lock();
            } else if let Some(mut inbox) = arrived.inbox.take() {
                drop(arrived);
                receive(&self.socket, &mut inbox, RecvFlags::empty());
                arrived = self.arrived.lock();
                arrived.inbox = Some(inbox);
            } else {
                arrived.idle += 1;
                self.to_do.wait(&mut arrived);
                arrived.idle -= 1;
            }
        }
    }

    /// Returns whether at least as many requests wait as there are sessions. Then the client keeps the sessions busy, and
    /// may get several answers at a time.
    pub(crate) fn client_is_ahead(&self, sessions: u16) -> bool {
        let mut arrived = self.arrived.lock();
        if arrived.requests.len() < usize::from(sessions) {
            self.take_up(&mut arrived);
        }
        arrived.requests.len() >= usize::from(sessions)
    }

    /// Collects all whole requests that have arrived, unless another thread reads.
    fn take_up(&self, arrived: &mut Arrived) {
        let Some(inbox) = &mut arrived.inbox else {
            return;
        };
        let mut received = false;
        loop {
            match inbox.frame::<Request>() {
                Ok(Some(request)) if self.answers.admit() => arrived.requests.push_back(request),
                Ok(Some(_)) => self.answers.end(ExitReason::Protocol {
                    why: "it sent more requests than its credit allows".into(),
                }),
                Ok(None) if received => return,
                Ok(None) => {
                    receive(&self.socket, inbox, RecvFlags::DONTWAIT);
                    received = true;
                }
                Err(error) => self.answers.end(ExitReason::Protocol {
                    why: error.to_string(),
                }),
            }
        }
    }
}

/// Waits for octets and puts them into the inbox. With `DONTWAIT` it takes only those that have already arrived.
fn receive(socket: &UnixStream, inbox: &mut Inbox, flags: RecvFlags) {
    let mut octets = [0_u8; 4096];
    match recv(socket, &mut octets, flags) {
        Ok((0, _)) => signal_hook::low_level::exit(0),
        Ok((length, _)) => {
            let read = octets.get_mut(..length).unwrap_or_default();
            inbox.extend(read);
            // The octets may hold a PIN.
            read.zeroize();
        }
        Err(Errno::INTR | Errno::AGAIN) => {}
        Err(error) => {
            say(format_args!("failed to read from the client: {error}"));
            signal_hook::low_level::exit(0);
        }
    }
}
