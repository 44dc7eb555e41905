//! A certification request, from its text to the sealed certificate: what holds is said in `checks::csr`.
#![no_main]

use checks::{csr, plant};

libfuzzer_sys::fuzz_target!(
    init: plant(csr::seeds()),
    |input: &[u8]| {
        csr::check(input);
    }
);
