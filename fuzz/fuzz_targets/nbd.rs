//! See `fuzz_harness::nbd`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzz_harness::nbd::run(input));
