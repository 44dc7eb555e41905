//! Client, protocol and supervision of the HSM worker: signatures from a PKCS#11 token without loading its library.
//!
//! A vendor's PKCS#11 library can hang, crash and answer wrongly, and the process that loaded it cannot undo any of
//! this. The library therefore lives in a process of its own, `pkcs11-hsm-worker`, which is crash-only: this crate
//! starts the worker, talks to it over one socket, and restarts it when it ends.
//!
//! ```text
//!  Token ──► supervisor ── spawns, greets, logs in once, restarts ──► pkcs11-hsm-worker
//!    └─────► client ────── frames, credit, deadlines ─ unix socket ──► session pool
//! ```
//!
//! Read [`protocol`] first (the messages), then [`client`] (sending requests), then [`supervisor`] (keeping a worker
//! alive).

pub mod client;
mod hardening;
mod lines;
pub mod protocol;
mod signals;
pub mod supervisor;
mod uri;

pub use client::{Fault, HsmError, Key};
pub use hardening::harden;
pub use lines::WorkerLines;
pub use protocol::{
    Curve, Hash, KeyAlgorithm, KeyAttributes, KeyName, KeySelector, Mechanism, MlDsa, Pin,
    PinFlags, SeenCertificate, SeenKey, SeenKeyKind, SeenMechanism, SeenSlot, SeenToken, Slot,
    TokenCode, TokenInfo, TokenSelector,
};
pub use signals::EndSignals;
pub use supervisor::{
    BoxFuture, Launch, LoginGate, LoginOutcome, LoginPermit, LoginRefused, ObjectList, Tally,
    Token, TokenSpec, TokenState, WithoutLogin, WorkerEnd, answered_within, survey,
};
pub use uri::{Uri, UriError};
