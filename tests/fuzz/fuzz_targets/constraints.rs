//! The engine of name constraints: what holds is said in `checks::constraints`.
#![no_main]

use checks::{constraints, plant};

libfuzzer_sys::fuzz_target!(
    init: plant(constraints::seeds()),
    |input: &[u8]| {
        constraints::check(input);
    }
);
