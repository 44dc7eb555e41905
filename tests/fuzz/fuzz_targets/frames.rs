//! The frames between controller and HSM worker: what holds is said in `checks::frames`.
#![no_main]

use checks::{frames, plant};

libfuzzer_sys::fuzz_target!(
    init: plant(frames::seeds()),
    |input: &[u8]| {
        frames::check(input);
    }
);
