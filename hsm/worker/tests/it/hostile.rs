//! A worker that is not ours: whatever it sends, the client reports the fault, stays alive and returns no answer.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
    time::Duration,
};

use bytes::BytesMut;
use hsm::{
    HsmError, Launch, PinFlags, SeenSlot, Token, TokenInfo, TokenSelector, TokenSpec, TokenState,
    WorkerEnd,
    protocol::{
        Answer, Ask, FromWorker, Hello, HelloReply, Inbox, LoginAnswer, MAX_FRAME, MOST_TOKENS,
        Request, append, append_hello,
    },
    survey,
};
use tempfile::TempDir;

use crate::fixture::{Gate, ready, soon, until};

/// Listens where a sidecar would, and calls `treat` for each connection.
fn impostor(directory: &TempDir, treat: impl Fn(Peer) + Send + 'static) -> Token {
    let path = directory.path().join("worker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // The thread ends with the test process.
    thread::spawn(move || {
        for socket in listener.incoming() {
            treat(Peer {
                socket: socket.unwrap(),
                inbox: Inbox::default(),
            });
        }
    });
    Token::start(spec(&path), Gate::new("1234"))
}

fn spec(socket: &Path) -> TokenSpec {
    TokenSpec {
        name: "impostor".into(),
        launch: Launch::Sidecar {
            socket: socket.into(),
        },
        token: TokenSelector::by_label("issuing"),
        sessions: None,
        hang_after: Duration::from_secs(30),
    }
}

/// The client, as the impostor sees it. The client may have gone already, so failed writes are ignored.
struct Peer {
    socket: UnixStream,
    inbox: Inbox,
}

impl Peer {
    fn say(&mut self, octets: &[u8]) {
        drop(self.socket.write_all(octets));
    }

    /// Reads once. Returns `false` when the client has gone.
    fn read(&mut self) -> bool {
        let mut octets = [0; 4096];
        let length = self.socket.read(&mut octets).unwrap_or_default();
        self.inbox.extend(&octets[..length]);
        length > 0
    }

    /// Behaves like a worker up to the login.
    fn logs_in(&mut self) {
        while self.inbox.hello::<Hello>().unwrap().is_none() {
            assert!(self.read());
        }
        let mut out = BytesMut::new();
        append_hello(&mut out, &found()).unwrap();
        self.say(&out);
        if let Some(Request { id, ask: _ }) = self.request() {
            self.answers(id, Answer::Login(LoginAnswer::Accepted));
        }
    }

    fn request(&mut self) -> Option<Request> {
        loop {
            if let Some(request) = self.inbox.frame().unwrap() {
                return Some(request);
            }
            if !self.read() {
                return None;
            }
        }
    }

    fn answers(&mut self, id: u32, answer: Answer) {
        let mut out = BytesMut::new();
        let outcome = Ok(answer);
        append(&mut out, &FromWorker::Response { id, outcome }).unwrap();
        self.say(&out);
    }
}

fn found() -> HelloReply {
    HelloReply::Found {
        token: TokenInfo {
            label: "issuing".into(),
            serial: "1".into(),
            manufacturer: String::new(),
            model: String::new(),
            firmware: "1.0".into(),
            slot: hsm::Slot::default(),
            login_required: true,
            pin: PinFlags {
                initialized: true,
                ..PinFlags::default()
            },
            max_sessions: None,
        },
        sessions: 1,
        credit: 2,
    }
}

fn misconfigured(state: &TokenState) -> bool {
    matches!(state, TokenState::Misconfigured { .. })
}

#[tokio::test]
async fn a_server_of_another_protocol_is_reported_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let hsm = impostor(&directory, |mut peer| {
        peer.say(b"\0\0\0\x08HTTP/1.1");
        while peer.read() {}
    });
    let state = until(&hsm, misconfigured).await;
    let state = state.to_string();
    assert!(state.contains("does not speak this protocol"), "{state}");
}

