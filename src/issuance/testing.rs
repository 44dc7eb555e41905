//! Keys, authorities and certification requests for tests, written octet by octet: odd ones too.

mod authority;
mod key;
mod octets;
mod request;

pub(super) use authority::{Authority, at, bundle};
pub(super) use key::{TestKey, Unwilling};
pub(super) use octets::*;
pub(super) use request::{DEFAULT, HERE, Request, lasting, wanting, words};
