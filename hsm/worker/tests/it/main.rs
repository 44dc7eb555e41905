//! Tests of the worker and its client with real tokens: SoftHSM's, or Kryoptic's with `TEST_TOKEN=kryoptic`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions; shared helpers may fail the same way"
)]

mod calls;
mod chaos;
mod containers;
mod devices;
mod faults;
mod fixture;
mod hostile;
mod injected;
mod injected_start;
mod keys;
mod kryoptic;
mod libraries;
mod lists;
mod load;
mod log;
mod look_up;
mod mechanisms;
mod pin;
mod protocol;
mod quirks;
mod sidecar;
mod signing;
mod soak;
mod source;
