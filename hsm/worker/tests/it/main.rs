//! The worker and its client against real tokens: SoftHSM's, or with `TEST_TOKEN=kryoptic` those of Kryoptic.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions; what they share may fail the same way"
)]

mod calls;
mod chaos;
mod containers;
mod faults;
mod fixture;
mod hostile;
mod injected;
mod injected_start;
mod keys;
mod kryoptic;
mod load;
mod look_up;
mod pin;
mod protocol;
mod sidecar;
mod signing;
mod soak;
mod source;
