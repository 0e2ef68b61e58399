//! See `fuzz_harness::sim`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzz_harness::sim::run(input));
