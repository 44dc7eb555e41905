//! The PEM scanner: what holds is said in `checks::pem`.
#![no_main]

use checks::{pem, plant};

libfuzzer_sys::fuzz_target!(
    init: plant(pem::seeds()),
    |input: &[u8]| {
        pem::check(input);
    }
);
