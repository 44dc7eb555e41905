//! Fuzzes the engine of name constraints; `checks::constraints` lists what must hold.
#![no_main]

use checks::{constraints, plant};

libfuzzer_sys::fuzz_target!(
    init: plant(constraints::seeds()),
    |input: &[u8]| {
        constraints::check(input);
    }
);
