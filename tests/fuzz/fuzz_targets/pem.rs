//! Fuzzes the PEM scanner; `checks::pem` lists what must hold.
#![no_main]

use checks::{pem, plant};

libfuzzer_sys::fuzz_target!(
    init: plant(pem::seeds()),
    |input: &[u8]| {
        pem::check(input);
    }
);
