//! Fuzzes a certification request, from its text to the sealed certificate; `checks::csr` lists what must hold.
#![no_main]

use checks::{csr, plant};

libfuzzer_sys::fuzz_target!(
    init: plant(csr::seeds()),
    |input: &[u8]| {
        csr::check(input);
    }
);
