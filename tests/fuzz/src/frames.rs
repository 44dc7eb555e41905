//! Checks the frames between controller and HSM worker, where each side may be hostile.
//!
//! The first octet of an input says whether the rest is a stream from the socket (even) or the content of one frame (odd).
//! The second octet says after how many octets the stream pauses.

use bytes::BytesMut;
use hsm::protocol::{
    Answer, Ask, ExitReason, Failure, FoundKey, FrameError, FromWorker, Hello, HelloReply, Inbox,
    KeyAlgorithm, KeyAttributes, KeyIdentity, KeyName, KeyNumber, KeyQuery, KeySelector,
    LoginAnswer, Mechanism, Moment, NoToken, ObjectKind, ObjectPage, Pin, Request, SeenCertificate,
    SeenKey, SeenKeyKind, Stats, TokenCode, TokenSelector, append, append_hello,
};
use serde::{Serialize, de::DeserializeOwned};

/// Checks that for any octets in any portions: every decoder ends; portions do not matter; and a decoded value can be
/// encoded and decoded to the same value.
///
/// # Panics
///
/// One of these does not hold.
pub fn check(input: &[u8]) {
    let Some((&[kind, pause], rest)) = input.split_first_chunk() else {
        return;
    };
    let mut stream = rest.to_vec();
    if kind % 2 == 1 {
        let length = u32::try_from(rest.len()).expect("inputs are short");
        stream = [&length.to_be_bytes(), rest].concat();
    }
    let (start, end) = stream.split_at(stream.len().min(pause.into()));
    both(start, end, Inbox::frame::<Request>, append);
    both(start, end, Inbox::frame::<FromWorker>, append);
    both(start, end, Inbox::hello::<Hello>, append_hello);
    both(start, end, Inbox::hello::<HelloReply>, append_hello);
}

type Read<T> = fn(&mut Inbox) -> Result<Option<T>, FrameError>;
type Write<T> = fn(&mut BytesMut, &T) -> Result<(), FrameError>;

/// Reads a stream both at once and with a pause, and writes the values again.
fn both<T: Serialize + DeserializeOwned>(start: &[u8], end: &[u8], read: Read<T>, write: Write<T>) {
    let whole = frames(&[&[start, end].concat()], read, write);
    let paused = frames(&[start, end], read, write);
    assert_eq!(whole, paused, "a pause must not change the values");
    let (written, _) = &whole;
    let again = frames(&[&written.concat()], read, write);
    assert_eq!(
        &again.0, written,
        "an encoded value must be decoded to the same value"
    );
}

/// Returns every frame of a stream, encoded again, and whether the stream ended in an error.
fn frames<T>(portions: &[&[u8]], read: Read<T>, write: Write<T>) -> (Vec<Vec<u8>>, bool) {
    let mut inbox = Inbox::default();
    let mut written = Vec::new();
    for portion in portions {
        inbox.extend(portion);
        loop {
            match read(&mut inbox) {
                Ok(Some(value)) => {
                    let mut out = BytesMut::new();
                    // Our encoding may be longer than the input's, and so may not fit into a frame.
                    if write(&mut out, &value).is_ok() {
                        written.push(out.to_vec());
                    }
                }
                Ok(None) => break,
                Err(_) => return (written, true),
            }
        }
    }
    (written, false)
}

