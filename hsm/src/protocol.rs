//! What client and worker say to each other: versioned, length-delimited frames that each side treats as hostile.
//!
//! One socket serves one token. The client opens with [`Hello`]; the worker answers with [`HelloReply`] and the
//! credit, the number of requests that may be unanswered at once. After that the client sends [`Request`]s, each
//! with an id of its own, and the worker answers them in any order.
//!
//! Nothing here can make the reader allocate much: a frame holds at most [`MAX_FRAME`] octets, and no list or
//! string is longer than the frame that carries it.

mod failure;
mod frame;
mod key;
mod moment;
mod pin;
mod token;

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

pub use self::{
    failure::{Ending, Failure, LoginAnswer, NoToken, TokenCode},
    frame::{FrameError, Inbox, MAX_FRAME, append, append_hello},
    key::{
        Curve, FoundKey, Hash, KeyAlgorithm, KeyAttributes, KeyIdentity, KeyName, KeyNumber,
        KeySelector, Mechanism, MlDsa, Wanted,
    },
    moment::Moment,
    pin::Pin,
    token::{PinFlags, TokenInfo, TokenSelector},
};

/// Version of everything in this module; raised with every change that an older peer would misread.
pub const VERSION: u16 = 3;

/// The client's first frame: which token this connection is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// When it was said: shows that both sides have one clock.
    pub said: Moment,
    /// The one token that the worker shall serve.
    pub token: TokenSelector,
    /// Sessions to sign on; `None` lets the worker choose by the token's limit.
    pub sessions: Option<NonZeroU16>,
    /// A PKCS#11 call that lasts longer than this, in milliseconds, ends the worker.
    pub hang_after_ms: u32,
}

/// The worker's first frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum HelloReply {
    /// The token stands and sessions are open; no login was tried.
    Found {
        /// The token, as it describes itself.
        token: TokenInfo,
        /// Sessions that are open for signing.
        sessions: u16,
        /// Requests that may be unanswered at once.
        credit: u16,
    },
    /// There is no such token now. The worker ends.
    NotFound(NoToken),
    /// Last words before any other: a call hung while the token was looked for.
    Ended(Ending),
}

/// A request with the id that its response will carry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client, unique among its unanswered requests.
    pub id: u32,
    /// What is asked.
    pub ask: Ask,
}

/// What a client can ask for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// One `C_Login` as the token's user. Never repeated by the worker.
    Login(Pin),
    /// The token's description and PIN flags as they are now.
    Describe,
    /// Exactly one private key, or what matched.
    FindKey {
        /// Which.
        wanted: Wanted,
        /// From then on nobody wants it, and nothing more is read for it.
        deadline: Moment,
    },
    /// One signature.
    Sign {
        /// From [`FoundKey::number`] of this connection.
        key: KeyNumber,
        /// How to sign.
        mechanism: Mechanism,
        /// From then on nobody wants the signature.
        deadline: Moment,
        /// The digest, or for [`Mechanism::Ed25519`] and [`Mechanism::MlDsa`] the message.
        payload: Vec<u8>,
    },
    /// Octets of the token's random number generator.
    Random {
        /// How many, at most 1024.
        len: u16,
        /// From then on nobody wants them.
        deadline: Moment,
    },
    /// Counters of the worker.
    Stats,
}

impl Ask {
    /// Nobody waits for the answer any more.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        match self {
            Self::FindKey { deadline, .. }
            | Self::Sign { deadline, .. }
            | Self::Random { deadline, .. } => deadline.has_passed(),
            Self::Login(_) | Self::Describe | Self::Stats => false,
        }
    }
}

/// What the worker sends after its [`HelloReply`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// The answer to one request.
    Response {
        /// The request's id.
        id: u32,
        /// Answer or the reason why there is none.
        outcome: Result<Answer, Failure>,
    },
    /// Last words: the process ends now, and a new one may do better.
    Ending(Ending),
}

/// The answer to an [`Ask`] of the same name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// How the login went.
    Login(LoginAnswer),
    /// The token now.
    Token(TokenInfo),
    /// The one key that matched.
    Key(FoundKey),
    /// Signature octets as X.509 wants them: RSA, `EdDSA` and ML-DSA raw, ECDSA as DER `ECDSA-Sig-Value`.
    Signature(Vec<u8>),
    /// Random octets.
    Random(Vec<u8>),
    /// Counters.
    Stats(Stats),
}

/// Counters of a worker since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests that may be unanswered at once.
    pub credit: u16,
    /// Sessions open for signing.
    pub sessions: u16,
    /// Calls of `C_Login`.
    pub logins: u32,
    /// Signatures made in time.
    pub signatures: u64,
    /// Jobs whose deadline had passed before the token was asked.
    pub expired: u64,
    /// Answers of the token that came too late and were dropped.
    pub late: u64,
    /// Sessions that were given up after an error.
    pub sessions_discarded: u64,
}
