//! See `fuzz_harness::sim`.

#![no_main]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use libfuzzer_sys::fuzz_target;
use signal_hook::consts::SIGPIPE;

fuzz_target!(
    init: {
        // Programs in Rust ignore it, and the simulator relies on that, but libFuzzer's is none.
        signal_hook::flag::register(SIGPIPE, Arc::new(AtomicBool::new(false)))
            .expect("the signal may be handled");
    },
    |input: &[u8]| fuzz_harness::sim::run(input)
);