/// Returns a frame of each kind of message.
///
/// # Panics
///
/// One of our messages cannot be encoded.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let name = || KeyName {
        label: "issuing".into(),
        id: vec![0xa1],
    };
    let code = || TokenCode {
        function: "C_Sign".into(),
        code: "CKR_DEVICE_ERROR".into(),
    };
    let identity = || KeyIdentity {
        label: b"issuing".to_vec(),
        id: vec![0xa1],
        algorithm: KeyAlgorithm::Rsa { bits: 2048 },
        public: Some(vec![7; 20]),
    };
    let find_key = |wanted| Ask::FindKey {
        wanted,
        deadline: Moment::now(),
    };
    let asks = [
        Ask::Login(Pin::new(b"1234".to_vec())),
        Ask::Describe,
        find_key(KeyQuery::Selected(KeySelector {
            label: Some("issuing".into()),
            id: Some(vec![1]),
            public_key: None,
        })),
        find_key(KeyQuery::Again(identity())),
        Ask::List {
            kind: ObjectKind::PublicKeys,
            from: 3,
            deadline: Moment::now(),
        },
        Ask::Sign {
            key: KeyNumber(1),
            mechanism: Mechanism::Ed25519,
            deadline: Moment::now(),
            payload: vec![9; 32],
        },
        Ask::Random {
            len: 16,
            deadline: Moment::now(),
        },
        Ask::Stats,
    ];
    let outcomes = [
        Ok(Answer::Login(LoginAnswer::Rejected {
            locked: true,
            code: code(),
        })),
        Ok(Answer::Key(FoundKey {
            number: KeyNumber(1),
            identity: identity(),
            attributes: KeyAttributes::default(),
            mechanisms: vec![Mechanism::MlDsa],
        })),
        Ok(Answer::Keys(ObjectPage {
            objects: vec![SeenKey {
                label: b"issuing".to_vec(),
                id: vec![0xa1],
                kind: SeenKeyKind::Other("CKK_AES".into()),
                public: None,
                attributes: KeyAttributes::default(),
                modifiable: Some(false),
                allowed_mechanisms: vec!["CKM_ECDSA".into()],
                mechanisms: vec![Mechanism::MlDsa],
            }],
            more: true,
        })),
        Ok(Answer::Certificates(ObjectPage {
            objects: vec![SeenCertificate {
                label: b"issuing".to_vec(),
                id: vec![0xa1],
                der: Some(vec![0x30, 0]),
            }],
            more: false,
        })),
        Ok(Answer::Signature(vec![3; 70])),
        Ok(Answer::Stats(Stats {
            credit: 8,
            sessions: 4,
            logins: 1,
            signatures: 1 << 40,
            expired: 2,
            late: 1,
            sessions_discarded: 3,
            unreported: [("CKR_SESSION_HANDLE_INVALID".into(), 3)].into(),
        })),
        Err(Failure::KeyNotFound {
            differing: vec![name(), name()],
        }),
        Err(Failure::TokenFailed(code())),
        Err(Failure::BadRequest {
            why: "a digest of 31 octets".into(),
        }),
    ];
    let hello = Hello {
        said: Moment::now(),
        token: Some(TokenSelector::by_label("issuing")),
        sessions: None,
        hang_after_ms: 30_000,
    };
    let replies = [
        HelloReply::NotFound(NoToken::Absent {
            seen: vec!["other".into()],
        }),
        HelloReply::Ended(ExitReason::Hung),
    ];
    let mut frames = vec![framed(&hello, append_hello)];
    frames.extend(replies.iter().map(|reply| framed(reply, append_hello)));
    frames.extend(
        (1..)
            .zip(asks)
            .map(|(id, ask)| framed(&Request { id, ask }, append)),
    );
    frames.extend(
        (1..)
            .zip(outcomes)
            .map(|(id, outcome)| framed(&FromWorker::Response { id, outcome }, append)),
    );
    frames.push(framed(
        &FromWorker::ExitReason(ExitReason::TokenLost(code())),
        append,
    ));
    let stream = frames.concat();
    let contents = frames
        .iter()
        .map(|frame| [&[1, 5], frame.get(4..).unwrap_or_default()].concat());
    let mut seeds: Vec<Vec<u8>> = contents.collect();
    seeds.push([&[0, 9], stream.as_slice()].concat());
    seeds
}

fn framed<T>(value: &T, write: Write<T>) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out, value).expect("each of our messages fits into a frame");
    out.to_vec()
}
