//! Keys, certificate authorities and certification requests for tests, encoded octet by octet so that they can be malformed.

mod authority;
mod issued;
mod key;
mod octets;
mod request;

pub(crate) use authority::chain_valid;
pub(super) use authority::{Authority, at, bundle};
pub(crate) use issued::issued;
pub(super) use key::{TestKey, Unwilling};
pub(super) use octets::*;
pub(super) use request::{DEFAULT, HERE, Request, lasting, wanting, words};
