//! Keys, certificate authorities, certification requests and CRLs for tests, encoded octet by octet so that they can be malformed.

mod authority;
mod crl;
mod issued;
mod key;
mod octets;
mod request;

pub(crate) use authority::chain_valid;
pub(super) use authority::{Authority, at, bundle};
pub(super) use crl::{DraftCrl, DraftEntry, distribution_point};
pub(crate) use issued::issued;
pub(super) use key::{TestKey, Unwilling};
pub(super) use octets::*;
pub(super) use request::{DEFAULT, HERE, Request, lasting, wanting, words};
