//! Requests off the socket: whichever session thread is free reads them, so that no other thread must be woken for it.

use std::{
    collections::VecDeque,
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use hsm::protocol::{Ending, Hello, HelloReply, Inbox, NoToken, Request};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use zeroize::Zeroize;

use crate::answers::Answers;

/// The reading half of the socket, shared by the session threads.
#[derive(Debug)]
pub(crate) struct Requests {
    socket: UnixStream,
    answers: Arc<Answers>,
    arrived: Mutex<Arrived>,
    to_do: Condvar,
}

/// Never locked while a thread waits for octets.
#[derive(Debug)]
struct Arrived {
    requests: VecDeque<Request>,
    /// Taken by the thread that reads.
    inbox: Option<Inbox>,
    /// Threads that wait for something to do.
    idle: usize,
}

/// How long a thread offers the processor to others before it sleeps: to be woken costs more than a fast token's
/// signature, and a busy client sends the next request within less.
const LINGER: Duration = Duration::from_micros(50);

impl Requests {
    /// Waits for the greeting, the first frame of a client.
    pub(crate) fn greeted(socket: UnixStream, answers: Arc<Answers>) -> (Self, Hello) {
        let mut inbox = Inbox::default();
        let refuse = |why: String| -> ! {
            let refused = NoToken::Refused { why: why.clone() };
            // A peer of another version understands this much: our version.
            drop(answers.hello(&HelloReply::NotFound(refused)));
            answers.end(Ending::Protocol { why })
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

    /// The next request. Before it waits for one it has all answers written. Ends the process when the client is gone
    /// or breaks the protocol.
    pub(crate) fn next(&self) -> Request {
        let mut lingers_until = None;
        let mut arrived = self.lock();
        loop {
            if arrived.requests.is_empty() {
                self.take_up(&mut arrived);
            }
            if let Some(request) = arrived.requests.pop_front() {
                // What is left, be it a request or the reading, is for the next thread.
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
                arrived = self.lock();
                continue;
            };
            if Instant::now() < until {
                drop(arrived);
                thread::yield_now();
                arrived = self.lock();
            } else if let Some(mut inbox) = arrived.inbox.take() {
                drop(arrived);
                receive(&self.socket, &mut inbox, RecvFlags::empty());
                arrived = self.lock();
                arrived.inbox = Some(inbox);
            } else {
                arrived.idle += 1;
                arrived = self
                    .to_do
                    .wait(arrived)
                    .unwrap_or_else(PoisonError::into_inner);
                arrived.idle -= 1;
            }
        }
    }

    /// As many requests wait as there are sessions: the client keeps up, and may as well be told of several answers
    /// at a time.
    pub(crate) fn client_is_ahead(&self, sessions: u16) -> bool {
        let mut arrived = self.lock();
        if arrived.requests.len() < usize::from(sessions) {
            self.take_up(&mut arrived);
        }
        arrived.requests.len() >= usize::from(sessions)
    }

    /// Takes up all whole requests that are there, unless another thread reads.
    fn take_up(&self, arrived: &mut Arrived) {
        let Some(inbox) = &mut arrived.inbox else {
            return;
        };
        let mut received = false;
        loop {
            match inbox.frame::<Request>() {
                Ok(Some(request)) if self.answers.admit() => arrived.requests.push_back(request),
                Ok(Some(_)) => self.answers.end(Ending::Protocol {
                    why: "it sent beyond its credit".into(),
                }),
                Ok(None) if received => return,
                Ok(None) => {
                    receive(&self.socket, inbox, RecvFlags::DONTWAIT);
                    received = true;
                }
                Err(error) => self.answers.end(Ending::Protocol {
                    why: error.to_string(),
                }),
            }
        }
    }

    /// Nothing here leaves the value half-changed, and a panic ends the process anyway.
    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts what arrives, or with `DONTWAIT` what is there, into the inbox.
fn receive(socket: &UnixStream, inbox: &mut Inbox, flags: RecvFlags) {
    let mut octets = [0_u8; 4096];
    match recv(socket, &mut octets, flags) {
        Ok((0, _)) => signal_hook::low_level::exit(0),
        Ok((length, _)) => {
            let read = octets.get_mut(..length).unwrap_or_default();
            inbox.extend(read);
            // It may have been a PIN.
            read.zeroize();
        }
        Err(Errno::INTR | Errno::AGAIN) => {}
        Err(error) => {
            eprintln!("pkcs11-hsm-worker: failed to read from the client: {error}");
            signal_hook::low_level::exit(0);
        }
    }
}
