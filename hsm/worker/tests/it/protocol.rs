//! A worker without our client: its answers to correct and incorrect frames.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    num::NonZeroU16,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::BytesMut;
use hsm::{
    Hash, KeySelector, Mechanism, Pin, TokenSelector,
    protocol::{
        Answer, Ask, Failure, FromWorker, Hello, HelloReply, Inbox, KeyNumber, KeyQuery, Moment,
        NoToken, Request, SeenSlot, append, append_hello,
    },
};
use softhsm_test_helpers::{Function, KeyKind, TestKey, TestToken};

use crate::fixture::{selector, token, worker};

const P256: Mechanism = Mechanism::Ecdsa(Hash::Sha256);

/// Worker without our client, with the test's end of its socket.
struct Alone {
    child: Child,
    socket: UnixStream,
    inbox: Inbox,
}

impl Alone {
    fn start(token: &TestToken) -> Self {
        Self::with(token.module(), token.env())
    }

    fn with(module: &Path, env: BTreeMap<String, String>) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(worker());
        command
            .arg("serve")
            .arg("--module")
            .arg(module)
            .env_clear()
            .envs(env);
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            socket,
            inbox: Inbox::default(),
        }
    }

    fn greet(&mut self, token: &TestToken) {
        self.socket.write_all(&hello(token)).unwrap();
        self.greeted();
    }

    /// Greets, logs in and finds a key.
    fn finds(&mut self, key: &TestKey) -> KeyNumber {
        self.greet(key.token());
        let pin = Pin::new(key.token().user_pin().into());
        self.ask(Ask::Login(pin)).unwrap();
        let wanted = KeyQuery::Selected(selector(key));
        let Ok(Answer::Key(found)) = self.ask(find_key(wanted)) else {
            panic!("no key")
        };
        found.number
    }

    fn greeted(&mut self) -> HelloReply {
        loop {
            if let Some(reply) = self.inbox.hello().unwrap() {
                return reply;
            }
            self.read();
        }
    }

    fn send(&mut self, id: u32, ask: Ask) {
        let mut out = BytesMut::new();
        append(&mut out, &Request { id, ask }).unwrap();
        self.socket.write_all(&out).unwrap();
    }

    fn next(&mut self) -> FromWorker {
        loop {
            if let Some(frame) = self.inbox.frame().unwrap() {
                return frame;
            }
            self.read();
        }
    }

    fn ask(&mut self, ask: Ask) -> Result<Answer, Failure> {
        self.send(1, ask);
        match self.next() {
            FromWorker::Response { id: 1, outcome } => outcome,
            other @ (FromWorker::Response { .. } | FromWorker::ExitReason(_)) => {
                panic!("{other:?}")
            }
        }
    }

    fn read(&mut self) {
        let mut octets = [0; 4096];
        let length = self.socket.read(&mut octets).unwrap();
        assert_ne!(length, 0, "the worker closed the socket");
        self.inbox.extend(&octets[..length]);
    }
}

const LONG: Duration = Duration::from_secs(60);

fn sign(key: KeyNumber, within: Duration) -> Ask {
    Ask::Sign {
        key,
        mechanism: P256,
        deadline: Moment::now().after(within),
        payload: vec![7; 32],
    }
}

fn find_key(wanted: KeyQuery) -> Ask {
    Ask::FindKey {
        wanted,
        deadline: Moment::now().after(LONG),
    }
}

fn hello(token: &TestToken) -> BytesMut {
    hello_at(token, Moment::now())
}

fn hello_at(token: &TestToken, said: Moment) -> BytesMut {
    let mut out = BytesMut::new();
    append_hello(
        &mut out,
        &Hello {
            said,
            token: Some(TokenSelector::by_serial(token.serial())),
            sessions: NonZeroU16::new(1),
            hang_after_ms: 30_000,
        },
    )
    .unwrap();
    out
}

#[test]
fn an_expired_request_never_reaches_the_token() {
    let token = token("expired");
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let mut alone = Alone::start(&token);
    let key = alone.finds(&key);
    assert!(alone.ask(sign(key, LONG)).is_ok());
    let expired = alone.ask(sign(key, Duration::ZERO));
    assert_eq!(expired.unwrap_err(), Failure::Expired);
    let Ok(Answer::Stats(stats)) = alone.ask(Ask::Stats) else {
        panic!("no stats")
    };
    assert_eq!((stats.signatures, stats.expired, stats.late), (1, 1, 0));
}

#[test]
fn a_request_can_expire_while_every_session_is_busy() {
    let token = token("aging");
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let faulty = token.with_faults().unwrap();
    let mut alone = Alone::with(faulty.module(), faulty.env());
    let key = alone.finds(&key);
    faulty.rules("C_Sign delay_ms=200").unwrap();
    alone.send(2, sign(key, LONG));
    alone.send(3, sign(key, Duration::from_millis(20)));
    let FromWorker::Response { id: 2, outcome } = alone.next() else {
        panic!("not the answer to the first request")
    };
    assert!(outcome.is_ok());
    let FromWorker::Response { id: 3, outcome } = alone.next() else {
        panic!("not the answer to the second request")
    };
    assert_eq!(outcome.unwrap_err(), Failure::Expired);
    let Ok(Answer::Stats(stats)) = alone.ask(Ask::Stats) else {
        panic!("no stats")
    };
    assert_eq!((stats.signatures, stats.expired, stats.late), (1, 1, 0));
}

