//! The worker and its client against real SoftHSM tokens.

mod faults;
mod fixture;
mod keys;
mod pin;
mod signing;
mod source;
