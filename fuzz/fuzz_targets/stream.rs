//! See `fuzz_harness::Target::Stream`.

#![no_main]

use fuzz_harness::{Target, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

const TARGET: Target = Target::Stream;

fuzz_target!(|input: &[u8]| TARGET.run(input));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(TARGET, data, size, max_size, seed, fuzzer_mutate)
});
