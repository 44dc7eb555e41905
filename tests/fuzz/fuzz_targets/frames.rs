//! Fuzzes the frames between controller and HSM worker; `checks::frames` lists what must hold.
#![no_main]

use checks::{frames, plant};

libfuzzer_sys::fuzz_target!(
    init: plant(frames::seeds()),
    |input: &[u8]| {
        frames::check(input);
    }
);
