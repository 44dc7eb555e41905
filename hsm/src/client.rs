//! Client of a worker: many requests in flight on one connection, each with a deadline, never more than the credit.

mod connection;
mod error;
mod key;

pub(crate) use self::{
    connection::{Connection, GreetError, Greeting, Lost, chain, read_frame},
    key::Generation,
};
pub use self::{
    error::{Fault, HsmError},
    key::Key,
};
