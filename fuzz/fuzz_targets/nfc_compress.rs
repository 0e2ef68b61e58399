//! See `fuzz_harness::nfc::compress`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzz_harness::nfc::compress(input));