#[test]
fn a_client_with_another_clock_is_refused() {
    let token = token("clock");
    let mut alone = Alone::start(&token);
    let hello = hello_at(&token, Moment::now().after(LONG));
    alone.socket.write_all(&hello).unwrap();
    let HelloReply::NotFound(NoToken::Refused { why }) = alone.greeted() else {
        panic!("not refused")
    };
    assert!(why.contains("the clocks"), "{why}");
    assert_eq!(alone.child.wait().unwrap().code(), Some(73));
}

#[test]
fn nothing_is_signed_before_a_login() {
    let token = token("login");
    let mut alone = Alone::start(&token);
    alone.greet(&token);
    let wanted = KeyQuery::Selected(KeySelector::default());
    assert_eq!(
        alone.ask(find_key(wanted)).unwrap_err(),
        Failure::NotLoggedIn
    );
}

#[test]
fn a_client_that_exceeds_its_credit_ends_the_worker() {
    let token = token("credit");
    let mut alone = Alone::start(&token);
    alone.greet(&token);
    // One session grants two places.
    let mut out = BytesMut::new();
    for id in 0..10_000 {
        append(
            &mut out,
            &Request {
                id,
                ask: Ask::Describe,
            },
        )
        .unwrap();
    }
    // The worker may end before it has read everything.
    drop(alone.socket.write_all(&out));
    assert_eq!(alone.child.wait().unwrap().code(), Some(73));
}

#[test]
fn the_end_of_the_socket_ends_the_worker() {
    let token = token("eof");
    let Alone {
        mut child,
        socket,
        inbox: _,
    } = Alone::start(&token);
    drop(socket);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_end_of_the_socket_ends_a_worker_whose_sessions_all_hang() {
    let token = token("orphan");
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let faulty = token.with_faults().unwrap();
    let mut alone = Alone::with(faulty.module(), faulty.env());
    let key = alone.finds(&key);
    faulty.rules("C_Sign hang").unwrap();
    alone.send(2, sign(key, LONG));
    while faulty.faults(Function::C_Sign).unwrap() == 0 {
        std::thread::yield_now();
    }
    drop(alone.socket);
    assert!(alone.child.wait().unwrap().success());
}

#[test]
fn the_worker_gives_up_core_dumps_and_new_privileges() {
    let token = token("hardened");
    let mut alone = Alone::start(&token);
    alone.greet(&token);
    let process = |file: &str| {
        let path = format!("/proc/{}/{file}", alone.child.id());
        fs::read_to_string(path).unwrap()
    };
    let limits = process("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let limits: Vec<_> = core.unwrap().split_whitespace().skip(4).take(2).collect();
    assert_eq!(limits, ["0", "0"]);
    assert!(process("status").contains("NoNewPrivs:\t1"));
}

#[test]
fn octets_of_another_protocol_end_the_worker_with_their_own_exit_code() {
    let token = token("hostile");
    let mut alone = Alone::start(&token);
    alone.socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(alone.child.wait().unwrap().code(), Some(73));
}

#[test]
fn a_client_of_another_version_is_refused_with_the_reason() {
    let token = token("version");
    let mut alone = Alone::start(&token);
    let mut hello = hello(&token);
    // Length (4), magic (4), then the version as a varint.
    hello[8] = 99;
    alone.socket.write_all(&hello).unwrap();
    let HelloReply::NotFound(NoToken::Refused { why }) = alone.greeted() else {
        panic!("not refused")
    };
    assert!(why.contains("version 99"), "{why}");
    assert_eq!(alone.child.wait().unwrap().code(), Some(73));
}

#[test]
fn the_pin_is_in_no_output_of_the_worker() {
    let token = token("output");
    let mut alone = Alone::start(&token);
    alone.greet(&token);
    for pin in ["a PIN that is wrong", token.user_pin()] {
        alone.ask(Ask::Login(Pin::new(pin.into()))).unwrap();
    }
    // The worker writes a reason before it ends.
    alone.socket.write_all(&[0xff; 8]).unwrap();
    assert_eq!(alone.child.wait().unwrap().code(), Some(73));
    let mut output = String::new();
    let stderr = alone.child.stderr.as_mut().unwrap();
    stderr.read_to_string(&mut output).unwrap();
    assert!(output.contains("the client broke the protocol"), "{output}");
    assert!(!output.contains("a PIN that is wrong"), "{output}");
    assert!(!output.contains(token.user_pin()), "{output}");
}

#[test]
fn a_client_that_names_no_token_gets_one_frame_for_each_and_the_worker_ends() {
    let (one, other) = (token("one"), token("other"));
    for token in [&one, &other] {
        let mut alone = Alone::with(token.module(), token.env());
        let mut out = hello(token);
        out.clear();
        let hello = Hello {
            said: Moment::now(),
            token: None,
            sessions: None,
            hang_after_ms: 30_000,
        };
        append_hello(&mut out, &hello).unwrap();
        alone.socket.write_all(&out).unwrap();
        let mut octets = Vec::new();
        // The worker closes its end when it has answered.
        alone.socket.read_to_end(&mut octets).unwrap();
        alone.inbox.extend(&octets);
        let Some(HelloReply::Tokens { count }) = alone.inbox.hello().unwrap() else {
            panic!("no tokens");
        };
        let seen: Vec<SeenSlot> = (0..count)
            .map(|_| alone.inbox.frame().unwrap().unwrap())
            .collect();
        let labels: Vec<_> = seen
            .iter()
            .filter_map(|slot| Some(slot.token.as_ref().ok()?.info.label.as_str()))
            .collect();
        assert!(labels.contains(&token.label()), "{labels:?}");
        assert!(alone.inbox.frame::<SeenSlot>().unwrap().is_none());
        assert!(alone.child.wait().unwrap().success());
    }
}
