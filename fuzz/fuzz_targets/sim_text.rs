//! See `fuzz_harness::sim_text`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzz_harness::sim_text::run(input));
