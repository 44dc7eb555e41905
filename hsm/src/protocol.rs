//! The protocol between client and worker: versioned, length-delimited frames that each side treats as hostile.
//!
//! One socket serves one token, or describes all tokens of the library. The client opens with [`Hello`]; the worker answers with [`HelloReply`] and the
//! credit, the number of requests that may be unanswered at once. After that the client sends [`Request`]s, each
//! with an id of its own, and the worker answers them in any order.
//!
//! A peer cannot make the reader allocate much: a frame holds at most [`MAX_FRAME`] octets, and no list or string is
//! longer than the frame that carries it.

mod code;
mod failure;
mod frame;
mod key;
mod moment;
mod object;
mod pin;
mod survey;
mod token;

use std::{collections::BTreeMap, num::NonZeroU16};

use serde::{Deserialize, Serialize};

pub use self::{
    failure::{ExitReason, Failure, LoginAnswer, NoToken, TokenCode},
    frame::{FrameError, Inbox, MAX_FRAME, MAX_MESSAGE, append, append_hello},
    key::{
        Curve, FoundKey, Hash, KeyAlgorithm, KeyAttributes, KeyIdentity, KeyName, KeyNumber,
        KeyQuery, KeySelector, Mechanism, MlDsa,
    },
    moment::Moment,
    object::{
        MOST_NAME, MOST_OBJECTS, MOST_VALUE, ObjectKind, ObjectPage, SeenCertificate, SeenKey,
        SeenKeyKind,
    },
    pin::Pin,
    survey::{MOST_MECHANISMS, MOST_TOKENS, SeenMechanism, SeenSlot, SeenToken},
    token::{PinFlags, Slot, TokenInfo, TokenSelector},
};

/// Version of the protocol; raised with every change that an older peer would misread.
pub const VERSION: u16 = 8;

/// First frame of the client: the token that this connection is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Time at which the client sent this; shows whether both sides share one clock.
    pub said: Moment,
    /// The one token that the worker is to serve. `None` asks for a description of every token; the worker answers with
    /// [`HelloReply::Tokens`] and ends.
    pub token: Option<TokenSelector>,
    /// Number of sessions to sign on; `None` lets the worker choose by the token's limit.
    pub sessions: Option<NonZeroU16>,
    /// A PKCS#11 call that lasts longer than this, in milliseconds, ends the worker.
    pub hang_after_ms: u32,
}

/// First frame of the worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum HelloReply {
    /// The token was found and sessions are open; no login was tried.
    Found {
        /// The token's description of itself.
        token: TokenInfo,
        /// Number of sessions that are open for signing.
        sessions: u16,
        /// Number of requests that may be unanswered at once.
        credit: u16,
    },
    /// The description of the tokens, if [`Hello::token`] named none: so many frames with a [`SeenSlot`] each follow, and the
    /// worker ends.
    Tokens {
        /// Number of slots that have a token, at most [`MOST_TOKENS`].
        count: u16,
    },
    /// The token was not found. The worker ends.
    NotFound(NoToken),
    /// The worker ends before it could reply: a call hung during the search for the token.
    Ended(ExitReason),
}

/// Request with the id that its response carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client, unique among its unanswered requests.
    pub id: u32,
    /// The request itself.
    pub ask: Ask,
}

/// Requests of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Call `C_Login` once as the token's user. The worker never repeats it.
    Login(Pin),
    /// Return the token's present description and PIN flags.
    Describe,
    /// Find exactly one private key.
    FindKey {
        /// The key to find.
        wanted: KeyQuery,
        /// Time after which nobody wants the key and nothing more is read for it.
        deadline: Moment,
    },
    /// List objects for people. Without a login, only those that the token shows to everybody.
    List {
        /// Which objects.
        kind: ObjectKind,
        /// Number of objects in the pages before this one.
        from: u16,
        /// Time after which nobody wants the list and nothing more is read for it.
        deadline: Moment,
    },
    /// Make one signature.
    Sign {
        /// [`FoundKey::number`] of this connection.
        key: KeyNumber,
        /// How to sign.
        mechanism: Mechanism,
        /// Time after which nobody wants the signature.
        deadline: Moment,
        /// The digest or the message, as the mechanism says.
        payload: Vec<u8>,
    },
    /// Return octets of the token's random number generator.
    Random {
        /// Number of octets, at most 1024.
        len: u16,
        /// Time after which nobody wants them.
        deadline: Moment,
    },
    /// Return the worker's counters.
    Stats,
}

impl Ask {
    /// Returns whether the deadline has passed, so that nobody waits for the answer any more.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        match self {
            Self::FindKey { deadline, .. }
            | Self::List { deadline, .. }
            | Self::Sign { deadline, .. }
            | Self::Random { deadline, .. } => deadline.has_passed(),
            Self::Login(_) | Self::Describe | Self::Stats => false,
        }
    }
}

/// Messages of the worker after its [`HelloReply`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// The answer to one request.
    Response {
        /// The request's id.
        id: u32,
        /// The answer, or the reason why there is none.
        outcome: Result<Answer, Failure>,
    },
    /// The process ends now, for this reason; a new process may succeed.
    ExitReason(ExitReason),
}

/// Answers to an [`Ask`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Outcome of the login.
    Login(LoginAnswer),
    /// The token's present description.
    Token(TokenInfo),
    /// The one key that matched.
    Key(FoundKey),
    /// Private or public keys.
    Keys(ObjectPage<SeenKey>),
    /// Certificates.
    Certificates(ObjectPage<SeenCertificate>),
    /// Signature octets in the form that X.509 uses: RSA, `EdDSA` and ML-DSA raw, ECDSA as DER `ECDSA-Sig-Value`.
    Signature(Vec<u8>),
    /// Random octets.
    Random(Vec<u8>),
    /// Counters.
    Stats(Stats),
}

/// Counters of a worker since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Number of requests that may be unanswered at once.
    pub credit: u16,
    /// Number of sessions open for signing.
    pub sessions: u16,
    /// Calls of `C_Login`.
    pub logins: u32,
    /// Signatures made in time.
    pub signatures: u64,
    /// Requests whose deadline had passed before the token was called.
    pub expired: u64,
    /// Answers of the token that came after the deadline and were dropped.
    pub late: u64,
    /// Sessions discarded after an error.
    pub sessions_discarded: u64,
    /// Errors of the library that no answer names, because the worker recovered from them or explained them otherwise:
    /// how often each code was returned, by [`TokenCode::name`].
    pub unreported: BTreeMap<String, u64>,
}
