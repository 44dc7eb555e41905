//! Fuzzes CRLs: those of others, and our own from their arguments to what is read of them; `checks::crl` lists what must hold.
#![no_main]

use checks::{crl, plant};

libfuzzer_sys::fuzz_target!(
    init: plant(crl::seeds()),
    |input: &[u8]| {
        crl::check(input);
    }
);