#[tokio::test]
async fn a_worker_of_another_version_is_reported_with_its_version() {
    let directory = tempfile::tempdir().unwrap();
    let hsm = impostor(&directory, |mut peer| {
        let mut out = BytesMut::new();
        append_hello(&mut out, &found()).unwrap();
        // Length (4), magic (4), then the version as a varint.
        out[8] = 99;
        peer.say(&out);
        while peer.read() {}
    });
    let state = until(&hsm, misconfigured).await.to_string();
    assert!(state.contains("version 99"), "{state}");
}

#[tokio::test]
async fn a_frame_that_is_too_long_or_cannot_be_decoded_ends_the_connection() {
    for octets in [
        u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes().to_vec(),
        b"\0\0\0\x04\xff\xff\xff\xff".to_vec(),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let hsm = impostor(&directory, move |mut peer| {
            peer.logs_in();
            // The octets come only while a request is in flight.
            if peer.request().is_some() {
                peer.say(&octets);
            }
            while peer.read() {}
        });
        until(&hsm, ready).await;
        let error = hsm.random(8, soon()).await.unwrap_err();
        assert!(matches!(error, HsmError::WorkerLost { .. }), "{error:?}");
        assert_eq!(hsm.tally().ended.get("crashed"), None);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_match_its_request_is_never_returned() {
    let directory = tempfile::tempdir().unwrap();
    let hsm = impostor(&directory, |mut peer| {
        peer.logs_in();
        while let Some(Request { id, ask }) = peer.request() {
            // An unknown id, then the wrong kind, then the wrong length.
            peer.answers(id.wrapping_add(7), Answer::Random(vec![0; 8]));
            let wrong = if matches!(ask, Ask::Random { len: 8, .. }) {
                Answer::Signature(vec![0; 64])
            } else {
                Answer::Random(vec![0; 3])
            };
            peer.answers(id, wrong);
        }
    });
    until(&hsm, ready).await;
    for length in [8, 9] {
        let error = hsm.random(length, soon()).await.unwrap_err();
        assert!(matches!(error, HsmError::WrongAnswer), "{error:?}");
    }
}

#[tokio::test]
async fn a_peer_that_hangs_up_at_once_is_retried_and_never_becomes_ready() {
    let directory = tempfile::tempdir().unwrap();
    let hsm = impostor(&directory, drop);
    while hsm.tally().ended.get("crashed") < Some(&4) {
        tokio::task::yield_now().await;
    }
    assert_eq!(hsm.tally().entered.get("ready"), None);
}

/// Has an impostor answer the question for all tokens with these octets, and hang up.
async fn surveyed(octets: Vec<u8>) -> Result<Vec<SeenSlot>, WorkerEnd> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("worker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let mut peer = Peer {
            socket: listener.accept().unwrap().0,
            inbox: Inbox::default(),
        };
        while peer.inbox.hello::<Hello>().unwrap().is_none() {
            assert!(peer.read());
        }
        peer.say(&octets);
    });
    let launch = Launch::Sidecar { socket: path };
    survey(&launch, Duration::from_secs(30)).await
}

#[tokio::test]
async fn a_list_of_tokens_that_is_hostile_is_refused() {
    let reply = |reply: &HelloReply| {
        let mut out = BytesMut::new();
        append_hello(&mut out, reply).unwrap();
        out.to_vec()
    };
    let tokens = |count| reply(&HelloReply::Tokens { count });
    assert_eq!(surveyed(tokens(0)).await, Ok(Vec::new()));
    let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
    for octets in [
        b"\0\0\0\x08HTTP/1.1".to_vec(),
        reply(&found()),
        tokens(MOST_TOKENS + 1),
        [tokens(1), too_long.to_vec()].concat(),
        [tokens(1), b"\0\0\0\x04\xff\xff\xff\xff".to_vec()].concat(),
    ] {
        let end = surveyed(octets).await.unwrap_err();
        assert!(matches!(end, WorkerEnd::Incomprehensible { .. }), "{end:?}");
    }
    for fewer in [Vec::new(), tokens(2), tokens(u16::MAX)[..9].to_vec()] {
        let end = surveyed(fewer).await.unwrap_err();
        assert!(matches!(end, WorkerEnd::Crashed { .. }), "{end:?}");
    }
}
