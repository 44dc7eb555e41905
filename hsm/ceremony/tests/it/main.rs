//! Ceremonies with the built program and real tokens: SoftHSM's, or Kryoptic's with `TEST_TOKEN=kryoptic`.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions; shared helpers may fail the same way"
)]

mod crash;
mod faults;
mod fixture;
mod guide;
mod help;
mod keys;
mod later;
mod walk;
