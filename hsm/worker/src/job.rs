//! One request on its way to a session.

use std::time::Instant;

use hsm::protocol::Ask;

/// A request with the moment after which nobody wants its answer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: u32,
    pub(crate) ask: Ask,
    pub(crate) deadline: Option<Instant>,
}
